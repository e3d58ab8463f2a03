"""Say what is wrong with programs, and where; write nothing."""

from __future__ import annotations

import argparse

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import FORMATS, note
from compiler.cli.options import Choice, add_choice, read_choice
from compiler.cli.usage import exit_code
from segdsl.diagnostics import Diagnostic, SegError


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
    choice = read_choice(args)
    return tuple(d for name in args.files for d in _check(name, choice, args))


def _check(name: str, choice: Choice, args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """What is wrong with one file: with all its nets, or with the one that a checkpoint is for."""
    program = choice.examine(name, every=not args.weights)
    found = program.diagnostics
    if args.weights and program.graph is not None and not program.failed:
        try:
            found += load_weights(program.graph, args).report.warnings
        except SegError as error:
            found += error.diagnostics
    if args.format == "human" and not exit_code(found, deny_warnings=args.deny is not None):
        note(f"{name}: ok{_unchecked(program.unchecked)}")
    return found


def _unchecked(count: int) -> str:
    if not count:
        return ""
    checks = "1 check speaks" if count == 1 else f"{count} checks speak"
    return f"; {checks} of the default parameters and did not run"
