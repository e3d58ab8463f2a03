"""The formatter: one layout for every `.seg` file.

Tokens, their order and all comments stay. Indentation, spaces, blank lines and the alignment of
`->` and of weight paths are decided here; a line ends where its writer ended it, if that is a place
where statements break well, and wherever it would be wider than 100 columns.
"""

from __future__ import annotations

from segdsl.diagnostics import SegError
from segdsl.fmt.fitting import fit
from segdsl.fmt.pieces import pieces
from segdsl.fmt.same import same
from segdsl.fmt.statements import Statement, statements
from segdsl.limits import Limits
from segdsl.parser import parse
from segdsl.source import Source
from segdsl.stack import with_room

__all__ = ["format_source"]

_DEFAULTS = Limits()


def format_source(source: Source, limits: Limits = _DEFAULTS) -> str:
    """The text of a source in the one layout.

    The result parses to the same tree, comments included, and formatting it again changes nothing.

    Raises:
        SegError: the text has mistakes; nothing can be said about its layout then.
    """
    return with_room(lambda: _format_source(source, limits))


def _format_source(source: Source, limits: Limits) -> str:
    module, diagnostics = parse(source, limits)
    if diagnostics:
        raise SegError(*diagnostics)
    text = "".join(f"{line}\n" for line in _lines(statements(pieces(source, limits))))
    again, wrong = parse(Source(source.name, text), limits)
    if wrong or not same(module, again):
        raise AssertionError("the formatter changed the meaning of the file")
    return text


def _lines(found: list[Statement]) -> list[str]:
    result: list[str] = []
    for statement in found:
        result += [""] * statement.blank
        result += statement.comments
        if statement.pieces:
            result += [""] * statement.gap
            result += fit(statement.pieces, statement.indent)
    return result
