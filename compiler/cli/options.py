"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass

from compiler.cli.settings import parse_settings
from compiler.cli.usage import usage_error
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Const, Graph
from segdsl.limits import Limits
from segdsl.program import Program, examine

_SIZE = re.compile(r"([0-9]{1,9})(?:x([0-9]{1,9}))?")


def add_program(parser: argparse.ArgumentParser) -> None:
    """FILE, and the options that choose its net and parameters."""
    parser.add_argument("file", metavar="FILE", help="a .seg file, or the name of a stock network")
    add_choice(parser)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The options about programs: net, parameters, folders of imports, limits."""
    parser.add_argument("--net", metavar="NAME", help="the net, where the file has several")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the net, as classes=19 or rates=[6,12]; may be repeated",
    )
    parser.add_argument(
        "--include",
        metavar="FOLDER",
        action="append",
        default=[],
        help="another folder that imports may read from; may be repeated",
    )
    for name, (_, most, what) in _CAPS.items():
        parser.add_argument(name, metavar="N", help=f"{what}, at most {most:,}")


_CAPS = {
    "--max-nodes": ("nodes", 1_000_000, "allow more nodes"),
    "--max-tokens": ("tokens", 1_000_000, "allow longer programs"),
    "--max-params": ("parameters", 1 << 40, "allow more parameters"),
}
"""Options that raise a limit: the field of Limits, the highest value, what it does."""


@dataclass(frozen=True)
class Choice:
    """What the options say about programs, read once and used for every file."""

    net: str | None
    settings: dict[str, Const]
    include: tuple[str, ...]
    limits: Limits

    def examine(
        self,
        file: str,
        *,
        every: bool = False,
        lint: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Program:
        """What is known about a file; `every` looks at all its nets unless one was chosen.

        `lint` also looks for what is probably not meant, at `size` if one is given.
        """
        return examine(
            file,
            net=self.net,
            include=self.include,
            limits=self.limits,
            settings=self.settings,
            every=every,
            lint=lint,
            size=size,
        )


def read_choice(args: argparse.Namespace) -> Choice:
    """The options of `add_choice`.

    Raises:
        UsageError: one of them has no value that it can take.
    """
    caps = {
        field: whole_number(name, value, 1, most)
        for name, (field, most, _) in _CAPS.items()
        if (value := getattr(args, name[2:].replace("-", "_"))) is not None
    }
    return Choice(args.net, parse_settings(args.set), tuple(args.include), Limits(**caps))


@dataclass(frozen=True)
class Loaded:
    """A program without errors."""

    graph: Graph
    accepted: Mapping[str, SizeSet]
    warnings: tuple[Diagnostic, ...]


def load_program(args: argparse.Namespace) -> Loaded:
    """The checked graph that FILE and the options mean, and the warnings about it.

    Raises:
        SegError: the program is wrong, or the options do not fit it.
    """
    program = read_choice(args).examine(args.file)
    if program.failed or program.graph is None:
        raise SegError(*program.diagnostics)
    return Loaded(program.graph, program.accepted, program.diagnostics)


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
