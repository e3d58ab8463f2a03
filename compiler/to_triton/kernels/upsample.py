"""Enlarge a score map and take the best class of every pixel, without the full-size scores.

    full = interpolate(scores, (H, W), mode="bilinear")
    labels, confidence = full.argmax(channels), full.softmax(channels).max(channels)

A program holds some pixels of the result and walks over the classes in blocks, so that the scores
of the result exist in registers only. Coordinates are those of torch, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .common import INTERPRETED, NAMESPACE, fits_int32, refuse_dtypes, rows
from .router import accepts, chosen


@triton.jit
def source_index(index, scale, size, ALIGN: tl.constexpr):
    """The two source pixels of an output index, and the weight of the second."""
    if ALIGN:
        at = index.to(tl.float32) * scale
    else:
        at = tl.maximum((index.to(tl.float32) + 0.5) * scale - 0.5, 0.0)
    first = tl.minimum(at.to(tl.int32), size - 1)
    second = tl.minimum(first + 1, size - 1)
    weight = tl.minimum(tl.maximum(at - first.to(tl.float32), 0.0), 1.0)
    return first, second, weight


@triton.jit
def upsample_argmax_kernel(
    X, Labels, Best, Confidence,
    h, w, H, W, total, x_pixel, x_image, scale_h, scale_w,
    C: tl.constexpr, ALIGN: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """X [N, h, w, C]; Labels, and unless None Best and Confidence, [N, H, W].

    The class, its score, and its probability under a softmax, whose sum is kept relative to the
    best score so far.
    """
    pixels = tl.program_id(0) * BP + tl.arange(0, BP)
    real = pixels < total
    image = pixels // (H * W)
    top, bottom, fy = source_index(pixels // W % H, scale_h, h, ALIGN)
    left, right, fx = source_index(pixels % W, scale_w, w, ALIGN)
    base = X + image * x_image
    corner00 = (base + (top * w + left) * x_pixel)[:, None]
    corner01 = (base + (top * w + right) * x_pixel)[:, None]
    corner10 = (base + (bottom * w + left) * x_pixel)[:, None]
    corner11 = (base + (bottom * w + right) * x_pixel)[:, None]
    best = tl.full((BP,), float("-inf"), tl.float32)
    label = tl.zeros((BP,), tl.int32)
    total_weight = tl.zeros((BP,), tl.float32)
    for start in tl.static_range(0, C, BC):
        classes = start + tl.arange(0, BC)
        mask = real[:, None] & (classes < C)[None, :]
        v00 = tl.load(corner00 + classes[None, :], mask=mask, other=0.0).to(tl.float32)
        v01 = tl.load(corner01 + classes[None, :], mask=mask, other=0.0).to(tl.float32)
        v10 = tl.load(corner10 + classes[None, :], mask=mask, other=0.0).to(tl.float32)
        v11 = tl.load(corner11 + classes[None, :], mask=mask, other=0.0).to(tl.float32)
        upper = v00 * (1.0 - fx)[:, None] + v01 * fx[:, None]
        lower = v10 * (1.0 - fx)[:, None] + v11 * fx[:, None]
        score = upper * (1.0 - fy)[:, None] + lower * fy[:, None]
        # NaN is the largest of all, as torch has it; two sentinels keep the order total.
        score = tl.where(score == score, score, float("inf"))
        score = tl.where((classes < C)[None, :], score, float("-inf"))
        high = tl.max(score, axis=1)
        place = start + tl.argmax(score, axis=1, tie_break_left=True)
        label = tl.where(high > best, place, label)
        higher = tl.maximum(best, high)
        if Confidence is not None:
            rest = tl.sum(tl.exp(score - higher[:, None]), axis=1)
            total_weight = total_weight * tl.exp(best - higher) + rest
        best = higher
    tl.store(Labels + pixels, label.to(Labels.dtype.element_ty), mask=real)
    if Best is not None:
        tl.store(Best + pixels, best.to(Best.dtype.element_ty), mask=real)
    if Confidence is not None:
        share = 1.0 / total_weight
        tl.store(Confidence + pixels, share.to(Confidence.dtype.element_ty), mask=real)


@dataclass(frozen=True)
class UpsampleConfig:
    """How the result is cut: pixels and classes of a block, warps of a program."""

    bp: int
    bc: int
    warps: int


CONFIGS: dict[str, UpsampleConfig] = {
    "p32c32w4": UpsampleConfig(32, 32, 4),
    "p64c32w4": UpsampleConfig(64, 32, 4),
    "p64c16w4": UpsampleConfig(64, 16, 4),
}
"""Blocks that may be launched; 128 pixels by 32 classes spill."""

MOST_CLASSES = 512
"""The classes are unrolled in blocks: more would take minutes to compile."""


def scales(
    small: tuple[int, int], large: tuple[int, int], align_corners: bool
) -> tuple[float, float]:
    """Source pixels per output pixel along both axes, as torch computes them from two sizes."""
    found = []
    for source, target in zip(small, large, strict=True):
        if align_corners:
            found.append((source - 1) / (target - 1) if target > 1 else 0.0)
        else:
            found.append(source / target)
    return found[0], found[1]


def reference(x: Tensor, size: list[int], align_corners: bool, dtype: torch.dtype) -> Tensor:
    """The same in plain torch."""
    full = F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    return full.argmax(1).to(dtype)


def reference_confidence(
    x: Tensor, size: list[int], align_corners: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Labels and probabilities in plain torch, the latter float32 (float64 for float64)."""
    wide = x if x.dtype == torch.float64 else x.float()
    full = F.interpolate(wide, size, mode="bilinear", align_corners=align_corners)
    return full.argmax(1).to(dtype), full.softmax(1).amax(1)


def fallback_reason(x: Tensor) -> str:
    """Why the kernel cannot take a score map, or "" where it can."""
    if x.shape[1] > MOST_CLASSES:
        return f"no template: {x.shape[1]} classes"
    try:
        refuse_dtypes(x)
        rows(x)
    except (TypeError, ValueError) as error:
        return str(error)
    return "" if fits_int32(x) else "no template: more than 2^30 elements"


def launch(
    x: Tensor,
    size: list[int],
    align_corners: bool,
    dtype: torch.dtype,
    *,
    config: UpsampleConfig,
    best: Tensor | None = None,
    confidence: Tensor | None = None,
) -> Tensor:
    """Run the kernel.

    Args:
        x: scores [N, C, h, w], channels last.
        size: height and width of the labels.
        align_corners: whether the centres of the corner pixels meet, as in torch.
        dtype: of the labels: torch.uint8 (up to 256 classes) or torch.int64.
        config: the block.
        best: where to write the score of the best class, [N, H, W]; or None.
        confidence: where to write its probability, 1 / sum_c exp(score_c - best); or None.

    Raises:
        TypeError: a dtype that the kernel does not take.
        ValueError: a layout that it does not take, or more classes than the labels can name.
    """
    refuse_dtypes(x)
    if dtype not in (torch.uint8, torch.int64):
        raise TypeError(f"labels are uint8 or int64, not {dtype}")
    if dtype == torch.uint8 and x.shape[1] > 256:
        raise ValueError(f"{x.shape[1]} classes do not fit uint8 labels")
    reason = fallback_reason(x)
    if reason:
        raise ValueError(reason)
    n, c, h, w = x.shape
    pixel, image = rows(x)
    labels = torch.empty((n, *size), dtype=dtype, device=x.device)
    total = labels.numel()
    for name, out in (("best", best), ("confidence", confidence)):
        if out is not None and (out.shape != labels.shape or not out.is_contiguous()):
            raise ValueError(f"`{name}` is {tuple(out.shape)}, the labels {tuple(labels.shape)}")
    scale_h, scale_w = scales((h, w), (size[0], size[1]), align_corners)
    upsample_argmax_kernel[(triton.cdiv(total, config.bp),)](
        x, labels, best, confidence, h, w, size[0], size[1], total, pixel, image, scale_h, scale_w,
        C=c, ALIGN=align_corners, BP=config.bp, BC=config.bc, num_warps=config.warps,
    )  # fmt: skip
    return labels


def key(x: Tensor, size: list[int], *, confidence: bool = False) -> str:
    """What a measurement is filed under."""
    n, c, h, w = x.shape
    kernel = "upsample_confidence" if confidence else "upsample_argmax"
    return f"{kernel} {str(x.dtype)[6:]} {n}x{c}x{h}x{w}->{size[0]}x{size[1]}"


@torch.library.custom_op(f"{NAMESPACE}::upsample_argmax", mutates_args=())
def upsample_argmax(x: Tensor, size: list[int], align_corners: bool, narrow: bool) -> Tensor:
    """The class of every pixel of the enlarged map; uint8 if `narrow`, else int64."""
    dtype = torch.uint8 if narrow else torch.int64
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("upsample_argmax", fallback_reason(x)):
        name = chosen(key(x, size), "p64c32w4")
    if name is None:
        return reference(x, size, align_corners, dtype)
    return launch(x, size, align_corners, dtype, config=CONFIGS[name])


@upsample_argmax.register_fake
def _(x, size, align_corners, narrow):
    dtype = torch.uint8 if narrow else torch.int64
    return x.new_empty((x.shape[0], *size), dtype=dtype)


@torch.library.custom_op(f"{NAMESPACE}::upsample_confidence", mutates_args=())
def upsample_confidence(
    x: Tensor, size: list[int], align_corners: bool, narrow: bool
) -> tuple[Tensor, Tensor]:
    """The class of every pixel of the enlarged map, and its softmax probability in float32."""
    dtype = torch.uint8 if narrow else torch.int64
    name = None
    if (x.is_cuda or INTERPRETED) and accepts("upsample_confidence", fallback_reason(x)):
        name = chosen(key(x, size, confidence=True), "p64c16w4")
    if name is None:
        labels, share = reference_confidence(x, size, align_corners, dtype)
        return labels, share.float()
    confidence = torch.empty((x.shape[0], *size), dtype=torch.float32, device=x.device)
    config = CONFIGS[name]
    labels = launch(x, size, align_corners, dtype, config=config, confidence=confidence)
    return labels, confidence


@upsample_confidence.register_fake
def _(x, size, align_corners, narrow):
    dtype = torch.uint8 if narrow else torch.int64
    shape = (x.shape[0], *size)
    return x.new_empty(shape, dtype=dtype), x.new_empty(shape, dtype=torch.float32)
