"""What every kernel shares: layouts, activations, and the refusals of launchers."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"
"""Whether `@triton.jit` made interpreted kernels: they run on the CPU, in NumPy."""


def _namespace() -> str:
    """A name of this very package: torch lets a second definition of an op replace the first."""
    digest = sha256(__package__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"segdsl_{digest.hexdigest()[:8]}"


NAMESPACE = _namespace()
"""Where the custom ops of this package live in `torch.ops`."""

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

AMD_STAGES = 2
"""AMD GPUs have 64 KiB of shared memory for a program: deeper pipelines do not fit."""

OFFSETS = 2**31
"""Element offsets inside kernels are int32."""

ACTIVATIONS: dict[str, int] = {
    "none": 0, "relu": 1, "relu6": 2, "leaky_relu": 3, "sigmoid": 4, "silu": 5, "hardswish": 6,
    "gelu": 7, "tanh": 8, "hardsigmoid": 9, "elu": 10,
}  # fmt: skip
"""The activations of an epilogue, by the number that kernels know them by."""


@triton.jit
def activate(x, KIND: tl.constexpr, slope):
    """An activation in float32; `slope` is that of leaky_relu and the alpha of elu."""
    if KIND == 1:  # written so that NaN stays NaN, as in torch
        x = tl.where(x < 0.0, 0.0, x)
    elif KIND == 2:
        x = tl.where(x < 0.0, 0.0, tl.where(x > 6.0, 6.0, x))
    elif KIND == 3:
        x = tl.where(x > 0, x, x * slope)
    elif KIND == 4:
        x = tl.sigmoid(x)
    elif KIND == 5:
        x = x * tl.sigmoid(x)
    elif KIND == 6:
        x = x * tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) * (1.0 / 6.0)
    elif KIND == 7:
        x = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif KIND == 8:
        x = 2.0 * tl.sigmoid(2.0 * x) - 1.0
    elif KIND == 9:
        x = tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) * (1.0 / 6.0)
    elif KIND == 10:
        x = tl.where(x > 0, x, slope * (tl.exp(tl.minimum(x, 0.0)) - 1.0))
    return x


def activated(x: Tensor, name: str, slope: float) -> Tensor:
    """The same in torch, in the dtype of `x`."""
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "none": lambda y: y,
        "relu": F.relu,
        "relu6": F.relu6,
        "leaky_relu": lambda y: F.leaky_relu(y, slope),
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "hardswish": F.hardswish,
        "gelu": F.gelu,
        "tanh": torch.tanh,
        "hardsigmoid": F.hardsigmoid,
        "elu": lambda y: F.elu(y, slope),
    }
    return calls[name](x)


def pipeline_stages(wanted: int) -> int:
    """The stages that a launch may have on the GPUs of this torch."""
    return min(wanted, AMD_STAGES) if torch.version.hip else wanted


def block_depth(wanted: int, channels: int, dtype: torch.dtype) -> int:
    """The input channels of a step: a power of two from 16 that divides them all.

    In float32 at most half of what the tiles are made for, or their stages would not fit into
    shared memory.
    """
    most = wanted // 2 if dtype == torch.float32 else wanted
    return next(b for b in (64, 32, 16) if channels % b == 0 and b <= max(most, 16))


def refuse_dtypes(*tensors: Tensor | None) -> None:
    """Refuse what a kernel cannot take.

    Raises:
        TypeError: a dtype that no kernel has, or bfloat16 under the interpreter, which computes it
            wrongly without a word (triton 3.6 to 3.9).
    """
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.dtype not in DTYPES:
            raise TypeError(f"a kernel takes float32, float16 or bfloat16, not {tensor.dtype}")
        if INTERPRETED and tensor.dtype == torch.bfloat16:
            raise TypeError("the Triton interpreter computes bfloat16 wrongly: use a GPU")


def rows(x: Tensor) -> tuple[int, int]:
    """The element strides of (pixel, image) of a map [N, C, H, W] whose channels lie together.

    Raises:
        ValueError: it is not channels last, nor a slice of the channels of a map that is.
    """
    h, w = x.shape[2:]
    pixel = x.stride(3) if w > 1 else x.stride(2) if h > 1 else x.stride(0) // (h * w)
    wanted = (h * w * pixel, 1, w * pixel, pixel)
    for size, have, want in zip(x.shape, x.stride(), wanted, strict=True):
        if size > 1 and have != want:
            raise ValueError(
                f"a map must be channels last: strides {tuple(x.stride())} of {tuple(x.shape)}"
            )
    return pixel, h * w * pixel


def fits_int32(*tensors: Tensor | None) -> bool:
    """Whether every element offset of the tensors, slack for masked loads included, is an int32."""
    return all(t is None or _reach(t) < OFFSETS // 2 for t in tensors)


def _reach(tensor: Tensor) -> int:
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return sum((size - 1) * stride for size, stride in pairs)


def channels_last(n: int, c: int, h: int, w: int, like: Tensor) -> Tensor:
    """An uninitialised map of the dtype and device of another, channels last."""
    return torch.empty(
        (n, c, h, w), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )
