"""Mean fields by whole kernel matrices in float64, from the equations; autograd gives gradients.

Nothing is shared with `compiler.crf` but the data class of a term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compiler.crf.features import Term

Kernel = Callable[[Tensor, int, int], Tensor]
"""Features [P, d] of an image of h x w to K [P, P]."""


def exact_kernel(own: bool) -> Kernel:
    """All pairs; the diagonal is 0 unless `own`."""

    def kernel(f: Tensor, h: int, w: int) -> Tensor:
        k = torch.exp(-0.5 * (f[:, None] - f[None]).pow(2).sum(2))
        return k if own else k * (1 - torch.eye(len(k), dtype=k.dtype))

    return kernel


def window_kernel(window: int, blur: int, own: bool) -> Kernel:
    """Pairs within the window, on a grid of means over blur x blur pixels."""

    def kernel(f: Tensor, h: int, w: int) -> Tensor:
        pool = torch.kron(pooling(h, blur), pooling(w, blur))
        rows, columns = pooling(h, blur).shape[0], pooling(w, blur).shape[0]
        y, x = np.divmod(np.arange(rows * columns), columns)
        near = np.maximum(abs(y[:, None] - y), abs(x[:, None] - x)) <= window // 2
        inner = exact_kernel(own)(pool @ f, rows, columns) * torch.tensor(near)
        if blur == 1:
            return inner
        return torch.kron(enlarging(h, blur), enlarging(w, blur)) @ inner @ pool

    return kernel


def offset(size: int, blur: int) -> int:
    return -(-(-size % blur) // 2)


def pooling(size: int, blur: int) -> Tensor:
    """[cells, size]: means over runs of `blur`; the first run begins before the edge."""
    cells = -(-size // blur)
    table = torch.zeros(cells, size, dtype=torch.float64)
    for cell in range(cells):
        start = cell * blur - offset(size, blur)
        inside = [i for i in range(start, start + blur) if 0 <= i < size]
        table[cell, inside] = 1 / len(inside)
    return table


def enlarging(size: int, blur: int) -> Tensor:
    """[size, cells]: linear interpolation between the centres of the cells."""
    cells = -(-size // blur)
    table = torch.zeros(size, cells, dtype=torch.float64)
    for pixel in range(size):
        place = max((pixel + offset(size, blur) + 0.5) / blur - 0.5, 0.0)
        low = min(int(place), cells - 1)
        high = min(low + 1, cells - 1)
        table[pixel, low] += 1 - (place - low)
        table[pixel, high] += place - low
    return table


def lattice_kernel(f: Tensor, h: int, w: int) -> Tensor:
    """The permutohedral lattice one pixel at a time, vertices in a dictionary (Adams et al.)."""
    points, d = f.shape
    vertices: dict[tuple[int, ...], int] = {}
    entries = []
    for p, point in enumerate(f.numpy()):
        for key, weight in corners([float(v) for v in point], d):
            entries.append((vertices.setdefault(key, len(vertices)), p, weight))
    splat = torch.zeros(len(vertices), points, dtype=torch.float64)
    for vertex, p, weight in entries:
        splat[vertex, p] += weight
    values = splat
    for axis in range(d + 1):
        blurred = values.clone()
        for key, vertex in vertices.items():
            for sign in (-1, 1):
                other = [k + sign for k in key]
                if axis < d:
                    other[axis] = key[axis] - sign * d
                if tuple(other) in vertices:
                    blurred[vertex] += 0.5 * values[vertices[tuple(other)]]
        values = blurred
    return splat.T @ values / (1 + 2.0**-d)


def corners(point: list[float], d: int) -> list[tuple[tuple[int, ...], float]]:
    """The vertices around one point with their barycentric weights."""
    c = [v * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i, v in enumerate(point)]
    e, total = [0.0] * (d + 1), 0.0
    for j in range(d, 0, -1):
        e[j] = total - j * c[j - 1]
        total += c[j - 1]
    e[0] = total
    cell = [round(v / (d + 1)) for v in e]
    order = sorted(range(d + 1), key=lambda i: -(e[i] - cell[i] * (d + 1)))
    rank = [order.index(i) + sum(cell) for i in range(d + 1)]
    turn = [(r < 0) - (r > d) for r in rank]
    rank = [r + t * (d + 1) for r, t in zip(rank, turn, strict=True)]
    rest = [(k + t) * (d + 1) for k, t in zip(cell, turn, strict=True)]
    b = [0.0] * (d + 2)
    for i in range(d + 1):
        b[d - rank[i]] += (e[i] - rest[i]) / (d + 1)
        b[d - rank[i] + 1] -= (e[i] - rest[i]) / (d + 1)
    b[0] += 1 + b[d + 1]
    found = []
    for k in range(d + 1):
        key = tuple(rest[i] + (k if rank[i] <= d - k else k - d - 1) for i in range(d))
        found.append((key, b[k]))
    return found


def feature_rows(term: Term, image: int, h: int, w: int) -> Tensor:
    """The features [P, d] of one image."""
    y, x = np.divmod(np.arange(h * w), w)
    columns = []
    if term.sxy is not None:
        sxy = torch.as_tensor(term.sxy, dtype=torch.float64).expand(2)
        columns += [torch.tensor(x) / sxy[0], torch.tensor(y) / sxy[1]]
    if term.guide is not None:
        guide = term.guide[image].double().reshape(term.guide.shape[1], -1)
        sigma = torch.as_tensor(term.sigma, dtype=torch.float64).expand(len(guide))
        columns += [row / s for row, s in zip(guide, sigma, strict=True)]
    return torch.stack(columns, 1)


def normalised(k: Tensor, norm: str) -> Tensor:
    n = k.sum(1) + 1e-20
    if norm == "symmetric":
        return k / n[:, None].sqrt() / n.sqrt()
    return {
        "none": k,
        "mean": k / (k.sum(1).mean() + 1e-20),
        "before": k / n,
        "after": k / n[:, None],
    }[norm]


def as_matrix(weights: Any, classes: int) -> Tensor:
    """A number, a vector or a matrix as a matrix."""
    table = torch.as_tensor(weights, dtype=torch.float64)
    if table.dim() == 2:
        return table
    return torch.diag(table.expand(classes))


def dense_field(
    scores: Tensor,
    terms: Sequence[Term],
    kernel: Kernel,
    *,
    iterations: int,
    mix: Any = None,
    unary_weight: Any = 1.0,
    given: str = "logits",
    start: str = "softmax",
    returns: str = "proba",
) -> Tensor:
    """What `compiler.crf.mean_field` is to give, image by image."""
    _, c, h, w = scores.shape
    found = []
    for image, own in enumerate(scores.double()):
        u = own.reshape(c, -1)
        u = {"logits": lambda v: v, "energy": lambda v: -v, "proba": lambda v: v.clamp(1e-5).log()}[
            given
        ](u)
        pairs = [
            (normalised(kernel(feature_rows(term, image, h, w), h, w), term.norm), term)
            for term in terms
        ]
        over = torch.eye(c, dtype=torch.float64) if mix is None else as_matrix(mix, c)
        q, x = torch.softmax(u, 0), u
        if start == "log_softmax":
            q = torch.log_softmax(u, 0)
        for _ in range(iterations):
            pull, push = torch.zeros_like(u), torch.zeros_like(u)
            for k, term in pairs:
                message = as_matrix(term.weights, c) @ (q @ k.T)
                pull, push = (pull + message, push) if term.attracts else (pull, push + message)
            x = as_matrix(unary_weight, c) @ u + over @ pull - push
            q = torch.softmax(x, 0)
        last = {"proba": torch.softmax, "log_proba": torch.log_softmax}.get(returns)
        found.append((x if last is None else last(x, 0)).reshape(c, h, w))
    return torch.stack(found)
