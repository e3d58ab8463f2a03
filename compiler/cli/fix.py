"""`segdsl check --fix` and `--diff`: the fixes that are certain, applied or shown."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from compiler.cli.console import note, say
from compiler.cli.options import Choice
from compiler.cli.usage import usage_error
from compiler.files import write_atomic
from segdsl.diagnostics import Diagnostic
from segdsl.fixes import Fix, fix
from segdsl.imports import read_text
from segdsl.library import locate
from segdsl.program import Program, display_name, examine_source
from segdsl.source import Source

ROUNDS = 10
"""Fixes can lay open what other mistakes hid; after so many rounds the rest is left to the user."""

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Mended:
    """A file after its certain fixes.

    Attributes:
        before: the text as it is on the disk.
        after: the text with the fixes.
        applied: the fixes, in the order in which they were applied.
        first: what was wrong with `before`.
        last: what is still wrong with `after`.
    """

    before: Source
    after: str
    applied: tuple[Fix, ...]
    first: Program
    last: Program


def mend(name: str, choice: Choice, size: tuple[int, int] | None) -> Mended:
    """Apply the certain fixes of a file to its text, round by round; writes nothing.

    Raises:
        SegError: there is no such file, or it cannot be read; E0107 for a stock network.
    """
    file = locate(name)
    if file != Path(name):
        raise usage_error(
            f"`{name}` is a stock network, which is not changed",
            "copy it into a file of your own",
        )
    current = Source(display_name(name, file), read_text(file, choice.limits))
    first = last = _examine(current, file, choice, size)
    before, applied = current, list[Fix]()
    for _ in range(ROUNDS):
        mended = fix(current, last.diagnostics)
        if not mended.applied:
            break
        applied += mended.applied
        current = Source(before.name, mended.text)
        last = _examine(current, file, choice, size)
    return Mended(before, current.text, tuple(applied), first, last)


def _examine(source: Source, file: Path, choice: Choice, size: tuple[int, int] | None) -> Program:
    return examine_source(
        source,
        file.parent,
        net=choice.net,
        include=choice.include,
        limits=choice.limits,
        settings=choice.settings,
        every=True,
        lint=True,
        key=str(file.resolve()),
        size=size,
    )


def apply_fixes(name: str, choice: Choice, size: tuple[int, int] | None) -> tuple[Program, bool]:
    """Write a file with its certain fixes, whole or not at all.

    Answers what is still wrong, and whether the file was changed.

    Raises:
        SegError: the file cannot be read or written, or it changed in the meantime.
    """
    mended = mend(name, choice, size)
    if not mended.applied:
        return mended.last, False
    path = Path(name)
    data = path.read_bytes()
    mark = BOM if data.startswith(BOM) else b""
    if data != mark + mended.before.text.encode("utf-8"):
        raise usage_error(f"`{name}` changed while it was checked; nothing was written")
    write_atomic(path, mark + mended.after.encode("utf-8"))
    for item in mended.applied:
        note(f"{_where(item.diagnostic)}: fixed {item.diagnostic.code}: {item.help.text}")
    count = len(mended.applied)
    note(f"{name}: {count} {'fix was' if count == 1 else 'fixes were'} applied")
    return mended.last, True


def show_fixes(name: str, choice: Choice, size: tuple[int, int] | None) -> Program:
    """Print what the certain fixes would change as a unified diff; answers what is wrong now."""
    mended = mend(name, choice, size)
    shown = mended.before.name
    lines = difflib.unified_diff(
        mended.before.text.splitlines(), mended.after.splitlines(), shown, shown, lineterm=""
    )
    text = "\n".join(lines)
    if text:
        say(text)
    return mended.first


def _where(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    assert span is not None, "an edit stands somewhere, so what it mends does too"
    line, column = span.source.position(span.start)
    return f"{span.source.name}:{line}:{column}"
