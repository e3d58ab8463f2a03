"""Bring programs into the one layout; tokens, comments and meaning stay."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import takewhile
from pathlib import Path

from compiler.cli.console import note, say
from compiler.cli.usage import usage_error
from compiler.files import write_atomic
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.fmt import format_source
from segdsl.imports import read_text
from segdsl.limits import Limits
from segdsl.source import Source, Span

STDIN = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="a .seg file, a folder of them, or - for stdin"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is not formatted"
    )
    parser.add_argument(
        "--diff", action="store_true", help="write nothing; print what would change"
    )


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Format the files: those with mistakes stay as they are, and the mistakes are reported."""
    found: list[Diagnostic] = []
    for name in args.files:
        for text in _texts(name):
            try:
                found += _format(text, args)
            except SegError as error:
                found += error.diagnostics
    return tuple(found)


@dataclass(frozen=True)
class _Text:
    """A program to format: where it stands, or None for one from stdin, and its source."""

    path: Path | None
    source: Source


def _texts(name: str) -> Iterator[_Text]:
    """The programs that an argument names.

    Raises:
        UsageError: a folder without any `.seg` file.
        SegError: a file that cannot be read.
    """
    if name == STDIN:
        yield _Text(None, Source("<stdin>", _stdin()))
        return
    path = Path(name)
    if not path.is_dir():
        yield _read(path)
        return
    paths = sorted(path.rglob("*.seg"))
    if not paths:
        raise usage_error(f"there is no .seg file in `{name}`", "name files, or another folder")
    yield from map(_read, paths)


def _read(path: Path) -> _Text:
    return _Text(path, Source(str(path), read_text(path, Limits())))


def _stdin() -> str:
    data = sys.stdin.buffer.read(Limits().file_bytes + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"stdin is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}"
        raise SegError(Diagnostic("E0103", message, None)) from error


def _format(text: _Text, args: argparse.Namespace) -> list[Diagnostic]:
    """Writes, shows or compares one program."""
    wanted = format_source(text.source)
    same = _bytes_are(text, wanted)
    if args.diff and not same:
        say(_diff(text.source, wanted))
    if args.check:
        return [] if same else [_unformatted(text.source, wanted)]
    if args.diff:
        return []
    if text.path is None:
        sys.stdout.write(wanted)
    elif not same:
        write_atomic(text.path, wanted)
        note(f"formatted {text.path}")
    return []


def _bytes_are(text: _Text, wanted: str) -> bool:
    """Whether the file holds exactly these bytes; a byte order mark counts."""
    if text.path is None:
        return text.source.text == wanted
    return text.path.read_bytes() == wanted.encode("utf-8")


def _diff(source: Source, wanted: str) -> str:
    lines = unified_diff(
        source.text.splitlines(),
        wanted.splitlines(),
        source.name,
        f"{source.name} (formatted)",
        lineterm="",
    )
    return "\n".join(lines)


def _unformatted(source: Source, wanted: str) -> Diagnostic:
    pairs = zip(source.text, wanted, strict=False)
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    line, _ = source.position(min(start, len(source.text)))
    begin = source.line_starts[line - 1]
    span = Span(source, begin, begin + len(source.line(line)))
    helps = text_helps(f"segdsl fmt {source.name}")
    return Diagnostic("E0120", "this file is not formatted", span, helps=helps)
