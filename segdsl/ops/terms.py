"""The pairwise terms of a conditional random field: values of the language that `mean_field` takes.

k(f_i, f_j) = exp(-|f_i - f_j|^2 / 2) on features f (Krähenbühl and Koltun 2011, eq. 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, fields
from math import isfinite
from typing import Any, ClassVar, Literal, get_type_hints

from segdsl.ops.base import RuleError
from segdsl.types import Slot

Norm = Literal["symmetric", "before", "after", "mean"] | None
"""How K is divided by n = K 1: n_i^-1/2 K n_j^-1/2, K n_j^-1, n_i^-1 K, K / mean(n); None: not."""
Amount = float | tuple[float, ...] | tuple[tuple[float, ...], ...] | Slot
"""A number, one per class, or a matrix `[C, C]`; or a map that holds one of them."""
Widths = float | tuple[float, ...] | Slot
"""Standard deviations: one for all, or one each; or a map `[1]` or `[n]` that holds them."""

NARROWEST = 1e-6
WIDEST = 1e6
"""Standard deviations between these keep squared distances finite in float32."""


class Term:
    """A kernel over all pairs of pixels, and how classes attract each other through it.

    `guide` is the operand that gives its colours or features; None where it has none.
    """

    name: ClassVar[str]
    widths: ClassVar[tuple[str, ...]]
    """The fields that hold standard deviations."""
    default: ClassVar[float]
    """The `compat` of a term that states neither `compat` nor `energy`."""

    guide: ClassVar[Slot | None]
    compat: ClassVar[Amount | None]
    energy: ClassVar[Amount | None]
    norm: ClassVar[Norm]

    def __post_init__(self) -> None:
        for name in self.widths:
            _check_widths(name, getattr(self, name))
        if self.compat is not None and self.energy is not None:
            message = "takes `compat` (positive attracts) or `energy` (positive repels), not both"
            raise RuleError(message, code="E2017", blame=("energy", "compat"))
        for name in ("compat", "energy"):
            check_finite(name, getattr(self, name))

    @property
    def weight(self) -> Amount:
        """What multiplies the message: `energy`, `compat`, or the term's default `compat`."""
        if self.energy is not None:
            return self.energy
        return self.default if self.compat is None else self.compat

    @property
    def weighted_by(self) -> str:
        """The name of the field that `weight` comes from."""
        return "compat" if self.energy is None else "energy"

    def features(self, channels: int) -> int:
        """Length of the feature vector of a pixel, for a guide of so many channels."""
        return channels + (2 if "sxy" in self.widths else 0)

    def width(self, name: str) -> Widths:
        """The standard deviations that one of `widths` names."""
        found: Widths = getattr(self, name)
        return found

    def slots(self) -> Iterator[tuple[str, Slot]]:
        """The fields that are operands, in field order."""
        for name in term_fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, Slot):
                yield name, value


TERMS: dict[str, type[Term]] = {}
"""Every term by its name in the language."""


def _term(cls: type[Term]) -> type[Term]:
    TERMS[cls.name] = cls
    return cls


@_term
@dataclass(frozen=True)
class Gaussian(Term):
    """Neighbours look alike: `gaussian(sxy=3px, compat=3)`. Features x/sx, y/sy.

    Attributes:
        sxy: standard deviation in pixels: one number or `[x, y]`.
        compat: how strongly equal classes attract: a number (default 3), one per class or a matrix.
        energy: the same as a matrix that is added to the energy, as mu of the paper.
        norm: how the kernel is divided by its row sums: `symmetric`, `before` (the sender's),
            `after` (the receiver's), `mean` or none.
    """

    name: ClassVar[str] = "gaussian"
    widths: ClassVar[tuple[str, ...]] = ("sxy",)
    default: ClassVar[float] = 3.0
    guide: ClassVar[None] = None

    sxy: Widths = 3.0
    _: KW_ONLY
    compat: Amount | None = None  # type: ignore[misc]
    energy: Amount | None = None  # type: ignore[misc]
    norm: Norm = "symmetric"  # type: ignore[misc]


@_term
@dataclass(frozen=True)
class Bilateral(Term):
    """Near pixels of like colour look alike: `bilateral(rgb, sxy=80px, srgb=13, compat=10)`.

    Features x/sx, y/sy, then each channel of the guide divided by its `srgb`.

    Attributes:
        guide: the colours, of the size of the scores, in any number of channels.
        sxy: standard deviation in pixels: one number or `[x, y]`.
        srgb: standard deviation in units of the guide: one number or one per channel.
        compat: how strongly equal classes attract: a number (default 10), one per class or a
            matrix.
        energy: the same as a matrix that is added to the energy, as mu of the paper.
        norm: how the kernel is divided by its row sums: `symmetric`, `before` (the sender's),
            `after` (the receiver's), `mean` or none.
    """

    name: ClassVar[str] = "bilateral"
    widths: ClassVar[tuple[str, ...]] = ("sxy", "srgb")
    default: ClassVar[float] = 10.0

    guide: Slot  # type: ignore[misc]
    sxy: Widths = 80.0
    srgb: Widths = 13.0
    _: KW_ONLY
    compat: Amount | None = None  # type: ignore[misc]
    energy: Amount | None = None  # type: ignore[misc]
    norm: Norm = "symmetric"  # type: ignore[misc]


@_term
@dataclass(frozen=True)
class Pairwise(Term):
    """Pixels of like features look alike, wherever they are: `pairwise(features, sigma=0.5)`.

    Attributes:
        guide: the features, of the size of the scores, in any number of channels.
        sigma: standard deviation in units of the guide: one number or one per channel.
        compat: how strongly equal classes attract: a number (default 1), one per class or a matrix.
        energy: the same as a matrix that is added to the energy, as mu of the paper.
        norm: how the kernel is divided by its row sums: `symmetric`, `before` (the sender's),
            `after` (the receiver's), `mean` or none.
    """

    name: ClassVar[str] = "pairwise"
    widths: ClassVar[tuple[str, ...]] = ("sigma",)
    default: ClassVar[float] = 1.0

    guide: Slot  # type: ignore[misc]
    sigma: Widths
    _: KW_ONLY
    compat: Amount | None = None  # type: ignore[misc]
    energy: Amount | None = None  # type: ignore[misc]
    norm: Norm = "symmetric"  # type: ignore[misc]


_FIELDS: dict[type[Term], dict[str, Any]] = {}


def term_fields(cls: type[Term]) -> dict[str, Any]:
    """The fields of a term with their resolved types, in order."""
    if cls not in _FIELDS:
        hints = get_type_hints(cls)
        _FIELDS[cls] = {field.name: hints[field.name] for field in fields(cls)}  # type: ignore[arg-type]
    return _FIELDS[cls]


def _check_widths(name: str, widths: Widths) -> None:
    numbers = widths if isinstance(widths, tuple) else (widths,)
    if name == "sxy" and isinstance(widths, tuple) and len(widths) != 2:
        message = f"`sxy` is one number or [x, y], not {len(widths)} numbers"
        raise RuleError(message, code="E2005", blame=name)
    for number in numbers:
        if isinstance(number, Slot):
            continue
        if not number > 0:
            message = f"`{name}` must be above 0, got {number:g}"
            raise RuleError(message, code="E2005", blame=name)
        if not NARROWEST <= number <= WIDEST:
            limit = NARROWEST if number < NARROWEST else WIDEST
            message = f"`{name}` is {number:g}; the limit is {limit:g}"
            raise RuleError(message, code="E2009", blame=name)


def check_finite(name: str, amount: Amount | None) -> None:
    """Refuse numbers without a value (E2005)."""
    stack: list[Any] = [amount]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(item)
        elif isinstance(item, float) and not isfinite(item):
            message = f"`{name}` must be finite, got {item}"
            raise RuleError(message, code="E2005", blame=name)
