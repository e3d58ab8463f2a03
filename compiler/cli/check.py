"""Say what is wrong with programs, and where; write nothing."""

from __future__ import annotations

import argparse

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import FORMATS, note
from compiler.cli.options import Choice, add_choice, parse_size, read_choice
from compiler.cli.usage import exit_code, usage_error
from segdsl.diagnostics import Diagnostic, SegError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="a .seg file, or the name of a stock network"
    )
    add_choice(parser)
    parser.add_argument("--format", choices=FORMATS, default="human", help="how to report")
    parser.add_argument("--deny", choices=["warnings"], help="exit 1 on warnings too")
    parser.add_argument(
        "--size", metavar="HxW", help="look for what is wrong at this input size, too"
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--fix", action="store_true", help="apply the fixes that are certain, then check again"
    )
    change.add_argument(
        "--diff", action="store_true", help="show what --fix would change, and change nothing"
    )
    add_weights(parser, "compare this checkpoint with the net")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with the files; those without errors are named on stderr."""
    refuse_idle_options(args)
    choice = read_choice(args)
    size = None if args.size is None else parse_size(args.size)
    if args.diff and args.format not in ("human", "short"):
        raise usage_error(f"`--diff` prints a difference where `--format {args.format}` reports")
    if args.weights and (args.fix or args.diff):
        raise usage_error("a checkpoint has no fixes: leave `--weights` or `--fix` away")
    return tuple(d for name in args.files for d in _check(name, choice, size, args))


def _check(
    name: str, choice: Choice, size: tuple[int, int] | None, args: argparse.Namespace
) -> tuple[Diagnostic, ...]:
    """What is wrong with one file: with all its nets, or with the one that a checkpoint is for."""
    if args.fix or args.diff:
        from compiler.cli.fix import apply_fixes, show_fixes

        try:
            if args.fix:
                program, changed = apply_fixes(name, choice, size)
                args.changed = changed or getattr(args, "changed", False)
            else:
                program = show_fixes(name, choice, size)
        except SegError as error:
            return error.diagnostics
    else:
        program = choice.examine(name, every=not args.weights, lint=True, size=size)
    found = program.diagnostics
    if args.weights and program.graph is not None and not program.failed:
        try:
            found += load_weights(program.graph, args, name).report.warnings
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
