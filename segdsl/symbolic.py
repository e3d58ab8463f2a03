"""Exact arithmetic on sizes that are known only as formulas of H, W and N.

A size is an int or a `Formula`: an integer combination of atoms plus a constant. Atoms are symbols
(`H`), floors of a formula by a positive int (`(H + 1)//2`), minima, and products of symbols'
formulas.
Formulas are kept in one normal form, so equal normal forms are equal sizes. Where normal forms
differ, `segdsl.analysis.sizes` compares residue by residue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd


@dataclass(frozen=True, slots=True)
class Symbol:
    """A size nobody wrote down, such as H."""

    name: str


@dataclass(frozen=True, slots=True)
class Floor:
    """`inner // divisor`, rounded towards minus infinity; divisor > 1."""

    inner: Formula
    divisor: int


@dataclass(frozen=True, slots=True)
class Least:
    """The smaller of two formulas (ceil-mode pools need it)."""

    left: Formula
    right: Formula


@dataclass(frozen=True, slots=True)
class Product:
    """A product of two or more formulas that are not constant, in a fixed order."""

    factors: tuple[Formula, ...]


Atom = Symbol | Floor | Least | Product


class Formula:
    """`constant + sum(coefficient * atom)`; immutable, hashable, always with at least one atom."""

    __slots__ = ("_hash", "constant", "terms")

    terms: tuple[tuple[Atom, int], ...]
    constant: int

    def __init__(self, terms: tuple[tuple[Atom, int], ...], constant: int) -> None:
        self.terms = terms
        self.constant = constant
        self._hash = hash((terms, constant))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Formula)
            and self._hash == other._hash
            and self.constant == other.constant
            and self.terms == other.terms
        )

    def __add__(self, other: Size) -> Size:
        if isinstance(other, int):
            return Formula(self.terms, self.constant + other) if other else self
        return _combine((*self.terms, *other.terms), self.constant + other.constant)

    def __radd__(self, other: int) -> Size:
        return self + other

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (-other)

    def __rsub__(self, other: int) -> Size:
        return (-self) + other

    def __mul__(self, other: Size) -> Size:
        if isinstance(other, int):
            if other == 0:
                return 0
            terms = tuple((atom, c * other) for atom, c in self.terms)
            return self if other == 1 else Formula(terms, self.constant * other)
        return _product(self, other)

    def __rmul__(self, other: int) -> Size:
        return self * other

    def __floordiv__(self, other: int) -> Size:
        return floor_div(self, other)

    def __mod__(self, other: int) -> Size:
        return self - floor_div(self, other) * other

    def __str__(self) -> str:
        return _sum_text(self)

    def __repr__(self) -> str:
        return f"<{self}>"


Size = int | Formula
"""A number of pixels, channels or images: known, or a formula."""


def symbol(name: str) -> Formula:
    """The size that a name stands for."""
    return Formula(((Symbol(name), 1),), 0)


def _order(atom: Atom) -> tuple[int, str]:
    kinds = (Symbol, Floor, Least, Product)
    return kinds.index(type(atom)), _atom_text(atom)


def _combine(terms: Iterable[tuple[Atom, int]], constant: int) -> Size:
    total: dict[Atom, int] = {}
    for atom, coefficient in terms:
        total[atom] = total.get(atom, 0) + coefficient
    kept = [(a, c) for a, c in total.items() if c]
    if not kept:
        return constant
    if len(kept) > 1:
        kept.sort(key=lambda term: _order(term[0]))
    return Formula(tuple(kept), constant)


def _product(left: Formula, right: Formula) -> Size:
    """Multiply out over terms, so that `(a + 1)*b` and `a*b + b` are one normal form."""
    pieces: list[tuple[Atom, int]] = []
    for a, ca in left.terms:
        for b, cb in right.terms:
            factors = sorted((*_factors(a), *_factors(b)), key=str)
            pieces.append((Product(tuple(factors)), ca * cb))
        pieces.append((a, ca * right.constant))
    pieces.extend((b, cb * left.constant) for b, cb in right.terms)
    return _combine(pieces, left.constant * right.constant)


def _factors(atom: Atom) -> tuple[Formula, ...]:
    return atom.factors if isinstance(atom, Product) else (Formula(((atom, 1),), 0),)


@lru_cache(maxsize=65536)
def floor_div(value: Size, divisor: int) -> Size:
    """`value // divisor` (floor) in normal form; nested floors collapse exactly.

    Uses floor((floor(A/b) + c)/d) = floor((A + b*c)/(b*d)), and pulls whole multiples of the
    divisor out.

    Raises:
        ZeroDivisionError: `divisor` is 0.
    """
    if isinstance(value, int):
        return value // divisor
    if divisor < 0:
        return floor_div(-value, -divisor)
    if divisor == 1:
        return value
    whole = tuple((a, c // divisor) for a, c in value.terms)
    rest = tuple((a, c % divisor) for a, c in value.terms if c % divisor)
    outside = _combine(whole, value.constant // divisor)
    inside = value.constant % divisor
    if not rest:
        return outside
    if len(rest) == 1 and rest[0][1] == 1 and isinstance(rest[0][0], Floor):
        nested = rest[0][0]
        return outside + floor_div(nested.inner + nested.divisor * inside, nested.divisor * divisor)
    common = gcd(divisor, *(c for _, c in rest))
    if common > 1:
        reduced = _combine(((a, c // common) for a, c in rest), inside // common)
        return outside + floor_div(reduced, divisor // common)
    return outside + _combine([(Floor(Formula(rest, inside), divisor), 1)], 0)


def ceil_div(value: Size, divisor: int) -> Size:
    """`value / divisor`, rounded up."""
    return floor_div(value + (divisor - 1), divisor)


def least(left: Size, right: Size) -> Size:
    """The smaller of two sizes."""
    difference = left - right
    if isinstance(difference, int):
        return left if difference <= 0 else right
    a, b = sorted((_as_formula(left), _as_formula(right)), key=str)
    return _combine([(Least(a, b), 1)], 0)


def _as_formula(value: Size) -> Formula:
    return value if isinstance(value, Formula) else Formula((), value)


def symbols(value: Size) -> frozenset[str]:
    """The names a size depends on."""
    if isinstance(value, int):
        return frozenset()
    return frozenset().union(*(_atom_symbols(atom) for atom, _ in value.terms))


@lru_cache(maxsize=65536)
def _atom_symbols(atom: Atom) -> frozenset[str]:
    match atom:
        case Symbol(name):
            return frozenset({name})
        case Floor(inner, _):
            return symbols(inner)
        case Least(left, right):
            return symbols(left) | symbols(right)
        case Product(factors):
            return frozenset().union(*map(symbols, factors))


def substitute(value: Size, values: Mapping[str, Size]) -> Size:
    """Replace symbols by sizes; names without an entry stay."""
    if isinstance(value, int):
        return value
    total: Size = value.constant
    for atom, coefficient in value.terms:
        total = total + coefficient * _substitute_atom(atom, values)
    return total


def _substitute_atom(atom: Atom, values: Mapping[str, Size]) -> Size:
    match atom:
        case Symbol(name):
            return values[name] if name in values else symbol(name)
        case Floor(inner, divisor):
            return floor_div(substitute(inner, values), divisor)
        case Least(left, right):
            return least(substitute(left, values), substitute(right, values))
        case Product(factors):
            total: Size = 1
            for factor in factors:
                total = total * substitute(factor, values)
            return total


def evaluate(value: Size, values: Mapping[str, int]) -> int:
    """The number a size has when every symbol is known.

    Raises:
        KeyError: a symbol of the size has no value.
    """
    if isinstance(value, int):
        return value
    result = substitute(value, {name: values[name] for name in symbols(value)})
    assert isinstance(result, int)
    return result


def _atom_text(atom: Atom) -> str:
    match atom:
        case Symbol(name):
            return name
        case Floor(inner, divisor):
            text = _sum_text(inner)
            simple = len(inner.terms) == 1 and not inner.constant and text.isidentifier()
            return f"{text}//{divisor}" if simple else f"({text})//{divisor}"
        case Least(left, right):
            return f"min({left}, {right})"
        case Product(factors):
            return "*".join(_factor_text(f) for f in factors)


def _factor_text(factor: Formula) -> str:
    text = str(factor)
    return text if text.isidentifier() else f"({text})"


def _sum_text(value: Formula) -> str:
    parts: list[str] = []
    for atom, coefficient in value.terms:
        text = _atom_text(atom)
        if abs(coefficient) != 1:
            inner = text if isinstance(atom, Symbol | Product | Least) else f"({text})"
            text = f"{abs(coefficient)}*{inner}"
        sign = "-" if coefficient < 0 else "+"
        parts.append(f" {sign} {text}" if parts else (f"-{text}" if coefficient < 0 else text))
    if value.constant or not parts:
        sign = "-" if value.constant < 0 else "+"
        parts.append(f" {sign} {abs(value.constant)}" if parts else str(value.constant))
    return "".join(parts)
