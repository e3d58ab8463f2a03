"""One iteration of a mean field whose kernels are cut off outside a window, in one launch.

    p[i]   = sum over terms t of post[i, t] * sum over j in the window of i of
             exp(-|f[i, t] - f[j, t]|^2 / 2) * pre[j, t] * q[j]
    x[i]   = anchor[i] + matrix p[i]
    result = x, softmax(x) or log_softmax(x) over the classes

Kernel values are computed again from the features in every iteration: with k x k of them at every
pixel they are more to read than the features (ConvCRF, arXiv:1805.04777, keeps them). Weights that
are numbers are factors of `post`; a matrix stands over the sum of all terms. Everything is float32,
channels last. Without `post`, the row sums n of a kernel are its message of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .common import NAMESPACE, channels_last, fits_int32
from .field import EPILOGUES, MOST_CLASSES, MOST_MIXED


@triton.jit
def window_kernel(
    Q, Anchor, Feature, Pre, Post, Matrix, Out, H, W,
    C: tl.constexpr, T: tl.constexpr, D: tl.constexpr, K: tl.constexpr,
    OWN: tl.constexpr, EPILOGUE: tl.constexpr,
    TILE_H: tl.constexpr, TILE_W: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Q, Anchor, Out [N, H, W, C]; Feature [N, H, W, T * D]; Pre, Post [N, H, W, T].

    Matrix [C, C] or None; Anchor and Post may be None too; T and D are powers of two.
    """
    across = tl.cdiv(W, TILE_W)
    tile = tl.program_id(0)
    image = tl.program_id(1)
    inside = tl.arange(0, TILE_H * TILE_W)
    y = tile // across * TILE_H + inside // TILE_W
    x = tile % across * TILE_W + inside % TILE_W
    real = (y < H) & (x < W)
    pixel = (image * H + y) * W + x
    classes = tl.arange(0, BC)
    terms = tl.arange(0, T)
    slots = (terms * D)[None, :, None] + tl.arange(0, D)[None, None, :]
    own = tl.load(Feature + (pixel * (T * D))[:, None, None] + slots,
                  mask=real[:, None, None], other=0.0)  # fmt: skip
    if Post is not None:
        post = tl.load(Post + (pixel * T)[:, None] + terms[None, :],
                       mask=real[:, None], other=0.0)  # fmt: skip
    acc = tl.zeros((TILE_H * TILE_W, BC), dtype=tl.float32)
    for tap in tl.range(0, K * K):
        yy = y + (tap // K - K // 2)
        xx = x + (tap % K - K // 2)
        valid = real & (yy >= 0) & (yy < H) & (xx >= 0) & (xx < W)
        if not OWN:
            valid = valid & (tap != K * K // 2)
        there = (image * H + yy) * W + xx
        partner = tl.load(Feature + (there * (T * D))[:, None, None] + slots,
                          mask=valid[:, None, None], other=0.0)  # fmt: skip
        step = own - partner
        value = tl.exp(-0.5 * tl.sum(step * step, axis=2))
        if Pre is not None:
            value *= tl.load(Pre + (there * T)[:, None] + terms[None, :],
                             mask=valid[:, None], other=0.0)  # fmt: skip
        if Post is not None:
            value *= post
        total = tl.sum(value, axis=1)
        q = tl.load(Q + (there * C)[:, None] + classes[None, :],
                    mask=valid[:, None] & (classes < C)[None, :], other=0.0)  # fmt: skip
        acc += total[:, None] * q
    if Matrix is not None:
        # Class by class: a float32 product of whole tiles keeps both in registers, and spills.
        mixed = tl.zeros((TILE_H * TILE_W, BC), dtype=tl.float32)
        for c in tl.range(0, C):
            one = tl.sum(tl.where((classes == c)[None, :], acc, 0.0), axis=1)
            column = tl.load(Matrix + classes * C + c, mask=classes < C, other=0.0)
            mixed += one[:, None] * column[None, :]
        acc = mixed
    kept = real[:, None] & (classes < C)[None, :]
    at = (pixel * C)[:, None] + classes[None, :]
    if Anchor is not None:
        acc += tl.load(Anchor + at, mask=kept, other=0.0)
    if EPILOGUE > 0:
        acc = tl.where((classes < C)[None, :], acc, float("-inf"))
        acc = acc - tl.max(acc, axis=1)[:, None]
        norm = tl.sum(tl.exp(acc), axis=1)[:, None]
        acc = tl.exp(acc) / norm if EPILOGUE == 1 else acc - tl.log(norm)
    tl.store(Out + at, acc, mask=kept)


@dataclass(frozen=True)
class WindowConfig:
    """How the map is cut: height and width of a tile of pixels, warps of a program."""

    height: int
    width: int
    warps: int


CONFIGS: dict[str, WindowConfig] = {
    "t8x8w4": WindowConfig(8, 8, 4),
    "t8x16w8": WindowConfig(8, 16, 8),
    "t4x8w4": WindowConfig(4, 8, 4),
    "t4x4w2": WindowConfig(4, 4, 2),
}
"""Tiles that may be launched."""

MOST_FEATURES = 64
"""Terms times the length of the longest feature vector, both rounded up to powers of two."""


def default_config(classes: int) -> str:
    """A tile for so many classes; what the table of measurements overrules."""
    return "t8x8w4" if classes <= 32 else "t4x8w4" if classes <= 64 else "t4x4w2"


def packed(features: Sequence[Tensor]) -> Tensor:
    """Features [N, d, h, w] of each term as one map [N, T * D, h, w], zeros where one is shorter.

    T and D are the number of terms and the longest d, rounded up to powers of two. Zeros on both
    sides add nothing to a distance; a term of zeros only is one that `post` must leave out.
    """
    n, _, h, w = features[0].shape
    terms = triton.next_power_of_2(len(features))
    longest = triton.next_power_of_2(max(f.shape[1] for f in features))
    wide = channels_last(n, terms * longest, h, w, features[0]).zero_()
    for place, f in enumerate(features):
        wide[:, place * longest : place * longest + f.shape[1]] = f
    return wide


def reference(
    q: Tensor, anchor: Tensor | None, feature: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, terms: int, window: int, own: bool, epilogue: str,
) -> Tensor:  # fmt: skip
    """The same in plain torch, in the dtype of the operands: one shift after the other."""
    (n, _, h, w), radius = q.shape, window // 2
    f = feature.reshape(n, terms, -1, h, w)
    total = torch.zeros_like(q)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if abs(dy) >= h or abs(dx) >= w or (dy == dx == 0 and not own):
                continue
            here = (..., slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
            there = (..., slice(max(0, dy), h + min(0, dy)), slice(max(0, dx), w + min(0, dx)))
            value = (-0.5 * (f[here] - f[there]).square().sum(2)).exp()
            value = value if pre is None else value * pre[there]
            value = value if post is None else value * post[here]
            total[here] += value.sum(1, keepdim=True) * q[there]
    total = total if matrix is None else torch.einsum("ab,nbhw->nahw", matrix, total)
    x = total if anchor is None else anchor + total
    if epilogue != "logits":
        x = (torch.softmax if epilogue == "proba" else torch.log_softmax)(x, 1)
    return x.contiguous(memory_format=torch.channels_last)


def fallback_reason(classes: int, features: int, pixels: int, *, matrix: bool) -> str:
    """Why the kernel cannot take such a field, or "" where it can.

    Args:
        classes: C.
        features: T * D of the packed map.
        pixels: N * h * w.
        matrix: whether there is a matrix over the classes.
    """
    if classes > MOST_CLASSES:
        return f"no template: {classes} classes; the most is {MOST_CLASSES}"
    if matrix and classes > MOST_MIXED:
        return f"no template: a matrix of {classes} classes; the most is {MOST_MIXED}"
    if features > MOST_FEATURES:
        return f"no template: {features} features; the most is {MOST_FEATURES}"
    if pixels * max(classes, features) >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def check_shapes(
    q: Tensor, anchor: Tensor | None, feature: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, terms: int, window: int, epilogue: str,
) -> None:  # fmt: skip
    """Refuse operands that do not go together.

    Raises:
        ValueError: sizes that differ, a number of features that is not `terms` times a power of
            two, terms that are no power of two, an even window, an unknown epilogue.
    """
    n, c, h, w = q.shape
    for what, map_, channels in (
        ("anchor", anchor, c), ("feature", feature, feature.shape[1]),
        ("pre", pre, terms), ("post", post, terms),
    ):  # fmt: skip
        if map_ is not None and map_.shape != (n, channels, h, w):
            raise ValueError(f"`{what}` is {tuple(map_.shape)}, not {(n, channels, h, w)}")
    if matrix is not None and matrix.shape != (c, c):
        raise ValueError(f"the matrix is {tuple(matrix.shape)}, not {(c, c)}")
    each, rest = divmod(feature.shape[1], terms)
    if rest or any(size & (size - 1) for size in (terms, each)) or not each:
        raise ValueError(f"{feature.shape[1]} features of {terms} terms: pack them")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the window is odd, not {window}")
    if epilogue not in EPILOGUES:
        raise ValueError(f"the epilogue is one of {', '.join(EPILOGUES)}, not {epilogue!r}")


def launch(
    q: Tensor, anchor: Tensor | None, feature: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, terms: int, window: int, own: bool, epilogue: str,
    *, config: WindowConfig,
) -> Tensor:  # fmt: skip
    """Run the kernel. All maps are float32 and channels last without gaps.

    Args:
        q: [N, C, h, w]: what is filtered.
        anchor: [N, C, h, w] that is added to the message, or None.
        feature: [N, T * D, h, w], as `packed` makes it.
        pre: [N, T, h, w]: factors of each term at the sender, or None.
        post: the same at the receiver, times the weight of the term.
        matrix: [C, C] over the sum of the terms, or None.
        terms: T.
        window: the side of the window, odd.
        own: whether a pixel sends a message to itself.
        epilogue: "logits", "proba" or "log_proba".
        config: the tile.

    Raises:
        TypeError: an operand that is not float32.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    check_shapes(q, anchor, feature, pre, post, matrix, terms, window, epilogue)
    given = [map_ for map_ in (q, anchor, feature, pre, post) if map_ is not None]
    for map_ in given if matrix is None else [*given, matrix]:
        if map_.dtype != torch.float32:
            raise TypeError(f"the window kernel takes float32, not {map_.dtype}")
    n, c, h, w = q.shape
    reason = fallback_reason(c, feature.shape[1], n * h * w, matrix=matrix is not None)
    if reason or not fits_int32(*given):
        raise ValueError(reason or "no template: more than 2^30 elements")
    for map_ in given:
        if not map_.is_contiguous(memory_format=torch.channels_last):
            raise ValueError(f"a map must be channels last: strides {tuple(map_.stride())}")
    out = channels_last(n, c, h, w, q)
    grid = (triton.cdiv(h, config.height) * triton.cdiv(w, config.width), n)
    window_kernel[grid](
        q, anchor, feature, pre, post, None if matrix is None else matrix.contiguous(), out, h, w,
        **constants(c, terms, feature.shape[1] // terms, window, own, epilogue, config),
        num_warps=config.warps,
    )  # fmt: skip
    return out


def constants(
    classes: int, terms: int, each: int, window: int, own: bool, epilogue: str,
    config: WindowConfig,
) -> dict[str, int | bool]:  # fmt: skip
    """The constexpr parameters of the kernel."""
    return {
        "C": classes, "T": terms, "D": each, "K": window, "OWN": own,
        "EPILOGUE": EPILOGUES[epilogue], "TILE_H": config.height, "TILE_W": config.width,
        "BC": triton.next_power_of_2(classes),
    }  # fmt: skip


@torch.library.custom_op(f"{NAMESPACE}::window_filter", mutates_args=())
def window_filter(
    q: Tensor, anchor: Tensor | None, feature: Tensor, pre: Tensor | None, post: Tensor | None,
    matrix: Tensor | None, terms: int, window: int, own: bool, epilogue: str, config: str,
) -> Tensor:  # fmt: skip
    """One iteration by the kernel with a tile of CONFIGS, or, if `config` is "", in plain torch."""
    check_shapes(q, anchor, feature, pre, post, matrix, terms, window, epilogue)
    rest = (q, anchor, feature, pre, post, matrix, terms, window, own, epilogue)
    return launch(*rest, config=CONFIGS[config]) if config else reference(*rest)


@window_filter.register_fake
def _(q, *rest):
    return torch.empty_like(q, memory_format=torch.channels_last)


def key(logits: Tensor, terms: int, each: int, window: int, *, matrix: bool, blur: int = 1) -> str:
    """What a measurement is filed under."""
    size = "x".join(map(str, logits.shape))
    tail = (f", blur {blur}" if blur > 1 else "") + (" matrix" if matrix else "")
    return f"window_filter float32 {size} {terms}x{each} features, window {window}{tail}"
