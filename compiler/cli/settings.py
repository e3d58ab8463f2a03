"""`--set classes=19 --set rates=[6, 12]`: values in the literal syntax of the language."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from compiler.cli.usage import UsageError
from segdsl.diagnostics import Diagnostic, text_helps
from segdsl.ir import Const
from segdsl.limits import Limits
from segdsl.source import Source, Span

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.]))
    | (?P<string>"(?:[^"\\\n]|\\["\\nt])*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>[\[\],-])
    )""",
    re.VERBOSE,
)
_ESCAPES = {r"\"": '"', r"\\": "\\", r"\n": "\n", r"\t": "\t"}
_WORDS: dict[str, Const] = {"true": True, "false": False, "none": None}
_DEEPEST = 16


def parse_settings(texts: Iterable[str]) -> dict[str, Const]:
    """The settings that the `--set` options give, by parameter.

    A value is a whole or decimal number, `true`, `false`, `none`, a string, a list, or a bare word,
    which is a string (`act=relu`). Lists are tuples. Types are checked where the net is known.

    Raises:
        UsageError: E2008, with a caret in the option's text; a name twice.
    """
    settings: dict[str, Const] = {}
    for text in texts:
        source = Source("--set", text)
        name, equals, _ = text.partition("=")
        if not equals:
            raise _refused(source, 0, len(text), "a setting is written `name=value`")
        if not _NAME.fullmatch(name):
            raise _refused(source, 0, len(name), f"`{name}` is not the name of a parameter")
        if name in settings:
            raise _refused(source, 0, len(name), f"`{name}` is set twice")
        settings[name] = _Reader(source, len(name) + 1).whole()
    return settings


class _Reader:
    """Reads one value from a text, left to right."""

    def __init__(self, source: Source, start: int) -> None:
        self.source = source
        self.at = self.start = start

    def whole(self) -> Const:
        value = self.value(0)
        kind, text = self.next()
        if kind != "end":
            raise self.unexpected(text)
        return value

    def next(self) -> tuple[str, str]:
        text = self.source.text
        match = _TOKEN.match(text, self.at)
        if match is None:
            rest = text[self.at :]
            self.start = self.at + len(rest) - len(rest.lstrip())
            self.at = len(text)
            return ("other", text[self.start :]) if rest.strip() else ("end", "")
        kind = match.lastgroup or "other"
        self.start, self.at = match.start(kind), match.end()
        return kind, match[kind]

    def value(self, depth: int) -> Const:
        kind, text = self.next()
        match kind:
            case "number":
                return self.number(text)
            case "string":
                return re.sub(r"\\.", lambda m: _ESCAPES[m[0]], text[1:-1])
            case "word":
                return _WORDS.get(text, text)
        if text == "-":
            kind, text = self.next()
            if kind == "number":
                return -self.number(text)
        elif text == "[" and depth < _DEEPEST:
            return self.list(depth)
        raise self.unexpected(text)

    def number(self, text: str) -> int | float:
        if len(text) > 1 and text[0] == "0" and text[1] in "0123456789_":
            raise self.refused("a number has no leading zeros")
        if sum(c.isdigit() for c in text) > Limits().digits:
            raise self.refused(f"a number has at most {Limits().digits} digits")
        if re.search("[.eE]", text):
            value = float(text.replace("_", ""))
            if math.isfinite(value):
                return value
            raise self.refused("this number is not finite")
        return int(text.replace("_", ""))

    def list(self, depth: int) -> Const:
        items: list[Const] = []
        while True:
            before = self.at
            if self.next() == ("sign", "]"):
                return tuple(items)
            self.at = before
            items.append(self.value(depth + 1))
            kind, text = self.next()
            if (kind, text) == ("sign", "]"):
                return tuple(items)
            if (kind, text) != ("sign", ","):
                raise self.unexpected(text)

    def unexpected(self, text: str) -> UsageError:
        return self.refused(f"`{text}` is not a value" if text else "a value is missing here")

    def refused(self, message: str) -> UsageError:
        return _refused(self.source, self.start, self.at, message)


def _refused(source: Source, start: int, end: int, message: str) -> UsageError:
    help = 'a value is a number, true, false, none, a word, a "string" or a list as [6, 12]'
    return UsageError(
        Diagnostic("E2008", message, Span(source, start, end), helps=text_helps(help))
    )
