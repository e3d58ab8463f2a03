"""Guesses which name of a file is which name of a network, and writes the key map rules for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_lowercase

from compiler.weights.keymap import KeyMap, Pattern, Rule, RuleError

Shape = tuple[int, ...]

MAX_CANDIDATES = 40_000
"""Pairs of names compared one by one; larger buckets are paired by position alone."""


@dataclass(frozen=True)
class Pair:
    """A name of the file that is probably a name of the net; `reshape` where the shapes differ."""

    source: str
    target: str
    reshape: Shape | None = None


def pair_up(extra: Mapping[str, Shape], missing: Mapping[str, Shape]) -> list[Pair]:
    """Pair names by equal shape and last part, then by equal shape, then by equal size.

    Within one bucket the closest names go first, then the closest positions.
    """
    sources, targets = dict(extra), dict(missing)
    pairs = _by(sources, targets, lambda name, shape: (_leaf(name), shape))
    pairs += _by(sources, targets, lambda name, shape: shape)
    for pair in _by(sources, targets, lambda name, shape: (_leaf(name), prod(shape))):
        pairs.append(Pair(pair.source, pair.target, missing[pair.target]))
    order = {name: position for position, name in enumerate(missing)}
    return sorted(pairs, key=lambda pair: order[pair.target])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _by(
    sources: dict[str, Shape],
    targets: dict[str, Shape],
    key: Callable[[str, Shape], Hashable],
) -> list[Pair]:
    """Pairs of names with equal key; takes them out of both tables."""
    buckets: dict[Hashable, tuple[list[str], list[str]]] = {}
    for side, table in enumerate((sources, targets)):
        for name, shape in table.items():
            buckets.setdefault(key(name, shape), ([], []))[side].append(name)
    pairs = [Pair(*names) for left, right in buckets.values() for names in _closest(left, right)]
    for pair in pairs:
        del sources[pair.source], targets[pair.target]
    return pairs


def _closest(sources: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str]]:
    if len(sources) * len(targets) > MAX_CANDIDATES:
        return list(zip(sources, targets, strict=False))
    scored = sorted(
        (*_distance(source.split("."), target.split(".")), abs(i - j), i, j)
        for i, source in enumerate(sources)
        for j, target in enumerate(targets)
    )
    free_sources, free_targets = set(range(len(sources))), set(range(len(targets)))
    chosen: list[tuple[int, int]] = []
    for _, _, _, i, j in scored:
        if i in free_sources and j in free_targets:
            free_sources.remove(i)
            free_targets.remove(j)
            chosen.append((i, j))
    return [(sources[i], targets[j]) for i, j in sorted(chosen)]


def _distance(left: Sequence[str], right: Sequence[str]) -> tuple[int, int]:
    """Levenshtein's distance between two paths, by parts; then the parts not shared at the ends."""
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            change = previous + (one != other)
            previous, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    before, after = _shared(left, right)
    return row[-1], -before - after


def _shared(left: Sequence[str], right: Sequence[str]) -> tuple[int, int]:
    """How many parts two paths share at the start, and at the end of what is left."""
    shorter = min(len(left), len(right))
    before = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    rest = shorter - before
    return before, next((i for i in range(rest) if left[-1 - i] != right[-1 - i]), rest)


def rules_for(pairs: Sequence[Pair], others: Sequence[str]) -> str:
    """Rules, as text for a key map file, that make every pair and leave the other names alone.

    One rule with holes stands for all pairs that differ in the same parts, where that is exact.
    """
    general = _general_rules(pairs)
    rules = general if _is_exact(general, pairs, others) else [_single(pair) for pair in pairs]
    return "\n".join(map(_text, rules))


def _single(pair: Pair) -> Rule:
    target = None if pair.source == pair.target else pair.target
    return Rule(Pattern(pair.source), target, reshape=pair.reshape)


def _general_rules(pairs: Sequence[Pair]) -> list[Rule]:
    groups: dict[tuple[str, str] | str, list[Pair]] = {}
    for pair in pairs:
        key = pair.source if pair.reshape is not None else _holes(pair)
        groups.setdefault(key, []).append(pair)
    try:
        # Exact names first: the first rule that matches wins.
        singles = [_single(group[0]) for group in groups.values() if len(group) == 1]
        shared = [
            Rule(Pattern(key[0]), key[1])
            for key, group in groups.items()
            if len(group) > 1 and isinstance(key, tuple)
        ]
    except RuleError:
        return []
    return singles + shared


def _holes(pair: Pair) -> tuple[str, str]:
    """The pair as patterns: parts that both names share at their ends become holes."""
    source, target = pair.source.split("."), pair.target.split(".")
    before, after = _shared(source, target)
    head = ["{a...}"] if before else []
    if before:
        tail = [f"{{{letter}}}" for letter in ascii_lowercase[1 : 1 + after]]
    else:
        tail = ["{a...}"] if after else []
    cores = (parts[before : len(parts) - after] for parts in (source, target))
    left, right = (".".join([*head, *core, *tail]) for core in cores)
    return left, right


def _is_exact(rules: Sequence[Rule], pairs: Sequence[Pair], others: Sequence[str]) -> bool:
    key_map = KeyMap(tuple(rules))
    wanted = {pair.source: pair.target for pair in pairs} | {name: name for name in others}
    for name, target in wanted.items():
        found = key_map.find(name)
        result = name if found is None else found[1].rename(found[2], name)
        if result != target:
            return False
    return True


def _text(rule: Rule) -> str:
    lines = ["[[rule]]", f"from = {_quoted(rule.source.text)}"]
    if rule.target is not None:
        lines.append(f"to = {_quoted(rule.target)}")
    if rule.reshape is not None:
        lines.append(f"reshape = {list(rule.reshape)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, DEL aside.
    return json.dumps(text).replace("\x7f", "\\u007F")
