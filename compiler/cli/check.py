"""Say what is wrong with programs, and where; write nothing."""

from __future__ import annotations

import argparse

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import FORMATS, note
from compiler.cli.options import add_choice
from compiler.cli.settings import parse_settings
from segdsl.diagnostics import Diagnostic, SegError, Severity
from segdsl.ir import Const
from segdsl.program import check, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="a .seg file, or the name of a stock network"
    )
    add_choice(parser)
    parser.add_argument("--format", choices=FORMATS, default="human", help="how to report")
    parser.add_argument("--deny", choices=["warnings"], help="exit 1 on warnings too")
    add_weights(parser, "compare this checkpoint with the net")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with the files; those without errors are named on stderr."""
    refuse_idle_options(args)
    settings = parse_settings(args.set)
    return tuple(d for name in args.files for d in _check(name, args, settings))


def _check(
    name: str, args: argparse.Namespace, settings: dict[str, Const]
) -> tuple[Diagnostic, ...]:
    try:
        found = check(name, net=args.net, **settings)
        if args.weights and not _errors(found):
            graph = load(name, net=args.net, **settings)
            found += load_weights(graph, args).report.warnings
    except SegError as error:
        found = error.diagnostics
    if args.format == "human" and not _errors(found) and not (found and args.deny):
        note(f"{name}: ok")
    return found


def _errors(found: tuple[Diagnostic, ...]) -> bool:
    return any(d.severity is Severity.ERROR for d in found)
