"""Where the command line prints, and how: colour, encoding, width, formats."""

from __future__ import annotations

import argparse
import codecs
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from segdsl.diagnostics import Diagnostic
from segdsl.display import clean
from segdsl.formats import WRITERS
from segdsl.render import render

FORMATS = ("human", *WRITERS)

_ERROR_STREAM = frozenset({"human", "short"})


class Console:
    """Prints diagnostics: human and short on stderr, so that stdout holds results only."""

    def __init__(self) -> None:
        self.color = "auto"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """The options that every command has."""
        parser.add_argument(
            "--color",
            choices=("auto", "always", "never"),
            default="auto",
            help="colour in messages (default: if stderr is one; NO_COLOR, FORCE_COLOR, CLICOLOR)",
        )

    def choose(self, args: argparse.Namespace) -> None:
        """Take over what the options say."""
        self.color = args.color

    def report(
        self, diagnostics: Sequence[Diagnostic], format: str = "human", *, changed: bool = False
    ) -> None:
        """Print diagnostics in one of FORMATS; `changed` says that a file was written."""
        stream = sys.stderr if format in _ERROR_STREAM else sys.stdout
        if format == "human":
            text = render(
                diagnostics,
                color=self.colored(stream),
                ascii=not encodes_unicode(stream),
                width=_width(stream),
                changed=changed,
            )
        else:
            text = WRITERS[format](diagnostics)  # type: ignore[index]
        if text:
            say(text, stream)

    def colored(self, stream: TextIO) -> bool:
        """Whether to colour this stream: the option, then the environment, then a terminal.

        NO_COLOR wins over FORCE_COLOR and CLICOLOR_FORCE, these over CLICOLOR=0.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE", "0") != "0":
            return True
        if os.environ.get("CLICOLOR") == "0":
            return False
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str, stream: TextIO | None = None) -> None:
    """Print our own text; what the encoding of the stream lacks is escaped, never an error."""
    target = sys.stdout if stream is None else stream
    encoding = target.encoding or "utf-8"
    target.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def note(text: str) -> None:
    """One line about what was done, on stderr."""
    say(clean(text, ascii=not encodes_unicode(sys.stderr)), sys.stderr)


def encodes_unicode(stream: TextIO) -> bool:
    """Whether the stream can print every character."""
    try:
        return codecs.lookup(stream.encoding or "utf-8").name.startswith("utf")
    except LookupError:
        return False


def _width(stream: TextIO) -> int:
    return shutil.get_terminal_size((100, 24)).columns if stream.isatty() else 100
