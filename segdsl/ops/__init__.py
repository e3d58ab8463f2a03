"""The operators of the language: one frozen dataclass each, pure meaning, no backend.

Importing the package registers every family, so that `segdsl.ops.base.OPS` is always whole.
"""

from segdsl.ops import (
    activation,
    combine,
    conv,
    crf,
    deform,
    elementwise,
    norm,
    pool,
    ports,
    regularise,
    resize,
    tensor,
)

__all__ = [
    "activation",
    "combine",
    "conv",
    "crf",
    "deform",
    "elementwise",
    "norm",
    "pool",
    "ports",
    "regularise",
    "resize",
    "tensor",
]
