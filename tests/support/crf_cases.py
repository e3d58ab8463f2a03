"""Random programs with one `mean_field`, and what it computes by dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import crf_reference as reference

Draw = Callable[..., Any]
Array = NDArray[Any]

NORMS = ["symmetric", "before", "after", "mean", "none"]


@dataclass
class Case:
    """A program with inputs `s` (scores) and `g` (guide), and its meaning.

    Attributes:
        text: the program.
        weights: the arrays of its weights.
        options: what the dense computation takes.
        terms: per term a function from a guide `[G, h, w]` to features, weight, sign, norm.
    """

    method: str
    classes: int
    channels: int
    dtype: str
    lines: list[str] = field(default_factory=list)
    call: str = ""
    weights: dict[str, Array] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    terms: list[tuple[Callable[[Array], Array], Any, bool, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole program; a guide that no term takes is no input."""
        guide = [f"  input g: {self.dtype}[N, {self.channels}, H, W]"] if "g" in self.used else []
        lines = [
            "seg 1",
            "net T() {",
            f"  input s: f32[N, {self.classes}, H, W]",
            *guide,
            *self.lines,
            f"  output y = s -> {self.call}",
            "}",
            "",
        ]
        return "\n".join(lines)

    @property
    def used(self) -> str:
        """The names of the inputs that the operator reads."""
        return "sg" if "(g, " in self.call else "s"

    def inputs(self, images: int, height: int, width: int, seed: int) -> dict[str, Array]:
        """Scores with regions, and a guide with the same regions and noise."""
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, max(self.classes, 2), (images, height // 3 + 1, width // 3 + 1))
        labels = labels.repeat(3, 1).repeat(3, 2)[:, :height, :width]
        scores = rng.normal(0, 0.8, (images, self.classes, height, width))
        scores += 2.0 * (labels[:, None] == np.arange(self.classes)[None, :, None, None])
        if self.options.get("given") == "proba":
            e = np.exp(scores)
            scores = e / e.sum(1, keepdims=True)
        colours = rng.uniform(0, 200, (max(self.classes, 2), self.channels))
        guide = colours[labels].transpose(0, 3, 1, 2) + rng.normal(
            0, 8, (images, self.channels, height, width)
        )
        kept = np.clip(np.rint(guide), 0, 255).astype(np.uint8)
        values: dict[str, Array] = {"s": scores.astype(np.float32), "g": kept}
        if self.dtype == "f32":
            values["g"] = guide.astype(np.float32)
        return {name: values[name] for name in self.used}

    def wanted(self, values: dict[str, Array]) -> Array:
        """What the operator gives, in float64, image by image."""
        found = []
        for i, scores in enumerate(values["s"]):
            guide = (
                values["g"][i] if "g" in values else np.zeros((self.channels, *scores.shape[1:]))
            )
            pairs = [
                reference.Pair(features(guide.astype(float)), weight, attracts, norm)
                for features, weight, attracts, norm in self.terms
            ]
            found.append(reference.mean_field(scores.astype(float), pairs, **self.options))
        return np.stack(found)


@st.composite
def cases(draw: Draw, method: str | None = None, learned: bool = True) -> Case:
    """A random operator in a net of its own.

    Args:
        draw: of Hypothesis.
        method: the method; any if left out, the lattice only for checks of the language.
        learned: whether numbers may be weights.
    """
    method = method or draw(st.sampled_from(["window", "exact"]))
    case = Case(method, draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(DTYPES))
    terms = [_term(draw, case, i, learned) for i in range(draw(st.integers(1, 3)))]
    named = _options(draw, case, learned)
    body = ", ".join([f"[{', '.join(terms)}]", *named])
    case.call = f"mean_field({body})"
    return case


DTYPES = st.sampled_from(["u8", "f32"])


def _number(draw: Draw, low: float, high: float) -> float:
    return float(round(draw(st.floats(low, high)), 2))


def _weight(draw: Draw, case: Case, array: Array) -> str:
    """A declared weight with this array; its name."""
    name = f"w{len(case.weights)}"
    shape = ", ".join(map(str, array.shape))
    case.lines.append(f"  weight {name}: [{shape}] = zeros")
    case.weights[name] = array.astype(np.float32)
    return name


def _given(draw: Draw, case: Case, array: Array, learned: bool) -> tuple[str, Any]:
    """The text of numbers, literal or as a weight, and what they are in float64."""
    if learned and draw(st.booleans()):
        single = array.reshape(1) if array.ndim == 0 else array
        name = _weight(draw, case, single)
        return name, case.weights[name].astype(float)
    return str(array.tolist()), array


def _amount(draw: Draw, case: Case, learned: bool) -> tuple[str, Any]:
    rank = draw(st.integers(0, 2))
    count = case.classes**rank
    numbers = [_number(draw, -2.0, 4.0) for _ in range(count)]
    return _given(draw, case, np.array(numbers).reshape((case.classes,) * rank), learned)


def _widths(draw: Draw, case: Case, count: int, low: float, high: float, learned: bool) -> Any:
    each = draw(st.booleans()) and count > 1
    numbers = [_number(draw, low, high) for _ in range(count if each else 1)]
    array = np.array(numbers if each else numbers[0])
    text, value = _given(draw, case, array, learned and case.method != "lattice")
    return text, np.broadcast_to(np.asarray(value).reshape(-1), (count,))


def _term(draw: Draw, case: Case, place: int, learned: bool) -> str:
    kind = draw(st.sampled_from(["gaussian", "bilateral", "pairwise"]))
    args = [] if kind == "gaussian" else ["g"]
    sxy = sigma = None
    if kind != "pairwise":
        text, sxy = _widths(draw, case, 2, 0.8, 6.0, learned)
        args.append(f"sxy={text}")
    if kind != "gaussian":
        text, sigma = _widths(draw, case, case.channels, 5.0, 60.0, learned)
        args.append(f"{'srgb' if kind == 'bilateral' else 'sigma'}={text}")
    attracts = draw(st.booleans())
    text, weight = _amount(draw, case, learned)
    args.append(f"{'compat' if attracts else 'energy'}={text}")
    norm = draw(st.sampled_from(NORMS))
    args.append(f"norm={norm}")

    def features(guide: Array) -> Array:
        parts = []
        if sxy is not None:
            height, width = guide.shape[1:]
            parts.append(reference.places(height, width, sxy[0], sxy[1]))
        if sigma is not None:
            parts.append(guide / sigma[:, None, None])
        return np.concatenate(parts)

    case.terms.append((features, weight, attracts, norm))
    return f"{kind}({', '.join(args)})"


def _options(draw: Draw, case: Case, learned: bool) -> list[str]:
    named = [f"method={case.method}"]
    options: dict[str, Any] = {"iterations": draw(st.integers(0, 4))}
    named.append(f"iterations={options['iterations']}")
    if case.method == "window":
        options["window"] = draw(st.sampled_from([1, 3, 3, 5]))
        options["blur"] = draw(st.sampled_from([1, 1, 2, 4]))
        named += [f"window={options['window']}", f"blur={options['blur']}"]
    if case.method != "lattice" and draw(st.booleans()):
        options["own"] = False
        named.append("include_self=false")
    if case.method == "exact":
        named.append("tail=0")
    if draw(st.booleans()):
        numbers = [_number(draw, -1.0, 1.0) for _ in range(case.classes**2)]
        text, options["mix"] = _given(
            draw, case, np.array(numbers).reshape(case.classes, case.classes), learned
        )
        named.append(f"mix={text}")
    if draw(st.booleans()):
        rank = draw(st.integers(0, 1))
        numbers = [_number(draw, 0.2, 1.5) for _ in range(case.classes**rank)]
        array = np.array(numbers if rank else numbers[0])
        text, options["unary_weight"] = _given(draw, case, array, learned)
        named.append(f"unary_weight={text}")
    for name, words in CHOICES.items():
        options[name] = draw(st.sampled_from(words))
        named.append(f"{name}={options[name]}")
    case.options = options
    return named


CHOICES = {
    "given": ["logits", "energy", "proba"],
    "start": ["softmax", "log_softmax"],
    "returns": ["proba", "logits", "log_proba"],
}
