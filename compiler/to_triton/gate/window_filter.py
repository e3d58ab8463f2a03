"""Cases of the mean field's window kernel."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.to_triton.gate.case import Case, Loads
from compiler.to_triton.kernels.window_filter import CONFIGS, constants, window_kernel


def cases(arch: str) -> Iterator[Case]:
    """Every tile with the classes that it is for; the row sums; a matrix over the classes."""
    yield case("t8x8w4", 21)
    yield case("t8x16w8", 21)
    yield case("t4x8w4", 60)
    yield case("t4x4w2", 150)
    yield case("t8x8w4", 1, terms=1, sums=True)
    yield case("t8x8w4", 21, matrix=True)


def case(
    config: str, classes: int, *, terms: int = 2, sums: bool = False, matrix: bool = False
) -> Case:
    """A gaussian and a bilateral term: feature vectors of five numbers, a window of 7."""
    words = ["window", config, f"{classes} classes"] + ["sums"] * sums + ["matrix"] * matrix
    epilogue = "logits" if sums else "proba"
    some = None if sums else "fp32"
    fixed = constants(classes, terms, 8, 7, True, epilogue, CONFIGS[config])
    return Case(
        name=" ".join(words),
        kernel=window_kernel,
        pointers={
            "Q": "fp32", "Anchor": some, "Feature": "fp32", "Pre": some, "Post": some,
            "Matrix": "fp32" if matrix else None, "Out": "fp32",
        },
        constants=dict(fixed),
        warps=CONFIGS[config].warps,
        matrix=False,
        loads=Loads.VECTOR,
    )  # fmt: skip
