"""Mean fields over windows by the kernel: its launches in an iteration, and when it is asked.

With `blur` messages are passed on a coarser grid: the kernel has the means of blocks of pixels, and
torch enlarges what it gives, since ConvCRF (arXiv:1805.04777) normalises at full size, before
pooling and behind the enlargement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from .common import channels_last
from .field import (
    Member,
    Step,
    grouped,
    has_matrix,
    inferred,
    lengths,
    takes,
)
from .field import scales as scales_of
from .router import accepts, chosen
from .window_filter import default_config, fallback_reason, key, packed, window_filter


@dataclass(frozen=True)
class Window:
    """What all launches of a field share: the window, and the tile."""

    window: int
    own: bool
    config: str
    blur: int = 1


Scales = tuple[Tensor | None, Tensor | None]
"""Factors [N, 1, h, w] at the sender and at the receiver."""


def scales(f: Tensor, norm: str, how: Window) -> Scales:
    """What to multiply with before and after; the row sums are by the same kernel."""
    if norm == "none":
        return None, None
    n, _, h, w = f.shape
    coarse = pooled_by(f, how.blur)
    ones = channels_last(n, 1, coarse.shape[2], coarse.shape[3], f).fill_(1.0)
    sums: Tensor = window_filter(
        ones, None, packed([coarse]), None, None, None, 1, how.window, how.own, "logits", how.config
    )
    found = scales_of(norm, enlarged(sums, (h, w), how.blur).flatten(1))
    before, after = (None if x is None else x.view(n, 1, h, w) for x in found)
    return before, after


def pooled_by(x: Tensor, blur: int) -> Tensor:
    """Means of blur x blur pixels; a border that is no whole block is split between both sides."""
    if blur == 1:
        return x
    margins = [margin(size, blur) for size in x.shape[2:]]
    return F.avg_pool2d(x, blur, padding=margins, count_include_pad=False)


def enlarged(x: Tensor, size: tuple[int, int], blur: int) -> Tensor:
    """Back from the coarser grid to [N, C, *size]."""
    if blur == 1:
        return x
    wide = F.interpolate(x, scale_factor=float(blur), mode="bilinear", align_corners=False)
    top, left = (margin(length, blur) for length in size)
    return wide[:, :, top : top + size[0], left : left + size[1]]


def margin(size: int, blur: int) -> int:
    """Half of what is missing to the next multiple of `blur`, rounded up."""
    return ((blur - size % blur) % blur + 1) // 2


def fine_step(
    features: Sequence[Tensor], sides: Sequence[Scales], weights: Sequence[float | Tensor],
    matrix: Tensor | None, how: Window,
) -> Callable[[Tensor, Tensor | None, str], Tensor]:  # fmt: skip
    """Terms with numbers as weights, and the matrix over their sum, in one launch."""
    feature, n, (h, w) = packed(features), len(features[0]), features[0].shape[2:]
    terms = triton.next_power_of_2(len(features))
    pre = channels_last(n, terms, h, w, feature).fill_(1.0)
    post = channels_last(n, terms, h, w, feature).zero_()
    for place, ((before, after), weight) in enumerate(zip(sides, weights, strict=True)):
        if before is not None:
            pre[:, place : place + 1] = before
        post[:, place : place + 1] = weight if after is None else after * weight
    sender = pre if any(before is not None for before, _ in sides) else None

    def step(q: Tensor, x: Tensor | None, epilogue: str) -> Tensor:
        done: Tensor = window_filter(
            q, x, feature, sender, post, matrix, terms, how.window, how.own, epilogue, how.config
        )
        return done

    return step


def coarse_step(
    features: Sequence[Tensor], sides: Scales, weights: Sequence[float | Tensor],
    matrix: Tensor | None, how: Window,
) -> Step:  # fmt: skip
    """The same on a coarser grid, for terms with the same factors at full size."""
    pre, post = sides
    maps = [pooled_by(f, how.blur) for f in features]
    inner = fine_step(maps, [(None, None)] * len(maps), weights, matrix, how)

    def step(q: Tensor, x: Tensor, epilogue: str) -> Tensor:
        sent = pooled_by(q if pre is None else q * pre, how.blur)
        message = inner(sent.contiguous(memory_format=torch.channels_last), None, "logits")
        message = enlarged(message, (q.shape[2], q.shape[3]), how.blur)
        x = x + (message if post is None else message * post)
        if epilogue != "logits":
            x = (torch.softmax if epilogue == "proba" else torch.log_softmax)(x, 1)
        return x.contiguous(memory_format=torch.channels_last)

    return step


def steps_of(terms: Sequence[Any], maps: Sequence[Tensor], mix: Any, like: Tensor,
             how: Window) -> list[Step]:  # fmt: skip
    """The launches of one iteration."""
    found: list[Step] = []
    for members, matrix in grouped(terms, mix, like):
        for some in [members] if how.blur == 1 else alike(members, terms):
            features = [maps[place] for place, _ in some]
            sides = [scales(maps[place], terms[place].norm, how) for place, _ in some]
            weights = [weight for _, weight in some]
            if how.blur == 1:
                found.append(fine_step(features, sides, weights, matrix, how))
            else:
                found.append(coarse_step(features, sides[0], weights, matrix, how))
    return found


def alike(members: Sequence[Member], terms: Sequence[Any]) -> list[list[Member]]:
    """Members without a norm together, and every other one alone."""
    plain = [member for member in members if terms[member[0]].norm == "none"]
    alone = [[member] for member in members if terms[member[0]].norm != "none"]
    return [plain, *alone] if plain else alone


Library = tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]
"""Of `compiler.crf`, or of the text of it in an emitted file: mean_field, unary_scores, features.
"""


def window_field(
    library: Library, logits: Tensor, terms: Sequence[Any], *, method: str = "window",
    iterations: int = 10, window: int = 7, blur: int = 1, include_self: bool = True,
    mix: Any = None, unary_weight: Any = 1.0, given: str = "logits", start: str = "softmax",
    returns: str = "proba",
) -> Tensor:  # fmt: skip
    """`mean_field(method=window)` without gradients: every iteration is one launch or a few.

    The arguments are those of `mean_field`, which computes the field where the router does not
    choose the kernel.

    Raises:
        ValueError: as `mean_field`.
    """
    mean_field, unary_scores, features = library
    if method != "window":
        raise ValueError(f"the window kernel is for method='window', not for {method!r}")
    settings = {"iterations": iterations, "unary_weight": unary_weight, "given": given,
                "start": start, "returns": returns}  # fmt: skip
    name = None
    if takes(logits, terms, iterations, mix, unary_weight):
        name = _route(logits, terms, window, blur, mix)
    if name is None:
        return mean_field(logits, terms, method=method, window=window, blur=blur,
                          include_self=include_self, mix=mix, **settings)  # fmt: skip
    how = Window(window, include_self, name, blur)

    def built(scores: Tensor) -> list[Step]:
        maps = [features(term, scores) for term in terms]
        return steps_of(terms, maps, mix, scores, how)

    return inferred(logits, unary_scores, built, **settings, packed=_packed, unpacked=_unpacked)


def _packed(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _unpacked(x: Tensor, like: Tensor) -> Tensor:
    return x.contiguous()


def _route(logits: Tensor, terms: Sequence[Any], window: int, blur: int, mix: Any) -> str | None:
    """The tile of the kernel; None where the library computes the field, or refuses it."""
    if window % 2 == 0 or (blur > 1 and blur % 2) or blur < 1:
        return None
    count, each = (
        triton.next_power_of_2(max(1, size)) for size in (len(terms), max(lengths(terms)))
    )
    matrix = has_matrix(terms, mix)
    n, c, h, w = logits.shape
    if not accepts("window_filter", fallback_reason(c, count * each, n * h * w, matrix=matrix)):
        return None
    found = key(logits, count, each, window, matrix=matrix, blur=blur)
    return chosen(found, default_config(c))
