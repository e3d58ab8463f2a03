"""Key maps: ordered rules that turn the names and layouts of a file into those of a network.

A key map is a TOML file. The first rule whose `from` matches a name is applied; other names stay:

    [[rule]]
    from = "classifier.0.weight"            # VGG16's first linear layer is FCN's fc6
    to = "fc6.weight"
    reshape = [4096, 512, 7, 7]

    [[rule]]
    from = "{a...}.norm.{i}.{leaf}"         # old DenseNet files
    to = "{a...}.norm{i}.{leaf}"

    [[rule]]
    from = "aux_classifier.{a...}"
    drop = true

`{a}` is exactly one part of a path, `{a...}` one part or more; at most one of the latter in a
pattern, so matching takes linear time. In `from` a hole is a whole part; in `to` it may stand
inside one.
Arrays are changed in the order `reshape`, `permute`, `flip_channels`, `negate`.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.weights.files import StrPath, opened, shown
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.source import Source, Span

Array = NDArray[Any]

MAX_FILE = 1 << 20
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")
_KEYS = ("from", "to", "drop", "reshape", "permute", "flip_channels", "negate")
_HEADING = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)


class RuleError(Exception):
    """A rule that is not well formed, or does not fit an array; the text is for the user."""


@dataclass(frozen=True)
class Pattern:
    """A path with holes, as `{a...}.norm.{i}.weight`."""

    text: str

    def __post_init__(self) -> None:
        if not self.text or not all(_part_is_whole(part) for part in self.parts):
            raise RuleError(
                f"`{shown(self.text)}` is not a pattern: parts separated by dots, each plain text, "
                "`{name}` or `{name...}`"
            )
        names = [hole[0] for hole in self.holes]
        if len(set(names)) != len(names):
            raise RuleError(f"`{shown(self.text)}` has two holes of one name")
        if sum(many for _, many in self.holes) > 1:
            raise RuleError(f"`{shown(self.text)}` has two `{{...}}` holes; one is allowed")

    @property
    def parts(self) -> list[str]:
        """The parts between dots; the dots of `{a...}` separate nothing."""
        return [part.replace("\0", "...") for part in self.text.replace("...}", "\0}").split(".")]

    @property
    def holes(self) -> list[tuple[str, bool]]:
        """Name of each hole, and whether it takes several parts."""
        return [(name, bool(dots)) for name, dots in _HOLE.findall(self.text)]

    def match(self, name: str) -> dict[str, str] | None:
        """What the holes stand for if the name matches."""
        found = name.split(".")
        parts = self.parts
        many = next((i for i, part in enumerate(parts) if part.endswith("...}")), None)
        if many is None:
            return _bind(parts, found) if len(parts) == len(found) else None
        after = len(parts) - many - 1
        if len(found) < len(parts):
            return None
        middle = ".".join(found[many : len(found) - after])
        merged = [*found[:many], middle, *found[len(found) - after :]]
        return _bind(parts, merged)


def _part_is_whole(part: str) -> bool:
    return bool(_HOLE.fullmatch(part)) or (part != "" and not set(part) & set("{}"))


def _bind(parts: list[str], found: list[str]) -> dict[str, str] | None:
    bound: dict[str, str] = {}
    for part, text in zip(parts, found, strict=True):
        hole = _HOLE.fullmatch(part)
        if hole:
            bound[hole[1]] = text
        elif part != text:
            return None
    return bound


@dataclass(frozen=True)
class Rule:
    """One rule of a key map: what it matches, the new name, and what it does to the array.

    Attributes:
        source: the pattern of names in the file.
        target: the new name with the same holes; None keeps the name.
        drop: the tensor is left aside.
        reshape: the new shape, with the same number of elements.
        permute: the new order of axes, as numpy's transpose.
        flip_channels: reverse axis 1, the input channels (BGR to RGB).
        negate: change the sign.
    """

    source: Pattern
    target: str | None = None
    drop: bool = False
    reshape: tuple[int, ...] | None = None
    permute: tuple[int, ...] | None = None
    flip_channels: bool = False
    negate: bool = False

    def __post_init__(self) -> None:
        acts = self.changes_array or self.target is not None
        if self.drop == acts:
            raise RuleError("a rule either drops, or has `to` or a change of the array")
        if self.permute is not None and sorted(self.permute) != list(range(len(self.permute))):
            raise RuleError(f"`permute = {list(self.permute)}` is not an order of axes from 0")
        holes = {hole for hole, _ in self.source.holes}
        rest = _HOLE.sub("", self.target or "x")
        used = {name for name, _ in _HOLE.findall(self.target or "")}
        if set(rest) & set("{}") or not used <= holes:
            raise RuleError(f"`to = {shown(self.target)}` has a hole that `from` does not fill")
        if self.target is not None and not _HOLE.sub("x", self.target):
            raise RuleError("`to` is empty")

    @property
    def changes_array(self) -> bool:
        """Whether more than the name changes."""
        return bool(self.reshape is not None or self.permute or self.flip_channels or self.negate)

    def rename(self, bound: dict[str, str], name: str) -> str:
        """The new name, given what the holes stand for."""
        if self.target is None:
            return name
        return _HOLE.sub(lambda hole: bound[hole[1]], self.target)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape after the rule.

        Raises:
            RuleError: the rule does not fit this shape.
        """
        if self.reshape is not None:
            if prod(shape) != prod(self.reshape):
                raise RuleError(f"{list(shape)} cannot be reshaped to {list(self.reshape)}")
            shape = self.reshape
        if self.permute is not None:
            if len(self.permute) != len(shape):
                raise RuleError(f"`permute` has {len(self.permute)} axes, the array {len(shape)}")
            shape = tuple(shape[axis] for axis in self.permute)
        if self.flip_channels and len(shape) < 2:
            raise RuleError(f"`flip_channels` needs an axis of input channels, not {list(shape)}")
        return shape

    def apply(self, array: Array) -> Array:
        """The array after the rule; copies only where it must.

        Raises:
            RuleError: the rule does not fit the array.
        """
        self.shape(array.shape)
        if self.negate and array.dtype.kind not in "fi":
            raise RuleError(f"`negate` cannot change the sign of {array.dtype}")
        if self.reshape is not None:
            array = array.reshape(self.reshape)
        if self.permute is not None:
            array = array.transpose(self.permute)
        if self.flip_channels:
            array = array[:, ::-1]
        if self.negate:
            array = -array
        return np.ascontiguousarray(array) if array.ndim else array


@dataclass(frozen=True)
class KeyMap:
    """An ordered list of rules; see the module's own text for the file format."""

    rules: tuple[Rule, ...] = ()

    @staticmethod
    def read(path: StrPath) -> KeyMap:
        """The key map of a TOML file.

        Raises:
            SegError: no such file (E0101), too large (E0020), not UTF-8 (E0103), or not a key map
                (E5012).
        """
        with opened(path) as file:
            data = file.read(MAX_FILE + 1)
        name = os.fspath(path)
        if len(data) > MAX_FILE:
            problem = f"`{shown(name)}` is larger than {MAX_FILE:,} bytes"
            raise SegError(Diagnostic("E0020", problem, None))
        try:
            return KeyMap.parse(data.decode("utf-8"), name)
        except UnicodeDecodeError as error:
            problem = f"`{shown(name)}` is not UTF-8 (byte {error.start})"
            raise SegError(Diagnostic("E0103", problem, None)) from None

    @staticmethod
    def parse(text: str, name: str = "<key map>") -> KeyMap:
        """The key map of a TOML text.

        Raises:
            SegError: it is not one, with every wrong rule (E5012).
        """
        source = Source(name, text)
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: a number of too many digits
            raise SegError(_not_toml(source, error)) from None
        rules = table.get("rule", [])
        if set(table) - {"rule"} or not isinstance(rules, list) or not rules:
            problem = "a key map is a list of `[[rule]]` tables and nothing else"
            raise SegError(Diagnostic("E5012", problem, Span(source, 0, min(1, len(text)))))
        return KeyMap(_rules(source, rules))

    def find(self, name: str) -> tuple[int, Rule, dict[str, str]] | None:
        """The first rule that matches a name, with its position and its holes."""
        for position, rule in enumerate(self.rules):
            bound = rule.source.match(name)
            if bound is not None:
                return position, rule, bound
        return None


def _not_toml(source: Source, error: Exception) -> Diagnostic:
    place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    start = 0
    if place:
        start = source.line_starts[int(place[1]) - 1] + int(place[2]) - 1
    problem = shown(str(error).partition(" (at ")[0])
    message = f"this key map is not TOML: {problem[:1].lower()}{problem[1:]}"
    return Diagnostic("E5012", message, Span(source, start, min(start + 1, len(source.text))))


def _rules(source: Source, tables: list[Any]) -> tuple[Rule, ...]:
    headings = [
        Span(source, found.start(), found.end()) for found in _HEADING.finditer(source.text)
    ]
    rules: list[Rule] = []
    wrong: list[Diagnostic] = []
    for position, table in enumerate(tables):
        try:
            rules.append(_rule(table))
        except RuleError as error:
            known = len(headings) == len(tables)
            span = headings[position] if known else Span(source, 0, min(1, len(source.text)))
            wrong.append(Diagnostic("E5012", f"rule {position + 1}: {error}", span))
    if wrong:
        raise SegError(*wrong)
    return tuple(rules)


def _rule(table: object) -> Rule:
    if not isinstance(table, dict):
        raise RuleError("a rule is a table")
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise RuleError(f"`{shown(unknown[0])}` is unknown; a rule has {', '.join(_KEYS)}")
    return Rule(
        Pattern(_text(table, "from")),
        _text(table, "to") if "to" in table else None,
        _flag(table, "drop"),
        _numbers(table, "reshape"),
        _numbers(table, "permute"),
        _flag(table, "flip_channels"),
        _flag(table, "negate"),
    )


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise RuleError(f"`{key}` must be a text that is not empty")
    return value


def _flag(table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise RuleError(f"`{key}` must be true or false")
    return value


def _numbers(table: dict[str, Any], key: str) -> tuple[int, ...] | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(x) is int and 0 <= x < 1 << 40 for x in value):
        raise RuleError(f"`{key}` must be a list of whole numbers")
    return tuple(value)
