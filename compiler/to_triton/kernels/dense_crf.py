"""One iteration of a mean field over all pairs of pixels, without a matrix of them in memory.

    p[i]   = post[i] * sum over j of exp(-|f[i] - f[j]|^2 / 2) * pre[j] * q[j]
    x[i]   = anchor[i] + matrix p[i]
    result = x, softmax(x) or log_softmax(x) over the classes

As in flash attention a program keeps the sums of a tile of pixels and walks over the tiles that are
near it (feature_tiles); kernel values live in registers only.

**Precision.** Features are taken from the middle of the program's tile, in float32, and then split
into two halves of float16 each, whose products run on the matrix units and are exact but for 2^-21;
squares of norms stay in float32. Tiles that are too wide for this take differences instead. Kernel
values and q, which lie in [0, 1], are halves too: one of each for scores in half precision, two of
each (products of three pairs) for float32. Each tile of q has a power of two of its own taken out,
so that small factors of a norm do not make them subnormal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .common import NAMESPACE, pipeline_stages
from .field import (
    EPILOGUES,
    MOST_CLASSES,
    MOST_MIXED,
    check_kinds,
    check_rows,
    ended,
    finished,
    stride,
)

MOST_FEATURES = 21
"""Three times as many are the depth of a product of 64."""

MOST_PAIRS = 2**31
"""Pairs of tiles are counted in int32."""


@triton.jit
def pack_kernel(
    Q, Pre, Order, V, Scale, places,
    S: tl.constexpr, PARTS: tl.constexpr, B: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Q [P, S] times Pre [P] (or None) in the order of the tiles, each divided by a power of two.

    V [PARTS, places, BC] holds float16 and, with two parts, what it lacks; Scale [2, places / B]
    the powers, below the largest value of their tile, and their inverses.
    """
    place = tl.program_id(0) * B + tl.arange(0, B)
    classes = tl.arange(0, BC)
    pixel = tl.load(Order + place)
    real = pixel >= 0
    q = tl.load(Q + (pixel * S)[:, None] + classes[None, :],
                mask=real[:, None] & (classes < S)[None, :], other=0.0)  # fmt: skip
    if Pre is not None:
        q = q * tl.load(Pre + pixel, mask=real, other=0.0)[:, None]
    high = tl.max(tl.max(tl.abs(q), axis=1), axis=0)
    exponent = high.to(tl.int32, bitcast=True) & 0x7F800000
    exponent = tl.where(exponent > 0, tl.minimum(exponent, 0x7E800000), 0x3F800000)
    q = q * (0x7F000000 - exponent).to(tl.float32, bitcast=True)
    half = q.to(tl.float16)
    at = place[:, None] * BC + classes[None, :]
    tl.store(V + at, half)
    if PARTS == 2:
        tl.store(V + places * BC + at, (q - half.to(tl.float32)).to(tl.float16))
    tl.store(Scale + tl.program_id(0), exponent.to(tl.float32, bitcast=True))
    inverse = (0x7F000000 - exponent).to(tl.float32, bitcast=True)
    tl.store(Scale + places // B + tl.program_id(0), inverse)


@triton.jit
def dense_kernel(
    V, Scale, Feature, Centre, Order, Columns, Starts, Work, Post, Anchor, Matrix, Out, places,
    C: tl.constexpr, S: tl.constexpr, D: tl.constexpr, DEPTH: tl.constexpr,
    NARROW: tl.constexpr, PARTS: tl.constexpr, OWN: tl.constexpr, EPILOGUE: tl.constexpr,
    B: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """A tile of B pixels; V and Scale of `pack_kernel`, the next six of Tiles.

    Post [P], Anchor [P, S] and Matrix [C, C] may be None; Out is [P, S].
    """
    ROOT: tl.constexpr = 1.2011224087864498  # of log2(e): powers of two are what the GPU has
    LIMIT: tl.constexpr = 1024.0  # so far from a narrow tile nothing is left of a kernel value
    tile = tl.load(Work + tl.program_id(0))
    inside = tl.arange(0, B)
    classes = tl.arange(0, BC)
    place = tile * B + inside
    if NARROW:
        # Columns of a product over [high, high, low] and [high, low, high]: low * low is nothing.
        slot = tl.arange(0, DEPTH)
        channel = slot % D
        used = slot < 3 * D
        once = slot < D
        centre = tl.load(Centre + tile * D + channel)
        f = tl.load(Feature + channel[None, :] * places + place[:, None])
        f = tl.where(used[None, :], (f - centre[None, :]) * ROOT, 0.0)
        square = 0.5 * tl.sum(tl.where(once[None, :], f * f, 0.0), axis=1)
        high = f.to(tl.float16).to(tl.float32)
        left = tl.where((slot < 2 * D)[None, :], high, f - high).to(tl.float16)
    acc = tl.zeros((B, BC), dtype=tl.float32)
    for at in tl.range(tl.load(Starts + tile), tl.load(Starts + tile + 1)):
        other = tl.load(Columns + at)
        there = other * B + inside
        power = tl.zeros((B, B), dtype=tl.float32)
        if NARROW:
            g = tl.load(Feature + channel[:, None] * places + there[None, :])
            g = tl.where(used[:, None], (g - centre[:, None]) * ROOT, 0.0)
            g = tl.minimum(tl.maximum(g, -LIMIT), LIMIT)
            norm = 0.5 * tl.sum(tl.where(once[:, None], g * g, 0.0), axis=0)
            big = g.to(tl.float16).to(tl.float32)
            second = (slot >= D) & (slot < 2 * D)
            right = tl.where(second[:, None], g - big, big).to(tl.float16)
            power = tl.dot(left, right, power) - square[:, None] - norm[None, :]
            power = tl.minimum(power, 0.0)
        else:
            for k in tl.static_range(D):
                mine = tl.load(Feature + k * places + place)
                theirs = tl.load(Feature + k * places + there)
                step = (mine[:, None] - theirs[None, :]) * ROOT
                power -= 0.5 * step * step
        value = tl.exp2(power)
        if not OWN:
            value = tl.where(place[:, None] == there[None, :], 0.0, value)
        half = value.to(tl.float16)
        source = V + there[:, None] * BC + classes[None, :]
        v = tl.load(source)
        # Powers of two change no digit, so the sums themselves go through the product.
        acc = tl.dot(half, v, acc * tl.load(Scale + places // B + other))
        if PARTS == 2:
            acc = tl.dot(half, tl.load(source + places * BC), acc)
            acc = tl.dot((value - half.to(tl.float32)).to(tl.float16), v, acc)
        acc *= tl.load(Scale + other)
    pixel = tl.load(Order + place)
    real = pixel >= 0
    if Post is not None:
        acc *= tl.load(Post + pixel, mask=real, other=0.0)[:, None]
    kept = real[:, None] & (classes < S)[None, :]
    to = (pixel * S)[:, None] + classes[None, :]
    tl.store(Out + to, finished(acc, to, kept, classes, Anchor, Matrix, C, EPILOGUE), mask=kept)


@dataclass(frozen=True)
class DenseConfig:
    """Pixels of a tile, halves of a value, warps and stages of a program."""

    tile: int
    parts: int
    warps: int
    stages: int


CONFIGS: dict[str, DenseConfig] = {
    "b64p2w4": DenseConfig(64, 2, 4, 2),
    "b64p2w8": DenseConfig(64, 2, 8, 1),
    "b64p1w4": DenseConfig(64, 1, 4, 2),
    "b64p1w8": DenseConfig(64, 1, 8, 2),
    "b128p1w8": DenseConfig(128, 1, 8, 2),
}
"""Tiles that may be launched. With one part values are rounded to float16, with two to float32."""


def default_config(classes: int, dtype: torch.dtype) -> str:
    """A tile for so many classes and scores of a dtype; what the measurements overrule."""
    parts = 2 if dtype == torch.float32 else 1
    return f"b64p{parts}w{4 if classes <= 64 else 8}"


def depth(width: int) -> int:
    """The depth of the product of features: three times as many, or more."""
    needed: int = triton.next_power_of_2(3 * width)
    return max(16, needed)


def reference(
    q: Tensor, anchor: Tensor | None, feature: Tensor, order: Tensor, images: int,
    pre: Tensor | None, post: Tensor | None, matrix: Tensor | None, classes: int, own: bool,
    epilogue: str,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands, over all pairs of each image."""
    width, places = feature.shape
    real = (order >= 0).view(images, -1, 1)
    at = order.clamp(min=0).long()
    v = q if pre is None else q * pre[:, None]
    v = torch.where(real, v[at].view(images, -1, q.shape[1]), 0.0)
    f = feature.T.reshape(images, -1, width)
    rows = []
    step = max(1, (1 << 25) // max(1, places))
    for begin in range(0, f.shape[1], step):
        mine = f[:, begin : begin + step]
        distance = torch.zeros_like(mine[:, :, :1] * f[:, None, :, 0])
        for a, b in zip(mine.unbind(2), f.unbind(2), strict=True):
            distance += (a[:, :, None] - b[:, None]).square()
        kernel = (-0.5 * distance).exp()
        if not own:
            kernel.diagonal(begin, 1, 2).zero_()
        rows.append(kernel @ v)
    # Places without a pixel go to a row behind all others, which is cut off.
    message = q.new_zeros(len(q) + 1, q.shape[1])
    target = torch.where(order < 0, len(q), order).long()
    message = message.index_copy(0, target, torch.cat(rows, 1).flatten(0, 1))[:-1]
    message = message if post is None else message * post[:, None]
    return ended(message, anchor, matrix, classes, epilogue)


def fallback_reason(
    classes: int, features: int, images: int, pixels: int, *, matrix: bool
) -> str:  # fmt: skip
    """Why the kernel cannot take such a field, or "" where it can.

    Args:
        classes: C.
        features: the most of any term.
        images: N.
        pixels: h * w.
        matrix: whether there is a matrix over the classes.
    """
    if classes > MOST_CLASSES:
        return f"no template: {classes} classes; the most is {MOST_CLASSES}"
    if matrix and classes > MOST_MIXED:
        return f"no template: a matrix of {classes} classes; the most is {MOST_MIXED}"
    if features > MOST_FEATURES:
        return f"no template: {features} features; the most is {MOST_FEATURES}"
    tiles = -(-pixels // min(config.tile for config in CONFIGS.values()))
    if images * tiles * tiles >= MOST_PAIRS:
        return f"no template: {pixels} pixels have too many pairs of tiles"
    if images * pixels * max(2 * triton.next_power_of_2(classes), features) >= 2**29:
        return "no template: more than 2^30 elements"
    return ""


def check_shapes(
    q: Tensor, anchor: Tensor | None, feature: Tensor, centre: Tensor, order: Tensor,
    columns: Tensor, starts: Tensor, work: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, tile: int, images: int, classes: int, epilogue: str,
) -> None:  # fmt: skip
    """Refuse operands that do not go together.

    Raises:
        ValueError: sizes that differ, an unknown epilogue.
    """
    check_rows(q, anchor, matrix, classes, epilogue)
    for what, factor in (("pre", pre), ("post", post)):
        if factor is not None and factor.shape != q.shape[:1]:
            raise ValueError(f"`{what}` is {tuple(factor.shape)}, not {(len(q),)}")
    tiles = len(work)
    wanted = {"feature": (len(feature), tiles * tile), "centre": (tiles, len(feature)),
              "order": (tiles * tile,), "starts": (tiles + 1,)}  # fmt: skip
    given = {"feature": feature, "centre": centre, "order": order, "starts": starts}
    for what, size in wanted.items():
        if given[what].shape != size:
            raise ValueError(f"`{what}` is {tuple(given[what].shape)}, not {size}")
    if images < 1 or tiles % images:
        raise ValueError(f"{tiles} tiles of {images} images")


def launch(
    q: Tensor, anchor: Tensor | None, feature: Tensor, centre: Tensor, order: Tensor,
    columns: Tensor, starts: Tensor, work: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, images: int, narrow: bool, classes: int, own: bool, epilogue: str,
    *, config: DenseConfig,
) -> Tensor:  # fmt: skip
    """Run the kernels.

    Args:
        q: rows [P, S] of what is filtered.
        anchor: [P, S] that is added to the message, or None.
        feature: with the next five, Tiles (feature_tiles) of the size of the configuration.
        pre: factors [P] at the sender, or None.
        post: the same at the receiver, times the weight of the term.
        matrix: [C, C] over the message, or None.
        images: N.
        narrow: of the Tiles.
        classes: C.
        own: whether a pixel sends a message to itself.
        epilogue: "logits", "proba" or "log_proba".
        config: the tile.

    Raises:
        TypeError: an operand of another dtype.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    check_shapes(q, anchor, feature, centre, order, columns, starts, work, pre, post, matrix,
                 config.tile, images, classes, epilogue)  # fmt: skip
    matrix = None if matrix is None else matrix.contiguous()
    check_kinds([q, anchor, feature, centre, pre, post, matrix], [order, columns, starts, work])
    width, places = feature.shape
    reason = fallback_reason(
        classes, width, images, len(q) // images, matrix=matrix is not None
    )  # fmt: skip
    if reason:
        raise ValueError(reason)
    fixed = constants(classes, width, narrow, own, epilogue, config)
    shared = {name: fixed[name] for name in ("S", "PARTS", "B", "BC")}
    v = q.new_empty(config.parts, places, fixed["BC"], dtype=torch.float16)
    scale = q.new_empty(2, len(work))
    pack_kernel[(len(work),)](q, pre, order, v, scale, places, **shared, num_warps=4)
    out = torch.empty_like(q)
    dense_kernel[(len(work),)](
        v, scale, feature, centre, order, columns, starts, work, post, anchor, matrix, out, places,
        **fixed, num_warps=config.warps, num_stages=pipeline_stages(config.stages),
    )  # fmt: skip
    return out


def constants(
    classes: int, width: int, narrow: bool, own: bool, epilogue: str, config: DenseConfig
) -> dict[str, Any]:
    """The constexpr parameters of the kernel; `pack_kernel` has some of them."""
    return {
        "C": classes, "S": stride(classes), "D": width, "DEPTH": depth(width), "NARROW": narrow,
        "PARTS": config.parts, "OWN": own, "EPILOGUE": EPILOGUES[epilogue], "B": config.tile,
        "BC": max(16, triton.next_power_of_2(classes)),
    }  # fmt: skip


@torch.library.custom_op(f"{NAMESPACE}::dense_filter", mutates_args=())
def dense_filter(
    q: Tensor, anchor: Tensor | None, feature: Tensor, centre: Tensor, order: Tensor,
    columns: Tensor, starts: Tensor, work: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, images: int, narrow: bool, classes: int, own: bool, epilogue: str,
    config: str,
) -> Tensor:  # fmt: skip
    """One iteration by the kernel with a tile of CONFIGS, or, if `config` is "", in plain torch."""
    if config:
        return launch(
            q, anchor, feature, centre, order, columns, starts, work, pre, post, matrix, images,
            narrow, classes, own, epilogue, config=CONFIGS[config],
        )  # fmt: skip
    tile = len(order) // max(1, len(work))
    check_shapes(q, anchor, feature, centre, order, columns, starts, work, pre, post, matrix,
                 tile, images, classes, epilogue)  # fmt: skip
    rest = (pre, post, matrix, classes, own, epilogue)
    return reference(q, anchor, feature, order, images, *rest)


@dense_filter.register_fake
def _(q, *rest):
    return torch.empty_like(q)


def key(logits: Tensor, widths: Sequence[int], *, matrix: bool) -> str:
    """What a measurement is filed under; the pairs that are near depend on the picture."""
    size = "x".join(map(str, logits.shape))
    tail = " matrix" if matrix else ""
    return f"dense_crf {str(logits.dtype)[6:]} {size} {'+'.join(map(str, widths))} features{tail}"
