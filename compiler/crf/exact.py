"""The kernel over all pairs of pixels, in tiles: quadratic time, bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

TILE = 512
"""Pixels in a row of kernel values; whole tiles of pairs are left out when all are far."""

PAIRS = 1 << 25
"""Kernel values held at a time."""


class ExactProduct(torch.autograd.Function):
    """K v with K_ij = exp(-|f_i - f_j|^2 / 2): f is [P, d], v is [P, C].

    K is symmetric, so that dv = K g and df_i = sum_j K_ij (g_i.v_j + v_i.g_j) (f_j - f_i).
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, v: Tensor, own: bool, tail: float) -> Tensor:
        ctx.save_for_backward(f, v)
        ctx.settings = own, tail
        out = torch.empty_like(v)
        for rows, columns, kernel in kernel_tiles(f, own, tail):
            out[rows] = kernel @ v[columns]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        f, v = ctx.saved_tensors
        dv, df = torch.empty_like(v), torch.zeros_like(f)
        for rows, columns, kernel in kernel_tiles(f, *ctx.settings):
            dv[rows] = kernel @ g[columns]
            if ctx.needs_input_grad[0]:
                kernel *= torch.addmm(g[rows] @ v[columns].T, v[rows], g[columns].T)
                # Both sides are taken from the tile's middle: f_j - f_i would cancel otherwise.
                middle = f[rows].mean(0)
                ahead = kernel @ (f[columns] - middle)
                df[rows] = ahead - kernel.sum(1, keepdim=True) * (f[rows] - middle)
        return (df if ctx.needs_input_grad[0] else None), dv, None, None


exact_product: Callable[..., Tensor] = ExactProduct.apply


def kernel_tiles(f: Tensor, own: bool, tail: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rows, columns, K[rows, columns]) until every pixel was in `rows` once.

    Args:
        f: [P, d].
        own: Whether K_ii is 1 or 0.
        tail: Pairs of a smaller K may be left out; 0 keeps all.
    """
    order = kd_order(f) if tail > 0 and len(f) > TILE else torch.arange(len(f), device=f.device)
    tiles = torch.split(order, max(1, min(TILE, PAIRS // len(f))))
    low = torch.stack([f[tile].amin(0) for tile in tiles])
    high = torch.stack([f[tile].amax(0) for tile in tiles])
    reach = -2 * math.log(tail) if tail > 0 else math.inf
    for number, rows in enumerate(tiles):
        gap = torch.maximum(low - high[number], low[number] - high).clamp_(min=0)
        near = (gap.square().sum(1) <= reach).nonzero().flatten().tolist()
        columns = torch.cat([rows, *(tiles[other] for other in near if other != number)])
        kernel = kernel_block(f[rows], f[columns])
        if not own:
            kernel[:, : len(rows)].fill_diagonal_(0)
        yield rows, columns, kernel


def kernel_block(rows: Tensor, columns: Tensor) -> Tensor:
    """exp(-|f_i - f_j|^2 / 2) of two sets of features."""
    middle = rows.mean(0)
    rows, columns = rows - middle, columns - middle
    if rows.dtype == torch.float64:
        distance = rows.new_zeros(len(rows), len(columns))
        for a, b in zip(rows.unbind(1), columns.unbind(1), strict=True):
            distance += (a[:, None] - b).square_()
        return distance.mul_(-0.5).exp_()
    squares = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
    distance = torch.addmm(squares, rows, columns.T, alpha=-2).clamp_(min=0)
    # Arithmetic below the normal numbers is slow, and no sum would see the difference.
    power = nn.functional.threshold(distance.mul_(-0.5), -80.0, -math.inf, inplace=True)
    return power.exp_()


def kd_order(f: Tensor) -> Tensor:
    """The pixels in an order whose runs of `TILE` are compact in feature space.

    Blocks are halved along their widest feature, all blocks of a level at once; the last pixel
    is repeated until the blocks are of equal size, and its copies are dropped at the end.
    """
    halvings = math.ceil(math.log2(len(f) / TILE))
    size = math.ceil(len(f) / 2**halvings) * 2**halvings
    order = torch.arange(size, device=f.device).clamp_(max=len(f) - 1)[None]
    for _ in range(halvings):
        block = f[order]
        widest = (block.amax(1) - block.amin(1)).argmax(1)
        values = block.gather(2, widest[:, None, None].expand(*order.shape, 1)).squeeze(2)
        order = order.gather(1, values.argsort(dim=1, stable=True)).reshape(2 * len(order), -1)
    order = order.flatten()
    first = torch.ones_like(order, dtype=torch.bool)
    copies = (order == len(f) - 1).nonzero().flatten()
    first[copies[1:]] = False
    return order[first]


def exact_filter(f: Tensor, v: Tensor, own: bool, tail: float) -> Tensor:
    """K v for each image: f is [N, d, P], v is [N, P, C]."""
    pairs = zip(f.transpose(1, 2).contiguous(), v, strict=True)
    return torch.stack([exact_product(a, b, own, tail) for a, b in pairs])


def separable_filter(f: Tensor, v: Tensor, own: bool) -> Tensor:
    """K v where the features are the place alone: two small products instead of all pairs.

    Args:
        f: [N, 2, h, w], as `features` of a Gaussian term: only its first row and column count.
        v: [N, h w, C].
        own: Whether K_ii is 1 or 0.
    """
    across, down = axis_kernel(f[0, 0, 0, :]), axis_kernel(f[0, 1, :, 0])
    grid = v.view(len(v), *f.shape[2:], -1)
    # One axis after the other: an einsum of all three would first multiply the two kernels.
    if own:
        columns = torch.einsum("yj,njkc->nykc", down, grid)
        out = torch.einsum("xk,nykc->nyxc", across, columns)
    else:
        # K - I without subtracting 1: small kernels would cancel.
        columns = torch.einsum("yj,njkc->nykc", hollow(down), grid)
        rest = torch.einsum("xk,nykc->nyxc", across, columns)
        out = rest + torch.einsum("xk,nykc->nyxc", hollow(across), grid)
    return out.flatten(1, 2)


def axis_kernel(place: Tensor) -> Tensor:
    """[n, n] kernel values between the places of one axis."""
    return (place[:, None] - place).square().mul(-0.5).exp()


def hollow(kernel: Tensor) -> Tensor:
    """The kernel without its diagonal."""
    return kernel * (1 - torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device))
