"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import re

from compiler.cli.settings import parse_settings
from compiler.cli.usage import usage_error
from segdsl.ir import Graph
from segdsl.limits import Limits

_SIZE = re.compile(r"([0-9]{1,9})(?:x([0-9]{1,9}))?")


def add_program(parser: argparse.ArgumentParser) -> None:
    """FILE, and the options that choose its net and parameters."""
    parser.add_argument("file", metavar="FILE", help="a .seg file, or the name of a stock network")
    add_choice(parser)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """`--net` and `--set`."""
    parser.add_argument("--net", metavar="NAME", help="the net, where the file has several")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the net, as classes=19 or rates=[6,12]; may be repeated",
    )


def load_program(args: argparse.Namespace) -> Graph:
    """The checked graph that FILE, `--net` and `--set` mean.

    Raises:
        SegError: the program is wrong, or the options do not fit it.
    """
    from segdsl.program import load

    return load(args.file, net=args.net, **parse_settings(args.set))


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `--size`: `572x572`, or `572` for a square.

    Raises:
        UsageError: it is no size, or a side is not from 1 to the largest image side.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise usage_error(f"`--size {text}` is not a size", "write height and width, as 512x1024")
    height, width = int(match[1]), int(match[2] or match[1])
    largest = Limits().image_side
    if not (1 <= height <= largest and 1 <= width <= largest):
        raise usage_error(f"`--size {text}`: a side lies between 1 and {largest:,} pixels")
    return height, width


def whole_number(name: str, text: str, low: int, high: int) -> int:
    """The value of a numeric option.

    Raises:
        UsageError: it is no whole number between `low` and `high`.
    """
    if re.fullmatch("[0-9]{1,18}", text) and low <= int(text) <= high:
        return int(text)
    raise usage_error(f"`{name} {text}`: it takes a whole number from {low:,} to {high:,}")
