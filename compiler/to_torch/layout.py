"""Lines of emitted source: long statements are broken at their brackets, as black does."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100
_OPEN = "([{"
_CLOSE = ")]}"


def fitted(text: str, indent: int, comments: Sequence[str] = ()) -> list[str]:
    """A statement as lines of at most `WIDTH` characters.

    A line stays longer only where it has no bracket to break at.

    Args:
        text: the statement, on one line.
        indent: blanks before it.
        comments: what may follow the first line, best first; the first that fits does.
    """
    whole = " " * indent + text
    lines = [whole] if len(whole) <= WIDTH else _broken(text, indent) or [whole]
    commented = (f"{lines[0]}  # {comment}" for comment in comments)
    first = next((line for line in commented if len(line) <= WIDTH), lines[0])
    return [first, *lines[1:]]


def _broken(text: str, indent: int) -> list[str] | None:
    """The statement broken at its last outermost bracket: its content on lines of its own."""
    bracket = _last_bracket(text)
    if bracket is None:
        return None
    start, end = bracket
    margin = " " * indent
    head, body, tail = text[: start + 1], text[start + 1 : end], text[end:]
    inner = " " * (indent + 4) + body
    if len(inner) <= WIDTH:
        return [margin + head, inner, margin + tail]
    items = _items(body)
    comma = "," if len(items) > 1 else ""
    lines = [line for item in items for line in fitted(item + comma, indent + 4)]
    return [margin + head, *lines, margin + tail]


def _scan(text: str) -> list[tuple[int, str, int]]:
    """Brackets and commas outside of strings: (place, character, depth outside of it)."""
    found: list[tuple[int, str, int]] = []
    depth, quote, i = 0, "", 0
    while i < len(text):
        c = text[i]
        if quote:
            if c == "\\":
                i += 1
            elif c == quote:
                quote = ""
        elif c in "\"'":
            quote = c
        elif c in _OPEN:
            found.append((i, c, depth))
            depth += 1
        elif c in _CLOSE:
            depth -= 1
            found.append((i, c, depth))
        elif c == ",":
            found.append((i, c, depth))
        i += 1
    return found


def _last_bracket(text: str) -> tuple[int, int] | None:
    """The last pair of outermost brackets with something in it; never a subscript."""
    start: int | None = None
    best: tuple[int, int] | None = None
    for place, c, depth in _scan(text):
        if depth:
            continue
        if c in _OPEN:
            subscript = (
                c == "[" and place > 0 and (text[place - 1].isalnum() or text[place - 1] in "_)]")
            )
            start = None if subscript else place
        elif c in _CLOSE and start is not None:
            if place > start + 1:
                best = (start, place)
            start = None
    return best


def _items(body: str) -> list[str]:
    """The parts of a bracket's content between its own commas."""
    items, start = [], 0
    for place, c, depth in _scan(body):
        if c == "," and depth == 0:
            items.append(body[start:place].strip())
            start = place + 1
    rest = body[start:].strip()
    return [*items, rest] if rest else items
