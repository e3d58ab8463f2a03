"""Print what a diagnostic code means, with a wrong and a right program."""

from __future__ import annotations

import argparse
from importlib.resources import files

from compiler.cli.console import say
from compiler.cli.usage import usage_error
from segdsl.diagnostics import Diagnostic
from segdsl.spelling import nearest


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("code", metavar="CODE", help="as E3004, from the brackets of a message")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Print the page of a code.

    Raises:
        UsageError: there is no such code.
    """
    code = args.code.upper()
    codes = known_codes()
    if code not in codes:
        near = nearest(code, codes)
        helps = [f"did you mean `{near}`?"] if near else []
        raise usage_error(
            f"there is no code `{args.code}`", *helps, f"the codes are {', '.join(codes)}"
        )
    say(page(code).rstrip())
    return ()


def known_codes() -> tuple[str, ...]:
    """Every code that has a page, in order."""
    names = (entry.name for entry in (files("segdsl") / "explain").iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def page(code: str) -> str:
    """The page of a known code, as Markdown."""
    return (files("segdsl") / "explain" / f"{code}.md").read_text("utf-8")
