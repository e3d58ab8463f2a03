"""Dense conditional random fields in plain torch.

`mean_field` refines scores; `MeanField` is the same as a module. The rest are the names of
`pydensecrf`: `import compiler.crf as dcrf`.
"""

from __future__ import annotations

from compiler.crf.densecrf import (
    CONST_KERNEL,
    DIAG_KERNEL,
    FULL_KERNEL,
    NO_NORMALIZATION,
    NORMALIZE_AFTER,
    NORMALIZE_BEFORE,
    NORMALIZE_SYMMETRIC,
    DenseCRF,
    DenseCRF2D,
    KernelType,
    NormalizationType,
)
from compiler.crf.features import bilateral, gaussian, pairwise
from compiler.crf.field import mean_field
from compiler.crf.module import MeanField
from compiler.crf.unaries import (
    create_pairwise_bilateral,
    create_pairwise_gaussian,
    unary_from_labels,
    unary_from_softmax,
)

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "DenseCRF",
    "DenseCRF2D",
    "KernelType",
    "MeanField",
    "NormalizationType",
    "bilateral",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "gaussian",
    "mean_field",
    "pairwise",
    "unary_from_labels",
    "unary_from_softmax",
]
