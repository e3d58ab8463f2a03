"""Random numbers whose bits are the same on every machine and under every numpy.

Only raw Philox words are taken from numpy: its bit streams are promised to stay, its distributions
are not. The rest is `+ - * /`, `sqrt` and `frexp` in float64, which IEEE 754 fixes to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHUNK = 1 << 16
"""Values drawn at a time: the temporaries of one chunk stay in the cache."""


class Stream:
    """The random stream of one array: Philox, keyed by SHA-256 of `"{seed}:{path}"` (16 bytes)."""

    def __init__(self, seed: int, path: str) -> None:
        digest = sha256(f"{seed}:{path}".encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def uniform(self, out: NDArray[Any], low: float, high: float) -> None:
        """Fill `out` with values of [low, high): the top 24 bits of a word each, exact in fp32."""
        for part, words in self._chunks(out):
            unit = (words >> np.uint64(40)).astype(np.float64) * 2.0**-24
            part[...] = unit * (high - low) + low

    def normal(self, out: NDArray[Any], std: float, cut: float | None = None) -> None:
        """Fill `out` with N(0, std^2), optionally cut to [-cut, cut], by the quantile function.

        The top 53 bits of a word each, centred in their cell, so 0 and 1 never occur.
        """
        below = 0.0 if cut is None else _tail(cut / std)
        for part, words in self._chunks(out):
            unit = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
            part[...] = std * quantile(unit * (1.0 - 2.0 * below) + below)

    def _chunks(self, out: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[np.uint64]]]:
        flat = out.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            part = flat[start : start + CHUNK]
            yield part, np.asarray(self._bits.random_raw(part.size), dtype=np.uint64)


def _tail(z: float) -> float:
    """The probability of a standard normal below -z."""
    return 0.5 * erfc(z / sqrt(2.0))


# Coefficients of Wichura's algorithm AS 241 (PPND16), Applied Statistics 37 (1988), 477-484.
_CENTRE = (
    (
        3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
        1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
        3.3430575583588128105e4, 2.5090809287301226727e3,
    ),
    (
        1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
        2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)  # fmt: skip
_MIDDLE = (
    (
        1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
        3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
        2.27238449892691845833e-2, 7.74545014278341407640e-4,
    ),
    (
        1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
        1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)  # fmt: skip
_FAR = (
    (
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
        2.71155556874348757815e-5, 2.01033439929228813265e-7,
    ),
    (
        1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
        7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)  # fmt: skip
_Ratio = tuple[tuple[float, ...], tuple[float, ...]]


def quantile(p: Floats) -> Floats:
    """The inverse of the standard normal distribution function for 0 < p < 1, to 1e-15."""
    q = p - 0.5
    result = q * _ratio(_CENTRE, 0.180625 - q * q)
    outer = np.abs(q) > 0.425
    if outer.any():
        side = q[outer]
        small = np.where(side < 0, p[outer], 1.0 - p[outer])
        result[outer] = np.where(side < 0, -1.0, 1.0) * _far_quantile(small)
    return result


def _far_quantile(p: Floats) -> Floats:
    r = np.sqrt(-log(p))
    near = _ratio(_MIDDLE, np.minimum(r, 5.0) - 1.6)
    return np.where(r <= 5.0, near, _ratio(_FAR, np.maximum(r, 5.0) - 5.0))


def _ratio(coefficients: _Ratio, x: Floats) -> Floats:
    above, below = (_horner(series, x) for series in coefficients)
    return above / below


def _horner(series: tuple[float, ...], x: Floats) -> Floats:
    total = np.full_like(x, series[-1])
    for coefficient in reversed(series[:-1]):
        total *= x
        total += coefficient
    return total


def log(x: Floats) -> Floats:
    """The natural logarithm of positive numbers, by exact operations: numpy's differs between CPUs.

    x = m * 2^e, m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1)), 12 terms (1e-17).
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = tuple(1.0 / (2 * k + 1) for k in range(12))
    return (exponent - low).astype(np.float64) * 0.6931471805599453 + 2.0 * s * _horner(
        series, s * s
    )
