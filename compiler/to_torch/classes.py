"""Classes shared by regions: equal skeletons are one, differing numbers its parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from compiler.to_torch import expressions as ex
from compiler.to_torch.body import Body, Bound, Construction, Slot, Step
from compiler.to_torch.expressions import Expression
from compiler.to_torch.guesses import CHANNELS
from compiler.to_torch.lower import REQUIRED, EmissionError, Literal, literal
from compiler.to_torch.names import MODULE_ATTRIBUTES, TAKEN, Names, identifier
from compiler.to_torch.regions import Region
from segdsl.ir import Value

Skeleton = tuple[object, ...]

MAX_UNNAMED = 3
"""Arguments of a block's constructor beyond these are written with their names."""


@dataclass(eq=False)
class Parameter:
    """A constructor parameter: its name, what it stands for, and its value for each region.

    `symbol` is a block parameter or `__c<i>`; "" for one that only this target needs.
    """

    name: str
    symbol: str
    values: dict[Region, Literal]
    default: Literal = REQUIRED

    @property
    def annotation(self) -> str:
        """Its type in source."""
        value = next(iter(self.values.values()))
        if isinstance(value, tuple):
            kinds = {type(v) for v in value}
            inner = "int" if kinds <= {int} else "float"
            return f"tuple[{inner}, ...]"
        return type(value).__name__


@dataclass(eq=False)
class ClassPlan:
    """One class of the emitted file and the regions that are instances of it.

    `body` is the fullest of their bodies, whose numbers carry the text that is written.
    """

    name: str
    block: str
    regions: list[Region]
    bodies: dict[Region, Body]
    body: Body
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    stored: list[tuple[str, Bound]] = field(default_factory=list[tuple[str, Bound]])
    """Numbers that `forward` needs: attributes by name."""

    def body_of(self, region: Region) -> Body:
        """A region's own body."""
        return self.bodies[region]

    def construction(self, region: Region, guesses: dict[str, Expression | None]) -> Construction:
        """How a region's parent makes it."""
        args: list[Bound] = []
        for place, parameter in enumerate(self.parameters):
            named = parameter.default != REQUIRED or place >= MAX_UNNAMED
            args.append(
                Bound(
                    parameter.values[region],
                    parameter.name if named else "",
                    parameter.default,
                    guesses.get(parameter.symbol),
                    parameter.name,
                )
            )
        return Construction(self, args)

    def symbol_guesses(self, region: Region, made: Construction) -> dict[str, Expression]:
        """The symbols of a region as its parent writes them, plain numbers at worst."""
        known = {
            p.symbol: a.guess for p, a in zip(self.parameters, made.args, strict=True) if p.symbol
        }
        found: dict[str, Expression] = {}
        for symbol, value in self.bodies[region].symbols.items():
            guess = known.get(symbol)
            if guess is not None:
                found[symbol] = guess
            elif isinstance(value, int | float | bool):
                found[symbol] = ex.constant(value)
        return found


# -- skeletons


def skeleton(body: Body, without: str = "") -> tuple[Skeleton, list[tuple[str, Bound]]]:
    """The structure of a body, and its numbers in order, each with the top key of its slot.

    Args:
        body: the body.
        without: a key of the root whose slot, and the one call of it, count as absent.
    """
    numbers: dict[Value, int] = {value: i for i, (_, value) in enumerate(body.inputs)}
    bounds: list[tuple[str, Bound]] = []
    rows: list[object] = [tuple(name for name, _ in body.inputs)]
    fresh = itertools.count(len(numbers))
    rows.append(_slot_rows(body.root, bounds, without))
    for step in body.steps:
        if without and step.slot is not None and step.slot.keys[:1] == (without,):
            numbers[step.writes[0]] = numbers[step.reads[0]]
            continue
        rows.append(_step_row(step, numbers, fresh, bounds))
    rows.append(tuple((name, numbers[value]) for name, value in body.outputs))
    return tuple(rows), bounds


def _step_row(
    step: Step, numbers: dict[Value, int], fresh: Iterator[int], bounds: list[tuple[str, Bound]]
) -> object:
    for value in step.writes:
        numbers[value] = next(fresh)
    keys = step.slot.keys if step.slot is not None else None
    bounds.extend(("", bound) for bound in step.args)
    names = tuple((b.name, b.default == REQUIRED) for b in step.args)
    return (
        step.call,
        names,
        keys,
        (step.loop, step.grows, step.train),
        tuple(numbers[value] for value in step.reads),
        tuple(numbers[value] for value in step.writes),
    )


def _slot_rows(root: Slot, bounds: list[tuple[str, Bound]], without: str) -> object:
    rows: list[object] = []
    for slot in root.walk():
        keys = slot.keys
        if without and keys[:1] == (without,):
            continue
        top = keys[0] if keys else ""
        row: list[object] = [keys, slot.kind, slot.array]
        if slot.make is not None and not _listed(slot):
            row.append(_construction_row(slot.make, top, bounds))
        for entry in slot.entries:
            row.append(
                entry.keys if isinstance(entry, Slot) else _construction_row(entry, top, bounds)
            )
        rows.append(tuple(row) if not _listed(slot) else None)
    return tuple(row for row in rows if row is not None)


def _listed(slot: Slot) -> bool:
    """Whether a slot is written as an entry of the container around it."""
    parent = slot.parent
    return (
        parent is not None and bool(parent.entries) and slot.make is not None and not slot.children
    )


def _construction_row(make: Construction, top: str, bounds: list[tuple[str, Bound]]) -> object:
    names = []
    for i, bound in enumerate(make.args):
        names.append((bound.name, bound.default == REQUIRED, i == make.moving))
        if i != make.moving:
            bounds.append((top, bound))
    extra = (make.count, make.series, make.first, make.step)
    bounds.extend((top, bound) for bound in extra if bound is not None)
    return (make.callee.name, make.frozen, *(bound is None for bound in extra), tuple(names))


def removable(body: Body) -> Iterator[str]:
    """The keys of the root whose one call could be left out: one map in, one map out."""
    for key, slot in body.root.children.items():
        below = {id(s) for s in slot.walk()}
        steps = [s for s in body.steps if s.slot is not None and id(s.slot) in below]
        if (
            len(steps) == 1
            and steps[0].slot is slot
            and steps[0].chained
            and body.root.kind == "module"
        ):
            yield key


# -- groups


@dataclass(eq=False)
class _Group:
    """Regions of one block with one skeleton, or one that lacks the part `optional`."""

    members: list[tuple[Region, Body]]
    key: Skeleton
    optional: str = ""
    lacking: list[tuple[Region, Body]] = field(default_factory=list[tuple[Region, Body]])


def plan_classes(
    block: str,
    bodies: Sequence[tuple[Region, Body]],
    names: Names,
    reserved: frozenset[str],
    given: Callable[[Region, str], bool],
) -> list[ClassPlan]:
    """The classes of all regions of one block.

    Args:
        block: the block's name.
        bodies: its regions, in the order of their first calls.
        names: hands out class names.
        reserved: names that no constructor parameter may have.
        given: whether the call of a region states an argument.
    """
    plans: list[ClassPlan] = []
    place = {region: i for i, (region, _) in enumerate(bodies)}
    for group in _groups(bodies):
        name = names.fresh(block)
        everyone = sorted((*group.members, *group.lacking), key=lambda m: place[m[0]])
        plan = ClassPlan(name, block, [r for r, _ in everyone], dict(everyone), group.members[0][1])
        _Solver(plan, group, reserved, given).solve()
        plans.append(plan)
    return plans


def _groups(bodies: Sequence[tuple[Region, Body]]) -> list[_Group]:
    found: dict[Skeleton, _Group] = {}
    for region, body in bodies:
        key, _ = skeleton(body)
        found.setdefault(key, _Group([], key)).members.append((region, body))
    for group in list(found.values()) if len(found) > 1 else ():
        if group.key not in found:
            continue
        for part in removable(group.members[0][1]):
            short, _ = skeleton(group.members[0][1], without=part)
            lacking = found.get(short)
            if lacking is not None and lacking is not group and not lacking.optional:
                group.optional, group.lacking = part, lacking.members
                del found[short]
                break
    return list(found.values())


# -- parameters


class _Solver:
    """Decides for every number of a class whether it is written out, computed or passed in."""

    def __init__(
        self,
        plan: ClassPlan,
        group: _Group,
        reserved: frozenset[str],
        given: Callable[[Region, str], bool],
    ) -> None:
        self._plan = plan
        self._group = group
        self._given = given
        self._used: dict[str, None] = {}
        self._extra: list[Parameter] = []
        self._names = Names(reserved)
        self._printed: dict[str, str] = {}
        self._symbols = {region: plan.bodies[region].symbols for region in plan.regions}

    def solve(self) -> None:
        full, columns = self._columns()
        chosen: list[tuple[Bound, Expression | Parameter | None]] = []
        for i, bound in enumerate(full):
            chosen.append((bound, self._choose(bound, columns[i])))
        self._name_symbols()
        for (bound, how), column in zip(chosen, columns, strict=True):
            bound.text = self._text(bound, how, column)
        self._store(full)
        self._order_parameters()

    def _columns(self) -> tuple[list[Bound], list[dict[Region, Bound]]]:
        """The numbers of the full body, and for each the number in every region that has it."""
        group = self._group
        tagged = skeleton(group.members[0][1])[1]
        columns: list[dict[Region, Bound]] = [{} for _ in tagged]
        for region, body in group.members:
            for i, (_, bound) in enumerate(skeleton(body)[1]):
                columns[i][region] = bound
        kept = [
            i for i, (top, _) in enumerate(tagged) if not group.optional or top != group.optional
        ]
        for region, body in group.lacking:
            for i, (_, bound) in zip(kept, skeleton(body)[1], strict=True):
                columns[i][region] = bound
        return [bound for _, bound in tagged], columns

    def _choose(self, bound: Bound, column: dict[Region, Bound]) -> Expression | Parameter | None:
        """An expression over symbols, a parameter of its own, or None for the plain value."""
        for member in column.values():
            guess = member.guess
            if guess is not None and ex.names(guess) and self._fits(guess, column):
                return self._use(guess)
        values = list(column.values())
        if all(ex.same(member.value, values[0].value) for member in values):
            return self._tuple_symbol(values[0].value)
        for guess in self._candidates():
            if self._fits(guess, column):
                return self._use(guess)
        if any(not isinstance(member.value, int | float | bool | tuple) for member in values):
            raise EmissionError(f"{bound.hint} differs between instances of {self._plan.block!r}")
        return self._passed(bound, column)

    def _fits(self, guess: Expression, column: dict[Region, Bound]) -> bool:
        return all(ex.gives(guess, self._symbols[r], b.value) for r, b in column.items())

    def _use(self, guess: Expression) -> Expression:
        for name in ex.names(guess):
            self._used.setdefault(name)
        return guess

    def _tuple_symbol(self, value: Literal) -> Expression | None:
        """The parameter that is this list, if there is one; a list is no coincidence."""
        if not (isinstance(value, tuple) and len(value) >= 3):
            return None
        for name in self._symbols[self._plan.regions[0]]:
            if all(ex.gives(ex.name(name), self._symbols[r], value) for r in self._plan.regions):
                return self._use(ex.name(name))
        return None

    def _candidates(self) -> Iterator[Expression]:
        """Parameters, channels, small multiples and fractions of them, sums of two."""
        symbols = self._symbols[self._plan.regions[0]]
        structural = self._plan.body.structural
        known = [n for n in symbols if not n.startswith(CHANNELS) and n not in structural]
        plain = [ex.name(n) for n in known + [n for n in symbols if n.startswith(CHANNELS)]]
        yield from plain
        numbers = [n for n in plain if type(ex.evaluate(n, symbols)) is int]
        for factor in range(2, 9):
            yield from (ex.times(ex.constant(factor), n) for n in numbers)
        for factor in (2, 4, 8, 16):
            yield from (ex.over(n, factor) for n in numbers)
        for i, left in enumerate(numbers):
            yield from (ex.plus(left, right) for right in numbers[i + 1 :])

    def _passed(self, bound: Bound, column: dict[Region, Bound]) -> Parameter:
        values = {region: member.value for region, member in column.items()}
        for parameter in self._extra:
            if all(parameter.values.get(r) == v for r, v in values.items()):
                return parameter
        first = next(iter(values.values()))
        for region in self._plan.regions:
            values.setdefault(region, first)
        parameter = Parameter(_word(bound.hint), "", values)
        self._extra.append(parameter)
        return parameter

    # -- names and texts

    def _name_symbols(self) -> None:
        channels = [name for name in self._used if name.startswith(CHANNELS)]
        inputs = self._plan.body.inputs
        for symbol in self._used:
            if symbol not in channels:
                self._printed[symbol] = self._names.fresh(symbol)
        for symbol in sorted(channels, key=lambda s: int(s[len(CHANNELS) :])):
            port = inputs[int(symbol[len(CHANNELS) :])][0]
            word = "cin" if len(channels) == 1 or not port else f"{port}_channels"
            self._printed[symbol] = self._names.fresh(word)
        for parameter in self._extra:
            parameter.name = self._names.fresh(parameter.name)

    def _text(
        self, bound: Bound, how: Expression | Parameter | None, column: dict[Region, Bound]
    ) -> str | None:
        if how is None and all(ex.same(m.value, m.default) for m in column.values()):
            return None
        if isinstance(how, Parameter):
            return how.name
        if how is None:
            return literal(bound.value)
        return ex.text(ex.replace_names(how, {n: ex.name(p) for n, p in self._printed.items()}))

    def _store(self, full: Sequence[Bound]) -> None:
        """Numbers of calls that are no literals become attributes of the module."""
        taken = Names(MODULE_ATTRIBUTES | self._plan.body.root.children.keys())
        by_text: dict[str, str] = {}
        for step in self._plan.body.steps:
            for bound in step.args:
                if bound.text is None or _is_literal(bound):
                    continue
                if bound.text not in by_text:
                    plain = bound.text if bound.text.isidentifier() else _word(bound.hint)
                    by_text[bound.text] = taken.fresh(plain)
                    stored = Bound(bound.value, text=bound.text)
                    self._plan.stored.append((by_text[bound.text], stored))
                bound.text = f"self.{by_text[bound.text]}"

    def _order_parameters(self) -> None:
        plan = self._plan
        symbols = list(self._symbols[plan.regions[0]])
        used = sorted(self._used, key=lambda s: (not s.startswith(CHANNELS), symbols.index(s)))
        found: list[Parameter] = []
        for symbol in used:
            values = {region: self._symbols[region][symbol] for region in plan.regions}
            found.append(Parameter(self._printed[symbol], symbol, values, self._default(symbol)))
        found += self._extra
        if self._group.optional:
            key = self._group.optional
            lacking = {region for region, _ in self._group.lacking}
            flag = self._names.fresh(_word(key))
            values = {region: region not in lacking for region in plan.regions}
            found.append(Parameter(flag, "", values, False))
            plan.body.root.children[key].optional = flag
        plan.parameters = sorted(found, key=lambda p: p.default != REQUIRED)

    def _default(self, symbol: str) -> Literal:
        """The value where the call does not state the argument: what the block says."""
        if symbol.startswith(CHANNELS):
            return REQUIRED
        silent = [r for r in self._plan.regions if not self._given(r, symbol)]
        values = [self._symbols[r][symbol] for r in silent]
        if not values or any(not ex.same(v, values[0]) for v in values):
            return REQUIRED
        return values[0]


def _is_literal(bound: Bound) -> bool:
    return bound.text == literal(bound.value)


def _word(hint: str) -> str:
    text = "".join(c if c.isalnum() or c == "_" else "_" for c in hint).strip("_")
    text = text if text and not text[0].isdigit() else f"n{text}"
    return identifier(text) if text not in TAKEN else text + "_"
