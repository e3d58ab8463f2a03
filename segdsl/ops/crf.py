"""Conditional random fields: mean-field inference with pairwise terms as one operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import any_map, axis_name, count, float_map, network_float
from segdsl.ops.terms import Amount, Term, check_finite
from segdsl.ops.window import check_range
from segdsl.taps import Blurred, Nothing, Sliding, Taps, Whole
from segdsl.types import POINTWISE, Axis, Feature, Requirement, Slot, Window

Method = Literal["lattice", "window", "exact"]

MAX_ITERATIONS = 1000
MAX_WINDOW = 101
MAX_BLUR = 64
WINDOW = 7
TAIL = 6e-6


@operator
@dataclass(frozen=True)
class MeanField(Op):
    """Mean-field inference in a fully connected CRF: `x -> mean_field([gaussian(sxy=3px)])`.

    Q = softmax(logits), then in each iteration Q = softmax(unary_weight * logits + mix * sum of
    compat * K Q), where K is the normalised kernel of a term (Krähenbühl and Koltun 2011, algorithm
    1). It runs in float32 inside, whatever the network's type.

    Attributes:
        terms: pairwise terms: `gaussian(…)`, `bilateral(guide, …)`, `pairwise(guide, …)`.
        method: `lattice` (permutohedral, approximate), `window` (pairs up to `window // 2` pixels
            apart, as ConvCRF) or `exact` (all pairs).
        iterations: how often messages are passed; field practice is 5 for `window`.
        window: width of the window, odd; 7 if left out. `method=window` only.
        blur: messages are computed on a grid this much coarser: 1 (also if left out) or even.
            `method=window` only.
        include_self: whether a pixel sends a message to itself; the lattice always does.
        mix: a matrix `[C, C]` that mixes the classes of the message (the compatibility of
            CRF-as-RNN, attracting sign); none is the identity.
        unary_weight: what multiplies the logits: a number or one per class.
        given: what `x` is: logits, `energy` (-logits) or `proba` (its logarithm, clipped at 1e-5).
        start: what the first message is made of; `log_softmax` copies a quirk of ConvCRF.
        returns: `proba`, or the last iteration's `logits` or `log_proba`.
        tail: pairs with a kernel below this may be skipped, 0 forbids it; 6e-6 if left out.
            `method=exact` only.
    """

    name: ClassVar[str] = "mean_field"
    slotted: ClassVar[bool] = True

    terms: tuple[Term, ...]
    _: KW_ONLY
    method: Method = "lattice"
    iterations: int = 10
    window: int | None = None  # type: ignore[assignment]
    blur: int | None = None
    include_self: bool = True
    mix: tuple[tuple[float, ...], ...] | Slot | None = None
    unary_weight: float | tuple[float, ...] | Slot = 1.0
    given: Literal["logits", "energy", "proba"] = "logits"
    start: Literal["softmax", "log_softmax"] = "softmax"
    returns: Literal["proba", "logits", "log_proba"] = "proba"
    tail: float | None = None

    def __post_init__(self) -> None:
        check_range("iterations", self.iterations, 0, MAX_ITERATIONS)
        self._check_window()
        if self.method == "lattice" and not self.include_self:
            message = "`include_self=false` needs `method=window` or `method=exact`"
            help = "the lattice has no form that leaves a pixel out of its own message"
            raise RuleError(message, code="E2017", blame=("include_self", "method"), help=help)
        if self.tail is not None:
            self._only_for("exact", "tail")
            if not 0 <= self.tail < 1:
                message = f"`tail` must be at least 0 and below 1, got {self.tail}"
                raise RuleError(message, code="E2005", blame="tail")
        for name in ("mix", "unary_weight"):
            check_finite(name, getattr(self, name))

    def _check_window(self) -> None:
        for name in ("window", "blur"):
            if getattr(self, name) is not None:
                self._only_for("window", name)
        check_range("window", self.size, 1, MAX_WINDOW)
        if self.size % 2 == 0:
            message = f"`window` must be odd, got {self.size}"
            help = f"`window={self.size - 1}` or `window={self.size + 1}`"
            raise RuleError(message, code="E2005", blame="window", help=help)
        check_range("blur", self.coarseness, 1, MAX_BLUR)
        if self.coarseness > 1 and self.coarseness % 2:
            message = f"`blur` must be 1 or even, got {self.coarseness}"
            raise RuleError(message, code="E2005", blame="blur")

    def _only_for(self, method: Method, name: str) -> None:
        if self.method != method:
            message = f"`{name}` has no effect with `method={self.method}`"
            help = f"`method={method}`, or leave `{name}` away"
            raise RuleError(message, code="E2017", blame=(name, "method"), help=help)

    @property
    def size(self) -> int:
        """Width of the window."""
        return WINDOW if self.window is None else self.window

    @property
    def coarseness(self) -> int:
        """Full-size pixels per pixel of the grid on which messages are computed."""
        return 1 if self.blur is None else self.blur

    @property
    def cutoff(self) -> float:
        """Kernel values below this may be skipped."""
        return TAIL if self.tail is None else self.tail

    @cached_property
    def slot_fields(self) -> dict[int, str]:
        """The field that each operand slot serves: `terms.0.guide`, `mix`."""
        found = {
            slot.index: f"terms.{i}.{name}"
            for i, term in enumerate(self.terms)
            for name, slot in term.slots()
        }
        for name in ("mix", "unary_weight"):
            value = getattr(self, name)
            if isinstance(value, Slot):
                found[value.index] = name
        return found

    def operand_name(self, slot: int) -> str:
        return "x" if slot == 0 else self.slot_fields[slot]

    # -- types

    def infer(self, *inputs: Feature) -> Feature:
        if len(inputs) != 1 + len(self.slot_fields):
            raise TypeError(
                f"{self.name} has {len(inputs)} operands, its fields name another count"
            )
        x = float_map(inputs[0])
        for i, term in enumerate(self.terms):
            self._check_term(i, term, inputs)
        if self.mix is not None:
            _check_amount(self.mix, x.channels, "mix", inputs, ranks=(2,))
        _check_amount(self.unary_weight, x.channels, "unary_weight", inputs, ranks=(0, 1))
        return x

    def _check_term(self, place: int, term: Term, inputs: tuple[Feature, ...]) -> None:
        channels = 0
        if term.guide is not None:
            channels = _guide(inputs[term.guide.index], term.guide.index).channels
        at = f"terms.{place}"
        field = term.weighted_by
        _check_amount(term.weight, inputs[0].channels, f"{at}.{field}", inputs, ranks=(0, 1, 2))
        for name in term.widths:
            wanted = 2 if name == "sxy" else channels
            widths = getattr(term, name)
            _check_widths(widths, wanted, name, f"{at}.{name}", inputs)
            if isinstance(widths, Slot) and self.method == "lattice":
                message = f"a learned `{name}` gets no gradient with `method=lattice`"
                help = "give a number, or take `method=window` or `method=exact`"
                raise RuleError(message, code="E2017", blame=(widths.index, "method"), help=help)

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        x = inputs[0]
        for slot in self.guides:
            guide = inputs[slot]
            for axis in (0, 2, 3):
                a, b = x.shape[axis], guide.shape[axis]
                what = axis_name(axis, 4)
                message = f"the scores and the guide differ in {what}: {a} and {b}"
                help = "`resize(like=…)` one of them" if axis else ""
                yield Requirement("equal", a, b, "E3004", message, (0, slot), help)

    @property
    def guides(self) -> tuple[int, ...]:
        """The slots of the guides, in term order."""
        return tuple(term.guide.index for term in self.terms if term.guide is not None)

    # -- reach

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        """The scores: their own pixel and what messages carry; guides: what steers the messages.

        A message of a window reaches `window // 2` pixels, and the normaliser of a neighbour as far
        again, where it takes part.
        """
        if slot == 0:
            return self._value_taps()
        if slot not in self.guides:
            return Whole(tag="crf")
        alone = self.method == "window" and self.size == 1  # a pixel is like itself, always
        if not self.iterations or alone:
            return Nothing()
        norms = {t.norm for t in self.terms if t.guide is not None and t.guide.index == slot}
        if self.method != "window" or "mean" in norms:
            return Whole(tag="crf")
        rounds = self.iterations + (not norms.isdisjoint({"symmetric", "before"}))
        return self._spread(rounds)

    def _value_taps(self) -> Taps:
        if not self.iterations or not self.terms:
            return Sliding(window=POINTWISE)
        if self.method != "window":
            return Sliding(window=POINTWISE, also="crf")
        return Sliding(window=POINTWISE, also="crf", beyond=self._spread(self.iterations))

    def _spread(self, rounds: int) -> Taps:
        """Everything whose messages have arrived after some rounds."""
        radius = self.size // 2
        if self.coarseness > 1:
            return Blurred(tag="crf", radius=radius, rounds=rounds, blur=self.coarseness)
        reach = rounds * radius
        return Sliding(tag="crf", window=Window(2 * reach + 1, before=reach, after=reach))

    # -- cost

    @property
    def macs_at_most(self) -> bool:
        """Whether `macs` is a bound: how many vertices a lattice has depends on the image."""
        return self.method == "lattice" and bool(self.terms) and self.iterations > 0

    def macs(self, *inputs: Feature) -> int:
        """Kernels and normalisers once, then messages and updates in each iteration.

        A lattice is counted with the most vertices it can have, d + 1 per pixel.
        """
        if not self.terms or not self.iterations:
            return 0
        x = inputs[0]
        classes, pixels = x.channels, count((x.batch, x.height, x.width))
        once, each = 0, classes * pixels * (self.unary_weight != 1.0)
        for term in self.terms:
            guide = 0 if term.guide is None else inputs[term.guide.index].channels
            length = term.features(guide)
            once += self._build(length, x) + self._message(length, 1, x) * (term.norm is not None)
            each += self._message(length, classes, x)
            each += pixels * classes * _row(term.weight, classes, inputs)
        if self.mix is not None:
            each += pixels * classes * classes
        return once + self.iterations * each

    def _build(self, length: int, x: Feature) -> int:
        return self._coarse(x) * self.size**2 * length if self.method == "window" else 0

    def _message(self, length: int, classes: int, x: Feature) -> int:
        images = count((x.batch,))
        pixels = count((x.height, x.width))
        if self.method == "window":
            return self._coarse(x) * self.size**2 * classes
        if self.method == "exact":
            return images * pixels**2 * (length + classes)
        vertices = (length + 1) * pixels
        return images * 2 * (length + 1) * classes * (pixels + vertices)

    def _coarse(self, x: Feature) -> int:
        """Pixels of the grid on which a window slides."""
        rows, columns = count((x.height,)), count((x.width,))
        blur = self.coarseness
        return count((x.batch,)) * -(-rows // blur) * -(-columns // blur)


def _row(amount: Amount, classes: int, inputs: tuple[Feature, ...]) -> int:
    """Multiplications per class that applying an amount takes."""
    if isinstance(amount, Slot):
        return classes if inputs[amount.index].rank == 2 else 1
    matrix = isinstance(amount, tuple) and bool(amount) and isinstance(amount[0], tuple)
    return classes if matrix else 1


def _guide(x: Feature, slot: int) -> Feature:
    any_map(x, slot)
    if x.dtype not in ("u8", "f32"):
        message = f"needs a guide of u8 or of f32, got {x.dtype}"
        raise RuleError(message, code="E3017", blame=slot, help="`guide * 1.0` makes it f32")
    return x


def _known(x: Feature, slot: int) -> tuple[int, ...]:
    """The sizes of an operand that holds numbers of a field."""
    network_float(x, slot)
    if x.rank > 2:
        message = f"needs a number, [C] or [C, C], as a `weight`, got {x}"
        raise RuleError(message, code="E3016", blame=slot)
    sizes = tuple(size for size in x.shape if isinstance(size, int))
    if len(sizes) != x.rank:
        message = f"needs an array of known size, as a `weight`, got {x}"
        raise RuleError(message, code="E2010", blame=slot)
    return sizes


def _check_amount(
    amount: Amount, classes: int, at: str, inputs: tuple[Feature, ...], ranks: tuple[int, ...]
) -> None:
    """Refuse what is not a number, `[C]` or `[C, C]`, as far as `ranks` allows them."""
    blame: str | int = at
    if isinstance(amount, Slot):
        blame = amount.index
        shape = _known(inputs[amount.index], amount.index)
        shape = () if shape == (1,) and 0 in ranks else shape
    else:
        shape = _shape_of(amount, at)
    forms = {0: "a number", 1: f"[{classes}]", 2: f"[{classes}, {classes}]"}
    if shape in [(classes,) * rank for rank in ranks]:
        return
    wanted = " or ".join(forms[rank] for rank in ranks)
    got = f"[{', '.join(map(str, shape))}]" if shape else "a number"
    code = "E3002" if len(shape) in ranks else "E3016"
    name = at.rpartition(".")[2]
    message = f"`{name}` must be {wanted} for {classes} classes, got {got}"
    raise RuleError(message, code=code, blame=blame)


def _shape_of(amount: float | tuple[object, ...], at: str) -> tuple[int, ...]:
    if not isinstance(amount, tuple):
        return ()
    lengths = {len(row) for row in amount if isinstance(row, tuple)}
    if not lengths:
        return (len(amount),)
    if len(lengths) > 1:
        message = f"the rows of `{at.rpartition('.')[2]}` differ in length"
        raise RuleError(message, code="E3002", blame=at)
    return (len(amount), *lengths)


def _check_widths(
    widths: float | tuple[float, ...] | Slot,
    wanted: int,
    name: str,
    at: str,
    inputs: tuple[Feature, ...],
) -> None:
    """Refuse another number of standard deviations than one, or one per channel of the guide."""
    if isinstance(widths, Slot):
        shape = _known(inputs[widths.index], widths.index)
        if shape in [(1,), (wanted,)]:
            return
        blame: str | int = widths.index
        got = f"[{', '.join(map(str, shape))}]"
    else:
        if not isinstance(widths, tuple) or len(widths) == wanted:
            return
        blame, got = at, f"{len(widths)} numbers"
    per = "[x, y]" if name == "sxy" else f"one for each of the guide's {wanted} channels"
    message = f"`{name}` must be one number or {per}, got {got}"
    raise RuleError(message, code="E3002", blame=blame)
