"""The one table of tolerances between targets; tests use it too.

All are relative to the scale of a result, never elementwise: beside zero an elementwise relative
error says nothing. `err = max|t - r| / max(1, max|r|)`, `relL2 = ||t - r|| / ||r||`, with `r` the
float64 reference.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

WHOLE_NET = 1e-4
"""`err` of any stage of a float32 network. Measured: 2e-6 to 5e-6 on networks of 50 layers."""

RESIZE = 1e-5
"""Largest difference of a float32 resize, on the range of its operand. Measured: 9e-6."""

PLACES = 0.999
"""Share of equal elements where a result holds whole numbers, as the places of maxima."""

AGREEMENT: dict[str, float] = {"f16": 0.99, "bf16": 0.97, "int8": 0.90}
"""Share of pixels whose class must be the reference's, by the precision of the file.

Measured with random weights, which are harder than trained ones: bfloat16 changes 0.3 to 2.7 % of
the pixels, int8 of every layer 7 %.
"""

ROUNDING: dict[str, float] = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
"""The unit roundoff of each element type."""


def one_operator(dtype: Literal["f32", "f16", "bf16"], products: int = 1) -> float:
    """The limit of `relL2` for one operator: 4 sqrt(K) units of roundoff in float32.

    Half precision is accumulated in float32, so the number of products does not enter.

    Args:
        dtype: the element type.
        products: K, the products that are added up for one output.
    """
    growth = sqrt(products) if dtype == "f32" else 1.0
    return 4.0 * growth * ROUNDING[dtype]
