"""Which input sizes a network accepts: solved exactly, residue by residue.

Every size is a function with f(n + M) = f(n) + D for all n: floors of sums of such functions are
such
functions again. So a condition on a size holds, within one residue class modulo M, on an interval
of n (and perhaps single sizes more or less), which is computed, not sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import gcd, lcm

from segdsl.analysis.shapes import shapes
from segdsl.infer import requirements
from segdsl.ir import Graph
from segdsl.ops.ports import Input, SizeCondition
from segdsl.symbolic import Floor, Formula, Least, Product, Size, Symbol, evaluate, symbols
from segdsl.types import Requirement

MAX_PERIOD = 65_536
MAX_GAPS = 4_096
"""Single sizes that a set may leave out, to be told with a smaller modulus."""
MAX_SETTLED = 1 << 22
"""The largest size at which a condition may begin or end to hold, far beyond any picture."""


class Undecidable(Exception):
    """A condition couples several sizes, or its period is beyond the limit."""


@lru_cache(maxsize=65536)
def period(size: Size) -> tuple[int, int]:
    """(M, D) with f(n + M) = f(n) + D, for a size that depends on at most one symbol.

    Raises:
        Undecidable: there is no such pair within the limit.
    """
    if isinstance(size, int):
        return 1, 0
    if len(symbols(size)) > 1:
        raise Undecidable(f"{size} depends on several sizes")
    parts = [(_atom_period(atom), coefficient) for atom, coefficient in size.terms]
    modulus = reduce(lcm, (m for (m, _), _ in parts), 1)
    if modulus > MAX_PERIOD:
        raise Undecidable(f"{size} repeats only after {modulus:,} sizes")
    return modulus, sum(c * d * (modulus // m) for (m, d), c in parts)


def _atom_period(atom: Symbol | Floor | Least | Product) -> tuple[int, int]:
    match atom:
        case Symbol():
            return 1, 1
        case Floor(inner, divisor):
            m, d = period(inner)
            modulus = m * divisor // gcd(d, divisor)
            return modulus, d * modulus // (m * divisor)
        case Least(left, right):
            (m, d), (k, e) = period(left), period(right)
            if d * k != e * m:
                raise Undecidable(f"{left} and {right} grow at different rates")
            modulus = lcm(m, k)
            return modulus, d * (modulus // m)
        case Product():
            raise Undecidable("a product of sizes has no period")


def slope(size: Size) -> tuple[int, int]:
    """(D, M): the growth of a size per input pixel, as a fraction not in lowest terms."""
    m, d = period(size)
    return d, m


@dataclass(frozen=True)
class Condition:
    """`left relation right`; what both sides mean in one symbol."""

    left: Size
    relation: str
    right: Size

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether it is true at known sizes."""
        a, b = evaluate(self.left, values), evaluate(self.right, values)
        return {"==": a == b, "!=": a != b, "<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b}[
            self.relation
        ]


def condition_of(need: Requirement | SizeCondition) -> Condition:
    """A requirement or `where` as a comparison."""
    if isinstance(need, SizeCondition):
        return Condition(need.left, need.relation, need.right)
    if need.kind == "multiple":
        assert isinstance(need.right, int)
        return Condition(need.left % need.right, "==", 0)
    return Condition(need.left, "==" if need.kind == "equal" else ">=", need.right)


@dataclass(frozen=True)
class Stretch:
    """The sizes of one residue class: `first`, `first + modulus`, .

    Up to `last` (None: for ever).
    """

    first: int
    last: int | None
    holes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class SizeSet:
    """The accepted values of one symbol: a stretch (or None) per residue modulo `modulus`."""

    symbol: str
    modulus: int
    stretches: tuple[Stretch | None, ...]

    def __contains__(self, n: int) -> bool:
        stretch = self.stretches[n % self.modulus]
        return (
            stretch is not None
            and n >= stretch.first
            and (stretch.last is None or n <= stretch.last)
            and n not in stretch.holes
        )

    @property
    def empty(self) -> bool:
        """Whether no size is accepted."""
        return all(self._smallest(s) is None for s in self.stretches)

    def _smallest(self, stretch: Stretch | None) -> int | None:
        if stretch is None:
            return None
        n = stretch.first
        while n in stretch.holes:
            n += self.modulus
        return n if stretch.last is None or n <= stretch.last else None

    @property
    def minimum(self) -> int | None:
        """The smallest accepted size."""
        found = [n for n in map(self._smallest, self.stretches) if n is not None]
        return min(found, default=None)

    @property
    def residues(self) -> tuple[int, ...]:
        """Residues accepted for ever, once sizes are large enough."""
        return tuple(r for r, s in enumerate(self.stretches) if s is not None and s.last is None)

    @property
    def settled(self) -> int:
        """The smallest size from which on acceptance depends on the residue alone."""
        bounds = [1]
        for residue, stretch in enumerate(self.stretches):
            if stretch is None:
                continue
            if stretch.last is not None:
                bounds.append(stretch.last + 1)
            bounds += [hole + 1 for hole in stretch.holes]
            start = residue if residue else self.modulus
            if stretch.first > start:
                bounds.append(stretch.first - self.modulus + 1)
        return max(bounds)

    def at_least(self, n: int) -> int | None:
        """The smallest accepted size not below `n`."""
        found: list[int] = []
        for stretch in self.stretches:
            if stretch is None:
                continue
            m = max(n, stretch.first)
            m += (stretch.first - m) % self.modulus
            while m in stretch.holes:
                m += self.modulus
            if stretch.last is None or m <= stretch.last:
                found.append(m)
        return min(found, default=None)

    def at_most(self, n: int) -> int | None:
        """The largest accepted size not above `n`."""
        found: list[int] = []
        for stretch in self.stretches:
            if stretch is None:
                continue
            m = n if stretch.last is None else min(n, stretch.last)
            m -= (m - stretch.first) % self.modulus
            while m in stretch.holes:
                m -= self.modulus
            if m >= stretch.first:
                found.append(m)
        return max(found, default=None)

    def bounds(self) -> set[int]:
        """Every size at which membership changes otherwise than by residue."""
        found = {1}
        for stretch in self.stretches:
            if stretch is not None:
                found |= {stretch.first, *stretch.holes, *(hole + 1 for hole in stretch.holes)}
                found |= {stretch.last + 1} if stretch.last is not None else set()
        return found

    @property
    def finite(self) -> int:
        """How many sizes are accepted below `settled`."""
        count = 0
        for stretch in self.stretches:
            if stretch is not None:
                end = self.settled - 1 if stretch.last is None else stretch.last
                holes = sum(hole <= end for hole in stretch.holes)
                count += max(0, (end - stretch.first) // self.modulus + 1) - holes
        return count

    def nearest(self, n: int) -> tuple[int, ...]:
        """The accepted sizes next to `n`, below and above."""
        near = {self.at_most(n), self.at_least(n)}
        return tuple(sorted(m for m in near if m is not None))

    def shrunk(self) -> SizeSet:
        """The same set with the smallest modulus that says it."""
        for modulus in range(1, self.modulus):
            if self.modulus % modulus == 0:
                smaller = self._with_modulus(modulus)
                if smaller is not None:
                    return smaller
        return self

    def _with_modulus(self, modulus: int) -> SizeSet | None:
        limit = self.settled + self.modulus
        tail = {n % modulus for n in range(limit, limit + self.modulus) if n in self}
        for n in range(limit, limit + self.modulus):
            if (n in self) != (n % modulus in tail):
                return None
        stretches: list[Stretch | None] = []
        for residue in range(modulus):
            parts = [s for s in self.stretches[residue::modulus] if s is not None]
            smallest = [n for n in map(self._smallest, parts) if n is not None]
            if residue not in tail:
                if smallest:
                    return None
                stretches.append(None)
                continue
            first = min(smallest)
            gaps = [self._gaps(part, first) for part in parts]
            if sum(map(len, gaps)) > MAX_GAPS:
                return None
            holes = {n for gap in gaps for n in gap} | {n for p in parts for n in p.holes}
            stretches.append(Stretch(first, None, frozenset(n for n in holes if n > first)))
        return SizeSet(self.symbol, modulus, tuple(stretches))

    def _gaps(self, stretch: Stretch, first: int) -> range:
        """The sizes of its residue from `first` on that lie before the stretch."""
        start = first + (stretch.first - first) % self.modulus
        return range(start, stretch.first, self.modulus)

    def __str__(self) -> str:
        return describe(self)


def probes(*sets: SizeSet, modulus: int = 1) -> Iterator[int]:
    """Rising sizes among which is the first of every kind: what the sets say, and `n % modulus`.

    Between two bounds of the sets everything repeats, so one period behind each bound is enough.
    """
    period = lcm(modulus, *(known.modulus for known in sets))
    at = 1
    for bound in sorted(set().union(*(known.bounds() for known in sets))):
        at = max(at, bound)
        yield from range(at, bound + period)
        at = max(at, bound + period)


def solve(name: str, conditions: Iterable[Condition]) -> SizeSet:
    """The values from 1 of one symbol for which all conditions hold.

    Raises:
        Undecidable: a condition depends on other symbols, or the period is beyond the limit, or
            what it says begins or ends beyond it.
    """
    conditions = list(dict.fromkeys(conditions))
    modulus = 1
    for condition in conditions:
        modulus = lcm(modulus, period(condition.left)[0], period(condition.right)[0])
        if modulus > MAX_PERIOD:
            raise Undecidable(f"acceptance repeats only after {modulus:,} sizes")
    stretches = tuple(_stretch(name, r, modulus, conditions) for r in range(modulus))
    found = SizeSet(name, modulus, stretches)
    if found.settled > MAX_SETTLED + modulus:
        raise Undecidable(f"it changes at {found.settled:,} pixels; the limit is {MAX_SETTLED:,}")
    return found.shrunk()


def _stretch(
    name: str, residue: int, modulus: int, conditions: Sequence[Condition]
) -> Stretch | None:
    """The q >= 0 for which all conditions hold at n = residue + q*modulus.

    As an interval with holes.
    """
    low, high = (0 if residue else 1), None
    holes: set[int] = set()
    for condition in conditions:
        base, growth = _difference(name, condition, residue, modulus)
        answer = _interval(condition.relation, base, growth)
        if answer is None:
            return None
        first, last, hole = answer
        low = max(low, first)
        high = last if high is None else high if last is None else min(high, last)
        if hole is not None:
            holes.add(hole)
    if high is not None and high < low:
        return None
    start = residue + low * modulus
    end = None if high is None else residue + high * modulus
    return Stretch(start, end, frozenset(residue + q * modulus for q in holes if q >= low))


def _difference(name: str, condition: Condition, residue: int, modulus: int) -> tuple[int, int]:
    values = {name: residue}
    base = evaluate(condition.left, values) - evaluate(condition.right, values)
    (m, d), (k, e) = period(condition.left), period(condition.right)
    return base, d * (modulus // m) - e * (modulus // k)


def _interval(relation: str, base: int, growth: int) -> tuple[int, int | None, int | None] | None:
    """The q >= 0 with `base + growth*q relation 0`: (first, last, hole); None if there is none."""
    if relation in (">", "<"):
        shifted = base - 1 if relation == ">" else base + 1
        return _interval(relation + "=", shifted, growth)
    if relation == "<=":
        return _interval(">=", -base, -growth)
    if growth == 0:
        true = {"==": base == 0, "!=": base != 0, ">=": base >= 0}[relation]
        return (0, None, None) if true else None
    if relation in ("==", "!="):
        exact = -base // growth if base % growth == 0 else None
        if relation == "!=":
            return 0, None, exact
        return None if exact is None or exact < 0 else (exact, exact, None)
    bound = -(base // growth) if growth > 0 else base // -growth
    if growth > 0:
        return max(0, bound), None, None
    return None if bound < 0 else (0, bound, None)


def sizes(graph: Graph) -> dict[str, SizeSet]:
    """The accepted values of every size symbol of the inputs, H and W separately.

    The batch symbol is accepted from 1. Sizes are those for which every operator has a meaning and
    every `where` of the inputs holds.

    Raises:
        Undecidable: the graph couples several sizes.
    """
    by_symbol: dict[str, list[Condition]] = {}
    for name in graph.inputs:
        op = graph[name].op
        assert isinstance(op, Input)
        for size in op.shape:
            for symbol in symbols(size):
                by_symbol.setdefault(symbol, [])
        _sort(by_symbol, map(condition_of, op.where))
    table = shapes(graph)
    seen: set[tuple[object, ...]] = set()
    for node in graph.nodes():
        inputs = tuple(table[value] for value in graph.operands(node.name))
        for need in requirements(node.op, inputs):
            key = (need.kind, need.left, need.right)
            if key not in seen:
                seen.add(key)
                _sort(by_symbol, [condition_of(need)])
    return {symbol: solve(symbol, conditions) for symbol, conditions in by_symbol.items()}


def _sort(by_symbol: dict[str, list[Condition]], conditions: Iterable[Condition]) -> None:
    for condition in conditions:
        names = symbols(condition.left) | symbols(condition.right)
        if len(names) > 1:
            raise Undecidable(f"{condition.left} and {condition.right} depend on several sizes")
        for name in names:
            by_symbol.setdefault(name, []).append(condition)


def describe(accepted: SizeSet) -> str:
    """The set in words: `H = 16k, k >= 1`, `H >= 32`, `H = 8k + 1 or 8k + 2, from 33`."""
    name, modulus = accepted.symbol, accepted.modulus
    if accepted.empty:
        return f"no {name}"
    residues = accepted.residues
    if not residues:
        if accepted.finite >= 12:
            return f"{accepted.finite} sizes"
        ends = [s.last or 0 for s in accepted.stretches if s is not None]
        firsts = [s.first for s in accepted.stretches if s is not None]
        few = [accepted.at_least(min(firsts))]
        while few[-1] is not None and few[-1] < max(ends):
            few.append(accepted.at_least(few[-1] + 1))
        return f"{name} = {', '.join(str(n) for n in few if n is not None)}"
    start = accepted.minimum
    assert start is not None
    regular = all(
        (n in accepted) == (n >= start and n % modulus in residues) for n in probes(accepted)
    )
    if modulus == 1:
        text = f"{name} >= {start}"
    elif len(residues) == 1 and regular:
        (residue,) = residues
        form = f"{modulus}k" + (f" + {residue}" if residue else "")
        text = f"{name} = {form}, k >= {(start - residue) // modulus}"
        return text
    else:
        forms = [f"{modulus}k" + (f" + {r}" if r else "") for r in residues]
        text = f"{name} = {' or '.join(forms)}, from {start}"
    if regular:
        return text
    missing = [
        n for n in range(start, accepted.settled) if n % modulus in residues and n not in accepted
    ]
    return f"{text}, but not {', '.join(map(str, missing[:6]))}{' ...' if len(missing) > 6 else ''}"


def where_text(accepted: SizeSet) -> str | None:
    """The conditions a writer would put behind `where` for this set.

    None if no short form says it.
    """
    name, modulus, residues = accepted.symbol, accepted.modulus, accepted.residues
    start = accepted.minimum
    if start is None or len(residues) != 1:
        return None
    (residue,) = residues
    if any((n in accepted) != (n >= start and n % modulus == residue) for n in probes(accepted)):
        return None
    parts = []
    if modulus > 1:
        parts.append(
            f"{name} % {modulus} == 0" if not residue else f"({name} - {residue}) % {modulus} == 0"
        )
    smallest = residue or modulus
    if start > smallest:
        parts.append(f"{name} >= {start}")
    return ", ".join(parts)


def in_words(size: Size, accepted: Mapping[str, SizeSet]) -> str:
    """A size as a reader expects it: on H = 16k, `2*(H//16)` is written `H//8`."""
    return str(simplify(size, accepted))


def simplify(size: Size, accepted: Mapping[str, SizeSet]) -> Size:
    """A shorter formula that equals `size` on all accepted sizes, where there is one."""
    names = symbols(size)
    if isinstance(size, int) or len(names) != 1:
        return size
    (name,) = names
    known = accepted.get(name)
    if known is None or len(known.residues) != 1 or known.modulus == 1:
        return size
    (residue,) = known.residues
    try:
        base, growth = _difference(name, Condition(size, "==", 0), residue, known.modulus)
        m, _ = period(size)
    except Undecidable:
        return size
    if known.modulus % m:
        return size
    divisor = gcd(growth, known.modulus)
    up, down = growth // divisor, known.modulus // divisor
    symbol = Formula(((Symbol(name), 1),), 0)
    numerator = symbol * up + (base * down - residue * up)
    shorter = numerator // down if isinstance(numerator, Formula) else numerator
    return shorter if len(str(shorter)) < len(str(size)) else size
