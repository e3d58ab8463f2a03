"""Initial values of a network's arrays, from a seed, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import erfc, isfinite, log, prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compiler.weights.draw import Stream
from compiler.weights.table import Weights
from segdsl.diagnostics import Diagnostic, Label, SegError, text_helps
from segdsl.source import Span
from segdsl.types import INITIALISERS, DType, Initialiser, Param

Array = NDArray[Any]
Style = Literal["own", "fixture"]

NUMPY_TYPES: dict[DType, type[np.generic]] = {
    "f16": np.float16,
    "bf16": np.float32,
    "f32": np.float32,
    "f64": np.float64,
    "u8": np.uint8,
    "i64": np.int64,
    "bool": np.bool_,
}
"""The numpy type that holds an element type; bf16 has none and is held as fp32."""

TRUNC_NORMAL_STD = 0.02
TRUNC_NORMAL_CUT = 2.0
"""As torch.nn.init.trunc_normal_: the cut is at +-2, not at two standard deviations."""


class _MisfitError(Exception):
    """An initialiser cannot fill an array of this shape."""


def initialise(
    params: Mapping[str, Param],
    seed: int = 0,
    *,
    style: Style = "own",
    owners: Mapping[str, Span] | None = None,
) -> Weights:
    """Fresh arrays for `params`, in their order; the same bits for the same seed, path and Param.

    Each array has its own random stream, so a new layer changes no other one. `style="fixture"` is
    for tests: see `fixture`. `owners` gives the place in the program of each path, for messages.

    Raises:
        SegError: initialisers that do not fit their arrays, all of them at once (E5005).
        ValueError: an unknown style.
    """
    if style not in ("own", "fixture"):
        raise ValueError(f"unknown style {style!r}: use 'own' or 'fixture'")
    arrays: dict[str, Array] = {}
    found: list[Diagnostic] = []
    for path, param in params.items():
        array = np.zeros(param.shape, NUMPY_TYPES[param.dtype])
        try:
            if style == "own":
                fill(array, param, Stream(seed, path))
            else:
                fixture(array, path, param, Stream(seed, path))
        except _MisfitError as error:
            found.append(_misfit(path, param, str(error), owners or {}))
        arrays[path] = array
    if found:
        raise SegError(*found)
    return Weights(arrays)


def _misfit(path: str, param: Param, message: str, owners: Mapping[str, Span]) -> Diagnostic:
    span = owners.get(path)
    labels = () if span is None else (Label(span, f"`{path}` is {list(param.shape)}"),)
    return Diagnostic(
        "E5005",
        f"{message} (`{path}`)",
        span,
        labels=labels,
        helps=text_helps(f"choose another initialiser: {', '.join(INITIALISERS)}"),
    )


def fill(out: Array, param: Param, stream: Stream) -> None:
    """Fill an array of the param's shape by the param's own initialiser."""
    rule = _RULES.get(param.init.name)
    if rule is None:
        raise _MisfitError(f"there is no initialiser `{param.init.name}`")
    rule(out, param, stream)


def fixture(out: Array, path: str, param: Param, stream: Stream) -> None:
    """Values for numeric tests, under which activations of deep networks stay of order 10.

    He-uniform weights (bound sqrt(6 / fan_in)) wherever an array has two or more axes, zero biases,
    running means uniform in +-0.2, running variances uniform in [1, 3]. Arrays that carry a
    structure (bilinear, identity, eye) and all other vectors (gains, layer scales, counters) keep
    their own initialiser.
    """
    leaf = path.rpartition(".")[2]
    if not param.learned and leaf in ("running_mean", "running_var"):
        low, high = (-0.2, 0.2) if leaf == "running_mean" else (1.0, 3.0)
        stream.uniform(out, low, high)
    elif param.learned and leaf == "bias" and out.ndim == 1:
        out[...] = 0
    elif param.learned and out.ndim >= 2 and param.init.name not in ("bilinear", "identity", "eye"):
        _symmetric(out, sqrt(6.0 / fan_in(param)), stream)
    else:
        fill(out, param, stream)


def fan_in(param: Param) -> int:
    """Inputs of one output: the param's own figure, else its shape without the first axis."""
    if param.fan_in is not None:
        return _positive(param.fan_in, param)
    if len(param.shape) < 2:
        raise _MisfitError(f"`{param.init}` needs an array with a fan, not one of {_shown(param)}")
    return _positive(prod(param.shape[1:]), param)


def fan_out(param: Param) -> int:
    """Outputs that one input reaches, as torch counts them: the shape without the second axis."""
    if len(param.shape) < 2:
        raise _MisfitError(f"`{param.init}` needs two axes or more, not {_shown(param)}")
    return _positive(param.shape[0] * prod(param.shape[2:]), param)


def _positive(fan: int, param: Param) -> int:
    if fan <= 0:
        raise _MisfitError(f"`{param.init}` needs an array with a fan, not one of {_shown(param)}")
    return fan


def _shown(param: Param) -> str:
    return str(list(param.shape))


def _number(init: Initialiser) -> float:
    if init.value is None:
        raise _MisfitError(f"`{init.name}({INITIALISERS[init.name]})` needs its number")
    if not isfinite(init.value):
        raise _MisfitError(f"`{init}` needs a finite number")
    return init.value


def _deviation(init: Initialiser) -> float:
    value = _number(init)
    if value <= 0:
        raise _MisfitError(f"`{init}` needs a standard deviation above 0")
    return value


def _symmetric(out: Array, bound: float, stream: Stream) -> None:
    stream.uniform(out, -bound, bound)


def _zeros(out: Array, param: Param, stream: Stream) -> None:
    out[...] = 0


def _ones(out: Array, param: Param, stream: Stream) -> None:
    out[...] = 1


def _constant(out: Array, param: Param, stream: Stream) -> None:
    out[...] = _number(param.init)


def _uniform(out: Array, param: Param, stream: Stream) -> None:
    _symmetric(out, 1.0 / sqrt(fan_in(param)), stream)


def _kaiming_uniform(out: Array, param: Param, stream: Stream) -> None:
    _symmetric(out, sqrt(6.0 / fan_in(param)), stream)


def _kaiming_normal(out: Array, param: Param, stream: Stream) -> None:
    stream.normal(out, sqrt(2.0 / fan_in(param)))


def _kaiming_normal_fan_out(out: Array, param: Param, stream: Stream) -> None:
    stream.normal(out, sqrt(2.0 / fan_out(param)))


def _xavier_uniform(out: Array, param: Param, stream: Stream) -> None:
    _symmetric(out, sqrt(6.0 / (fan_in(param) + fan_out(param))), stream)


def _trunc_normal(out: Array, param: Param, stream: Stream) -> None:
    std = TRUNC_NORMAL_STD if param.init.value is None else _deviation(param.init)
    if erfc(TRUNC_NORMAL_CUT / std / sqrt(2.0)) > 0.999:
        raise _MisfitError(f"`{param.init}` is nearly uniform once it is cut to +-2")
    stream.normal(out, std, TRUNC_NORMAL_CUT)


def _normal(out: Array, param: Param, stream: Stream) -> None:
    stream.normal(out, _deviation(param.init))


def _bilinear(out: Array, param: Param, stream: Stream) -> None:
    """FCN's upsampling filter (Long, Shelhamer, Darrell 2015) on the channel diagonal."""
    if out.ndim != 4:
        raise _MisfitError(f"bilinear initialisation needs a 4-axis kernel, not {_shown(param)}")
    into, channels = _channel_diagonal("bilinear", param)
    rows, columns = (_triangle(size) for size in param.shape[2:])
    out[into, channels] = np.outer(rows, columns)


def _triangle(size: int) -> NDArray[np.float64]:
    """The 1-D factor: 1 - |i - c| / f; f = (size + 1) // 2, c = f - 1 (odd) or f - 0.5 (even)."""
    half = (size + 1) // 2
    centre = half - 1 if size % 2 else half - 0.5
    return np.asarray(1.0 - np.abs(np.arange(size) - centre) / half)


def _identity(out: Array, param: Param, stream: Stream) -> None:
    """A convolution that passes its input on (torch's dirac_: tap k // 2), or a unit matrix."""
    if out.ndim < 2:
        raise _MisfitError(f"identity initialisation needs two axes or more, not {_shown(param)}")
    into, channels = _channel_diagonal("identity", param)
    for size in param.shape[2:]:
        out = np.moveaxis(out, 2, 0)[size // 2]
    out[into, channels] = 1


def _channel_diagonal(name: str, param: Param) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index arrays of the diagonal; a second axis of 1 is one kernel per channel (depthwise)."""
    first, second = param.shape[:2]
    if first != second and second != 1:
        raise _MisfitError(
            f"{name} initialisation needs equal channels, or one per group: the array is "
            f"{first}x{second}"
        )
    index = np.arange(first)
    return index, index if first == second else np.zeros_like(index)


def _eye(out: Array, param: Param, stream: Stream) -> None:
    if out.ndim != 2 or out.shape[0] != out.shape[1]:
        raise _MisfitError(f"`{param.init}` needs a square matrix, not {_shown(param)}")
    np.fill_diagonal(out, _number(param.init))


def _prior_bias(out: Array, param: Param, stream: Stream) -> None:
    """The bias at which a sigmoid gives p (Lin et al. 2017, focal loss, section 4.1)."""
    p = _number(param.init)
    if not 0.0 < p < 1.0:
        raise _MisfitError(f"`{param.init}` needs a probability between 0 and 1")
    out[...] = -log((1.0 - p) / p)


_RULES: dict[str, Callable[[Array, Param, Stream], None]] = {
    "zeros": _zeros,
    "ones": _ones,
    "constant": _constant,
    "uniform": _uniform,
    "kaiming_uniform": _kaiming_uniform,
    "kaiming_normal": _kaiming_normal,
    "kaiming_normal_fan_out": _kaiming_normal_fan_out,
    "xavier_uniform": _xavier_uniform,
    "trunc_normal": _trunc_normal,
    "normal": _normal,
    "bilinear": _bilinear,
    "identity": _identity,
    "eye": _eye,
    "prior_bias": _prior_bias,
}
