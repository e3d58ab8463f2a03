"""Containers as a person writes them: chains as nn.Sequential, branches as nn.ModuleList."""

from __future__ import annotations

import itertools
from dataclasses import replace

from compiler.to_torch.body import Body, Bound, Construction, Kind, Slot, Step
from compiler.to_torch.expressions import difference, same
from compiler.to_torch.names import CONTAINER_ATTRIBUTES, is_identifier
from segdsl.ir import Value
from segdsl.source import NOWHERE

MAX_NESTED = 6
"""Containers nested deeper are built by statements, as are those with more than `MAX_ENTRIES`."""
MAX_ENTRIES = 200
MAX_STEPS = 5000

_CONCAT = "torch.cat([{*}]{args})"


def shape_containers(body: Body) -> None:
    """Choose the kind of every container of a body and merge the calls that one call replaces.

    A body beyond `MAX_STEPS` stays as it is: looking for chains costs steps times containers.
    """
    if len(body.steps) > MAX_STEPS:
        plain_containers(body)
        return
    for slot in reversed(list(body.root.walk())):
        if slot.make is None and slot.children and slot is not body.root:
            _Container(body, slot).shape()
    _Container(body, body.root).shape_root()


def plain_containers(body: Body) -> None:
    """For flat source: containers are filled by statements, calls stay single."""
    for slot in body.root.walk():
        if slot.make is None and slot.children:
            named = all(map(is_identifier, slot.children))
            slot.kind = "module" if named else "dict"


class _Container:
    def __init__(self, body: Body, slot: Slot) -> None:
        self._body = body
        self._slot = slot
        self._uses = body.uses()
        self._made_by = {value: step for step in body.steps for value in step.writes}

    def shape(self) -> None:
        chain = self._chain()
        if chain is not None and len(self._slot.children) <= MAX_ENTRIES:
            self._become_sequence(chain)
        elif not self._become_growth() and not self._become_fan():
            self._slot.kind = self._plain_kind()

    def shape_root(self) -> None:
        """The region's class itself: nn.Sequential where its children form a chain."""
        slot = self._slot
        slot.kind = "module"
        if all(map(is_identifier, slot.children)):
            return
        chain = self._chain(root=True)
        if chain is not None and len(slot.children) <= MAX_ENTRIES:
            self._become_sequence(chain)
            step = next(s for s in self._body.steps if s.slot is slot)
            step.loop = True
        else:
            slot.kind = "list" if self._numbered() else "dict"

    # -- chains

    def _numbers(self) -> list[int] | None:
        keys = list(self._slot.children)
        if not all(key.isdigit() and str(int(key)) == key for key in keys):
            return None
        numbers = [int(key) for key in keys]
        return numbers if numbers == sorted(numbers) else None

    def _numbered(self) -> bool:
        return self._numbers() == list(range(len(self._slot.children))) and not self._holds_arrays()

    def _holds_arrays(self) -> bool:
        return any(child.array for child in self._slot.children.values())

    def _calls(self) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {key: [] for key in self._slot.children}
        below = {id(s): key for key, child in self._slot.children.items() for s in child.walk()}
        for step in self._body.steps:
            if step.slot is not None and id(step.slot) in below:
                found[below[id(step.slot)]].append(step)
        return found

    def _chain(self, root: bool = False) -> list[Step] | None:
        """The calls that this container replaces, fills included, if they form a chain."""
        numbers = self._numbers()
        if numbers is None or self._holds_arrays():
            return None
        chain: list[Step] = []
        expected = 0
        for number, (key, steps) in zip(numbers, self._calls().items(), strict=True):
            child = self._slot.children[key]
            if len(steps) != 1 or steps[0].slot is not child or not steps[0].chained:
                return None
            back = self._backwards(steps[0], number - expected, chain[-1] if chain else None)
            if back is None:
                return None
            chain += [*back, steps[0]]
            expected = number + 1
        chain = self._forwards(chain, root)
        return chain if self._adjacent(chain) else None

    def _backwards(self, step: Step, gap: int, last: Step | None) -> list[Step] | None:
        """The `gap` fills before a step, the first of which reads what `last` wrote."""
        fills: list[Step] = []
        value = step.reads[0]
        for _ in range(gap):
            fill = self._made_by.get(value)
            usable = fill is not None and fill.fill is not None and fill.single
            if fill is None or not usable or self._uses[value] != 1:
                return None
            fills.append(fill)
            value = fill.reads[0]
        if last is not None and (value != last.writes[0] or self._uses[value] != 1):
            return None
        return fills[::-1]

    def _forwards(self, chain: list[Step], root: bool) -> list[Step]:
        """With the fills that follow: all of them at a root, else those of kinds already inside."""
        kinds = {step.fill.callee.name for step in chain if step.fill is not None}
        readers = {value: step for step in self._body.steps for value in step.reads}
        result = list(chain)
        while self._uses.get(result[-1].writes[0]) == 1:
            following = readers.get(result[-1].writes[0])
            if following is None or following.fill is None or not following.single:
                break
            if not root and following.fill.callee.name not in kinds:
                break
            result.append(following)
        return result

    def _adjacent(self, chain: list[Step]) -> bool:
        """Whether the calls follow each other, so that merging them moves nothing."""
        places = {id(step): i for i, step in enumerate(s for s in self._body.steps if not s.atom)}
        first = places[id(chain[0])]
        return [places[id(step)] for step in chain] == list(range(first, first + len(chain)))

    def _become_sequence(self, chain: list[Step]) -> None:
        slot = self._slot
        slot.kind = "sequential"
        parts: list[Construction | Slot] = []
        for step in chain:
            if step.slot is None:
                assert step.fill is not None
                parts.append(step.fill)
            elif step.slot.make is not None and not step.slot.children:
                parts.append(step.slot.make)
            else:
                parts.append(step.slot)
        slot.entries = runs(parts)
        last = chain[-1]
        merged = Step(
            "{self}({0})",
            [],
            list(chain[0].reads),
            list(last.writes),
            slot=slot,
            block=True,
            random=any(step.random for step in chain),
            label=last.label,
            span=chain[0].span,
        )
        self._replace(chain, merged)

    def _replace(self, steps: list[Step], merged: Step) -> None:
        gone = {id(step) for step in steps}
        place = next(i for i, step in enumerate(self._body.steps) if id(step) in gone)
        kept = [step for step in self._body.steps if id(step) not in gone]
        self._body.steps[:] = [*kept[:place], merged, *kept[place:]]

    # -- branches

    def _become_fan(self) -> bool:
        """Branches that one concat joins: `torch.cat([f(x) for f in self.convs], dim=1)`."""
        if not self._numbered() or len(self._slot.children) < 2:
            return False
        calls = list(self._calls().values())
        if any(len(c) != 1 or not c[0].chained or c[0].slot is None for c in calls):
            return False
        branches = [c[0] for c in calls]
        if any(
            b.slot is not child
            for b, child in zip(branches, self._slot.children.values(), strict=True)
        ):
            return False
        source, results = branches[0].reads, [b.writes[0] for b in branches]
        join = next((s for s in self._body.steps if s.reads and s.reads[0] == results[0]), None)
        alike = all(b.reads == source and self._uses.get(b.writes[0]) == 1 for b in branches)
        if join is None or not alike or join.call != _CONCAT or join.reads != results:
            return False
        if not self._adjacent([*branches, join]):
            return False
        self._slot.kind = "list"
        self._slot.entries = runs([self._part(b) for b in branches])
        merged = Step(
            "torch.cat([f({0}) for f in {self}]{args})",
            join.args,
            list(source),
            join.writes,
            slot=self._slot,
            random=any(b.random for b in branches),
            label=join.label,
            span=join.span,
        )
        self._replace([*branches, join], merged)
        return True

    # -- growing lists

    def _become_growth(self) -> bool:
        """DenseNet's chain: each child reads all maps so far and adds one to them."""
        if not self._numbered() or len(self._slot.children) < 2:
            return False
        calls = list(self._calls().values())
        if any(
            len(c) != 1 or not c[0].chained or c[0].slot is None or c[0].slot.children
            for c in calls
        ):
            return False
        steps = [c[0] for c in calls]
        made = [step.writes[0] for step in steps]
        joins = [self._made_by.get(step.reads[0]) for step in steps]
        second = joins[1]
        if (
            second is None
            or second.call != _CONCAT
            or not second.reads
            or second.reads[-1] != made[0]
        ):
            return False
        base = second.reads[:-1]
        used: list[Step] = []
        for k, (step, join) in enumerate(zip(steps, joins, strict=True)):
            if join is not None and self._joins(join, [*base, *made[:k]], second):
                used += [join, step]
            elif k == 0 and base == step.reads:
                used.append(step)
            else:
                return False
        finals = self._finals(made, used, [*base, *made], second)
        if finals is None or not self._adjacent(used):
            return False
        self._grow(base, made, used, finals)
        return True

    def _joins(self, join: Step, wanted: list[Value], pattern: Step) -> bool:
        alike = join.call == _CONCAT and join.reads == wanted and self._uses[join.writes[0]] == 1
        return alike and _same_numbers(join, pattern)

    def _finals(
        self, made: list[Value], used: list[Step], everything: list[Value], pattern: Step
    ) -> list[tuple[Step, int]] | None:
        """The concats of what was made, each with how many maps it leaves out."""
        if any(value in made for _, value in self._body.outputs):
            return None
        finals: list[tuple[Step, int]] = []
        inside = {id(step) for step in used}
        for step in self._body.steps:
            if id(step) in inside or not set(made) & set(step.reads):
                continue
            skipped = len(everything) - len(step.reads)
            tail = (
                skipped >= 0 and step.reads == everything[skipped:] and set(made) <= set(step.reads)
            )
            if step.call != _CONCAT or not tail or not _same_numbers(step, pattern):
                return None
            finals.append((step, skipped))
        return finals

    def _grow(
        self, base: list[Value], made: list[Value], used: list[Step], finals: list[tuple[Step, int]]
    ) -> None:
        self._slot.kind = "list"
        self._slot.entries = runs([self._part(step) for step in used if step.slot is not None])
        maps = Value(f"{made[0].node}, and the maps after it")
        join = next(step for step in used if step.slot is None)
        merged = Step(
            "{self}({*}{args})",
            join.args,
            list(base),
            [maps],
            slot=self._slot,
            grows=True,
            random=any(step.random for step in used),
            span=join.span,
        )
        self._replace(used, merged)
        for step, skipped in finals:
            step.call = (
                f"torch.cat({{0}}[{skipped}:]{{args}})" if skipped else "torch.cat({0}{args})"
            )
            step.reads = [maps]

    @staticmethod
    def _part(branch: Step) -> Construction | Slot:
        slot = branch.slot
        assert slot is not None
        return slot.make if slot.make is not None and not slot.children else slot

    def _plain_kind(self) -> Kind:
        slot = self._slot
        children = slot.children.values()
        odd = self._holds_arrays() or any(c.make is not None and c.children for c in children)
        deep = len(slot.keys) > MAX_NESTED or len(slot.children) > MAX_ENTRIES
        modules = any(c.kind == "module" for c in children)
        if all(map(is_identifier, slot.children)):
            attributes = bool(CONTAINER_ATTRIBUTES & slot.children.keys())
            return "module" if odd or deep or modules or attributes else "dict"
        if self._numbered() and not deep and not odd and not modules:
            slot.entries = runs([_whole(c) for c in children])
            return "list"
        return "dict"


def _same_numbers(left: Step, right: Step) -> bool:
    return [(b.name, b.value) for b in left.args] == [(b.name, b.value) for b in right.args]


def _whole(slot: Slot) -> Construction | Slot:
    return slot.make if slot.make is not None and not slot.children else slot


def runs(parts: list[Construction | Slot]) -> list[Construction | Slot]:
    """Turns of a loop as one construction: with a count, or one number that moves."""
    merged: list[Construction | Slot] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Construction) and isinstance(last, Construction) and _equal(last, part):
            assert last.count is not None
            last.count = Bound(_times(last) + 1, guess=part.turns, hint="count")
        elif isinstance(part, Construction):
            count = Bound(1, guess=part.turns, hint="count")
            merged.append(replace(part, count=count))
        else:
            merged.append(part)
    return _series(merged)


def _times(part: Construction) -> int:
    assert part.count is not None
    assert isinstance(part.count.value, int)
    return part.count.value


def _equal(left: Construction, right: Construction) -> bool:
    return _alike(left, right) and all(
        same(a.value, b.value) for a, b in zip(left.args, right.args, strict=True)
    )


def _alike(left: Construction, right: Construction) -> bool:
    return (
        left.callee.name == right.callee.name
        and left.frozen == right.frozen
        and left.origin == right.origin
        and [(a.name, a.default) for a in left.args] == [(b.name, b.default) for b in right.args]
    )


def _series(parts: list[Construction | Slot]) -> list[Construction | Slot]:
    result: list[Construction | Slot] = []
    i = 0
    while i < len(parts):
        group, place = _longest_series(parts, i)
        if len(group) >= (3 if group and group[0].origin == NOWHERE else 2):
            result.append(_moving(group, place))
            i += len(group)
        else:
            result.append(parts[i])
            i += 1
    return result


def _moving(group: list[Construction], place: int) -> Construction:
    """Constructions that differ in one number as a series, in even steps or by a list."""
    bounds = [member.args[place] for member in group]
    values = [bound.value for bound in bounds]
    numbers = [value for value in values if isinstance(value, int)]
    word = bounds[0].name or bounds[0].hint
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    if len(steps) > 1:
        series = Bound(tuple(values), hint=f"{word}s")
        return replace(group[0], count=None, series=series, moving=place)
    step = Bound(
        steps.pop(), guess=difference(bounds[0].guess, bounds[1].guess), hint=f"{word}_step"
    )
    count = Bound(len(group), guess=group[0].turns, hint="count")
    first = Bound(values[0], guess=bounds[0].guess, hint=word)
    return replace(group[0], count=count, first=first, step=step, moving=place)


def _longest_series(parts: list[Construction | Slot], start: int) -> tuple[list[Construction], int]:
    """The longest run from `start` of single constructions that differ in the same one argument."""
    first = parts[start]
    if not isinstance(first, Construction) or _times(first) != 1:
        return [], -1
    group, place = [first], -1
    for part in parts[start + 1 :]:
        if not isinstance(part, Construction) or _times(part) != 1 or not _alike(first, part):
            break
        pairs = list(zip(first.args, part.args, strict=True))
        moved = [i for i, (a, b) in enumerate(pairs) if not same(a.value, b.value)]
        if (
            len(moved) != 1
            or place not in (-1, moved[0])
            or type(part.args[moved[0]].value) is not int
        ):
            break
        place = moved[0]
        group.append(part)
    return group, place
