"""A file that does not fit a network: what differs, why, and what to do about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from compiler.weights.files import Entry, StrPath, shown
from compiler.weights.keymap import Rule
from compiler.weights.pairing import Pair, pair_up, rules_for
from segdsl.diagnostics import Diagnostic, Help, Label, SegError
from segdsl.source import Span
from segdsl.types import DType, Param

Verdict = Literal["missing", "extra", "shape", "dtype"]

MAX_LABELS = 4
MAX_ALLOWANCES = 3

COUNTER = "num_batches_tracked"
"""Batch norm's counter: old files lack it, and no result in eval mode depends on it."""

_ACCEPTED: dict[DType, frozenset[str]] = {
    "f16": frozenset({"F16", "BF16", "F32", "F64"}),
    "bf16": frozenset({"F16", "BF16", "F32", "F64"}),
    "f32": frozenset({"F16", "BF16", "F32", "F64"}),
    "f64": frozenset({"F16", "BF16", "F32", "F64"}),
    "u8": frozenset({"U8"}),
    "i64": frozenset({"U8", "I8", "I16", "U16", "I32", "U32", "I64"}),
    "bool": frozenset({"BOOL"}),
}
"""Element types that a file may have for one in the network: floats for floats, else lossless."""


@dataclass(frozen=True)
class Incoming:
    """A tensor of the file on its way into the network.

    Attributes:
        name: in the file.
        stripped: without the prefix, before the key map.
        target: its path in the network.
        entry: its element type, and its shape after the rule.
        rule: the rule of the key map that applies.
    """

    name: str
    stripped: str
    target: str
    entry: Entry
    rule: Rule | None = None


@dataclass(frozen=True)
class Difference:
    """One path on which both differ: `found` is None if it is missing, `expected` if extra."""

    name: str
    found: Incoming | None
    expected: Param | None
    verdict: Verdict


class MismatchError(SegError):
    """A file that does not fit (E5003), with every difference as data."""

    def __init__(self, diagnostic: Diagnostic, differences: Sequence[Difference]) -> None:
        super().__init__(diagnostic)
        self.differences = tuple(differences)


def is_counter(name: str) -> bool:
    """Whether a path may be absent or extra without further words."""
    return name.rpartition(".")[2] == COUNTER


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that puts `layer.10` after `layer.9`: safetensors files are sorted by letters."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() and len(part) < 10 else 0, part)
        for part in name.split(".")
    ]


def fits(entry: Entry, param: Param) -> Verdict | None:
    """None if the tensor can become the param's array, else what is wrong."""
    if entry.shape != param.shape:
        return "shape"
    return None if entry.dtype in _ACCEPTED[param.dtype] else "dtype"


def prefix_error(
    path: StrPath, incoming: Mapping[str, Incoming], params: Mapping[str, Param], stripped: str
) -> SegError | None:
    """E5004 if all names of the file share a prefix and most fit without it; else None.

    `stripped` is the prefix that has gone already.
    """
    if not incoming or any(one.stripped != one.target for one in incoming.values()):
        return None
    known = sum(name in params for name in incoming)
    best = max(
        (
            (sum(name.removeprefix(p) in params for name in incoming), p)
            for p in _prefixes(incoming)
        ),
        default=(0, ""),
        key=lambda scored: scored[0],
    )
    count, prefix = best
    if count <= known or 2 * count < min(len(incoming), len(params)):
        return None
    flag = shown(stripped + prefix)
    file = shown(os.fspath(path))
    message = f"all {len(incoming)} names of `{file}` start with `{flag}`"
    note = f"without it {count} of {len(incoming)} are names of this net, with it {known}"
    fix = Help(f"--strip-prefix {flag}")
    return SegError(Diagnostic("E5004", message, None, notes=(note,), helps=(fix,)))


def _prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes that all names share, at whole parts, shortest first."""
    ordered = sorted(names)
    first, last = ordered[0], ordered[-1]
    # What the first and the last in order share, all share.
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    common = first if shared is None else first[:shared]
    return [common[: i + 1] for i, character in enumerate(common) if character == "."]


def mismatch(
    path: StrPath,
    differences: Sequence[Difference],
    incoming: Mapping[str, Incoming],
    params: Mapping[str, Param],
    owners: Mapping[str, Span],
    unused_rules: Sequence[int] = (),
) -> MismatchError:
    """The one diagnostic (E5003) for all differences: grouped table, causes, and fixes to paste."""
    groups = _grouped(differences, {*incoming, *params})
    pairs = _pairs(differences)
    common = sum(name in params for name in incoming)
    related = 10 * common >= len(params) or _mostly_paired(differences, pairs)
    causes, fixes = _class_causes(differences, groups)
    # The cause first: the table below it can have hundreds of lines.
    notes = (
        []
        if related
        else [
            f"this looks like another network: {common} of its {len(incoming)} names are among the "
            f"{len(params)} of this one"
        ]
    )
    notes += causes
    notes += [_table(prefix, rows, owners) for prefix, rows in groups.items()]
    if unused_rules:
        rules = ", ".join(map(str, unused_rules))
        notes.append(f"rules of the key map that matched no name: {rules}")
    if related:
        fixes += _rename_fixes(pairs, incoming, params)
        fixes += _allowance_fixes(groups, pairs)
    diagnostic = Diagnostic(
        "E5003",
        _headline(path, differences, params),
        None,
        labels=_labels(differences, owners),
        notes=tuple(notes),
        helps=tuple(map(Help, fixes)),
    )
    return MismatchError(diagnostic, differences)


def _mostly_paired(differences: Sequence[Difference], pairs: Sequence[Pair]) -> bool:
    """Whether most missing kernels have a partner; vectors of equal length are in every network."""
    paired = {pair.target for pair in pairs}
    kernels = [
        one.name
        for one in differences
        if one.verdict == "missing" and one.expected is not None and len(one.expected.shape) > 1
    ]
    return 2 * sum(name in paired for name in kernels) >= max(len(kernels), 1)


def _headline(path: StrPath, differences: Sequence[Difference], params: Mapping[str, Param]) -> str:
    over = sum(one.verdict == "extra" for one in differences)
    own = len(differences) - over
    file = shown(os.fspath(path))
    if not own:
        return f"`{file}` has {over} weights that this net does not have"
    tail = f"; {over} more are only in the file" if over else ""
    return f"{own} of {len(params)} weights differ from `{file}`{tail}"


def _grouped(
    differences: Sequence[Difference], names: Iterable[str]
) -> dict[str, list[Difference]]:
    """Differences by the shortest path under which every name differs in the same way."""
    counted = [name for name in names if not is_counter(name)]
    total = Counter(prefix for name in counted for prefix in _levels(name))
    wrong = Counter((p, one.verdict) for one in differences for p in _levels(one.name))
    groups: dict[str, list[Difference]] = {}
    for one in differences:
        whole = [p for p in _levels(one.name) if wrong[p, one.verdict] == total[p]]
        groups.setdefault(whole[0] if whole else one.name, []).append(one)
    return groups


def _levels(name: str) -> list[str]:
    """All prefixes at whole parts, from the empty one to the name itself."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) + 1)]


_VERDICTS: dict[Verdict, str] = {
    "missing": "not in the file",
    "extra": "only in the file",
    "shape": "another shape",
    "dtype": "another element type",
}


def _table(prefix: str, rows: Sequence[Difference], owners: Mapping[str, Span]) -> str:
    """The rows of one group as text, aligned."""
    cells = [
        (
            shown(one.name),
            f"file {_file_side(one)}",
            f"net {_net_side(one)}",
            _place(owners.get(one.name)),
        )
        for one in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in cells
    ]
    kind = _VERDICTS[rows[0].verdict]
    head = f"`{shown(prefix)}`: {kind}" if prefix else f"everything: {kind}"
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _file_side(one: Difference) -> str:
    if one.found is None:
        return "-"
    shape = str(list(one.found.entry.shape))
    return f"{one.found.entry.dtype.lower()} {shape}" if one.verdict == "dtype" else shape


def _net_side(one: Difference) -> str:
    if one.expected is None:
        return "-"
    shape = str(list(one.expected.shape))
    return f"{one.expected.dtype} {shape}" if one.verdict == "dtype" else shape


def _place(span: Span | None) -> str:
    return "" if span is None else f"{span.source.name}:{span.line}"


def _labels(differences: Sequence[Difference], owners: Mapping[str, Span]) -> tuple[Label, ...]:
    """The places in the program, one label each, the first few."""
    labels: dict[tuple[str, int, int], Label] = {}
    for one in differences:
        span = owners.get(one.name)
        if span is not None and one.expected is not None and len(labels) < MAX_LABELS:
            text = f"`{one.name}` is {_net_side(one)}, in the file {_file_side(one)}"
            labels.setdefault((span.source.name, span.start, span.end), Label(span, text))
    return tuple(labels.values())


def _class_causes(
    differences: Sequence[Difference], groups: Mapping[str, Sequence[Difference]]
) -> tuple[list[str], list[str]]:
    """Notes and fixes for shapes that differ by one pair of numbers: classes, or input channels."""
    where: dict[tuple[int, int], list[Difference]] = {}
    axes: dict[tuple[int, int], set[int]] = {}
    for one in differences:
        changes = _changes(one)
        numbers = {(found, expected) for _, found, expected in changes}
        if len(numbers) == 1:
            key = numbers.pop()
            where.setdefault(key, []).append(one)
            axes.setdefault(key, set()).update(axis for axis, _, _ in changes)
    notes: list[str] = []
    fixes: list[str] = []
    for (found, expected), ones in where.items():
        places = [f"`{p}`" for p, rows in groups.items() if any(one in rows for one in ones)]
        under = " and ".join(shown(place) for place in places[:3])
        under += f" and {len(places) - 3} more" if len(places) > 3 else ""
        if 0 in axes[found, expected]:
            notes.append(
                f"{len(ones)} differ under {under}: the file has {found} channels there, this net "
                f"{expected}; the number of classes differs, or a width"
            )
            fixes.append(f"if these are the classes: --set classes={found}")
        else:
            notes.append(
                f"{len(ones)} differ under {under}: the file was made for {found} input channels "
                f"there, this net has {expected}"
            )
    return notes, fixes


def _changes(one: Difference) -> list[tuple[int, int, int]]:
    """Axis, size in the file and size in the net, where two shapes of equal rank differ."""
    if one.verdict != "shape" or one.found is None or one.expected is None:
        return []
    found, expected = one.found.entry.shape, one.expected.shape
    if len(found) != len(expected):
        return []
    sizes = enumerate(zip(found, expected, strict=True))
    return [(axis, a, b) for axis, (a, b) in sizes if a != b and axis < 2]


def _pairs(differences: Sequence[Difference]) -> list[Pair]:
    """Names of the file that are probably names of the net, and arrays that need another shape."""
    missing = {
        one.name: one.expected.shape
        for one in differences
        if one.verdict == "missing" and one.expected is not None
    }
    extra = {
        one.found.stripped: one.found.entry.shape
        for one in differences
        if one.verdict == "extra" and one.found is not None
    }
    same = [
        Pair(one.found.stripped, one.name, one.expected.shape)
        for one in differences
        if one.verdict == "shape" and one.found is not None and one.expected is not None
        if len(one.found.entry.shape) != len(one.expected.shape)
        if _count(one.found.entry.shape) == _count(one.expected.shape)
    ]
    return [*same, *pair_up(extra, missing)]


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _rename_fixes(
    pairs: Sequence[Pair], incoming: Mapping[str, Incoming], params: Mapping[str, Param]
) -> list[str]:
    if not pairs:
        return []
    others = [one.stripped for name, one in incoming.items() if name in params]
    moved = {pair.source for pair in pairs}
    text = rules_for(pairs, [name for name in others if name not in moved])
    return [f"if these are the same weights, put this into a file for --key-map:\n{text}"]


def _allowance_fixes(
    groups: Mapping[str, Sequence[Difference]], pairs: Sequence[Pair]
) -> list[str]:
    """Flags for whole groups that no rename explains, the largest groups first."""
    paired = {pair.source for pair in pairs} | {pair.target for pair in pairs}
    fixes: list[str] = []
    for prefix, rows in sorted(groups.items(), key=lambda item: -len(item[1])):
        verdict = rows[0].verdict
        if verdict not in ("missing", "extra") or any(one.name in paired for one in rows):
            continue
        glob = rows[0].name if len(rows) == 1 else f"{prefix}.*".lstrip(".")
        meaning = "is not needed" if verdict == "extra" else "may start from its initial values"
        fixes.append(f"if `{shown(prefix or '*')}` {meaning}: --allow-{verdict} '{shown(glob)}'")
    rest = len(fixes) - MAX_ALLOWANCES
    more = [f"and {rest} more groups like these"] if rest > 0 else []
    return fixes[:MAX_ALLOWANCES] + more
