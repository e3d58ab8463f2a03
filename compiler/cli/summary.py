"""Show the stages of a network with shapes, parameters and multiply-accumulates."""

from __future__ import annotations

import argparse
import json

from compiler.cli.console import say
from compiler.cli.options import add_program, load_program, parse_size, whole_number
from segdsl.diagnostics import Diagnostic
from segdsl.report import summary

_BATCHES = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    parser.add_argument("--size", metavar="HxW", help="input height and width (default: symbolic)")
    parser.add_argument("--batch", metavar="N", default="1", help="images at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="the same figures as JSON")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Print the summary on stdout."""
    size = parse_size(args.size) if args.size is not None else None
    batch = whole_number("--batch", args.batch, 1, _BATCHES)
    program = load_program(args)
    table = summary(program.graph, size=size, batch=batch)
    say(json.dumps(table.as_json(), indent=2) if args.json else str(table))
    return program.warnings
