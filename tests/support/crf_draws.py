"""Random mean fields: every option alone and together, on images of a few pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compiler.crf.features import Term, bilateral, gaussian, pairwise

NORMS = ("symmetric", "before", "after", "mean", "none")


@dataclass
class Draw:
    """Arguments of `mean_field`, and the tensors of them that want gradients."""

    scores: Tensor
    terms: list[Term]
    options: dict[str, Any]
    learned: list[Tensor] = field(default_factory=list[Tensor])

    def __repr__(self) -> str:
        terms = [
            (t.norm, "compat" if t.attracts else "energy", np.shape(t.weights), t.sxy, t.sigma)
            for t in self.terms
        ]
        return f"{list(self.scores.shape)} {terms} {self.options}"


class Drawer:
    """Draws mean fields of one method from a seed."""

    def __init__(self, method: str, seed: int) -> None:
        self.method = method
        self.rng = np.random.default_rng([seed, *method.encode()])
        self.learned: list[Tensor] = []

    def one_of(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def tensor(self, *shape: int, scale: float = 1.0, low: float | None = None) -> Tensor:
        """A learned tensor, normal or above `low`."""
        noise = self.rng.normal(0, scale, shape)
        value = torch.tensor(noise if low is None else low + abs(noise), dtype=torch.float64)
        self.learned.append(value.requires_grad_())
        return value

    def weights(self, classes: int) -> Any:
        kind = self.one_of("number", "scalar", "vector", "matrix", "list")
        if kind == "number":
            return float(self.rng.normal())
        if kind == "list":
            return self.rng.normal(size=classes).tolist()
        shape = {"scalar": (), "vector": (classes,), "matrix": (classes, classes)}[kind]
        return self.tensor(*shape)

    def sigma(self, channels: int, low: float) -> Any:
        kind = self.one_of("number", "list", "learned")
        if kind == "number":
            return float(low + self.rng.exponential(low))
        if kind == "list" or self.method == "lattice":
            return [float(low + self.rng.exponential(low)) for _ in range(channels)]
        return self.tensor(*self.one_of((), (channels,)), low=low)

    def guide(self, n: int, h: int, w: int) -> Tensor:
        channels = int(self.rng.integers(1, 5))
        if self.one_of(True, False):
            return torch.tensor(self.rng.integers(0, 256, (n, channels, h, w)), dtype=torch.uint8)
        values = self.rng.normal(0, 60, (n, channels, h, w))
        guide = torch.tensor(values, dtype=torch.float64)
        if self.method != "lattice":
            self.learned.append(guide.requires_grad_())
        return guide

    def term(self, n: int, classes: int, h: int, w: int) -> Term:
        kind = self.one_of("gaussian", "bilateral", "pairwise")
        sign = self.one_of("compat", "energy")
        rest = {sign: self.weights(classes), "norm": self.one_of(*NORMS)}
        if kind == "gaussian":
            return gaussian(self.sigma(2, 0.7), **rest)
        guide = self.guide(n, h, w)
        if kind == "pairwise":
            return pairwise(guide, self.sigma(guide.shape[1], 30.0), **rest)
        return bilateral(guide, self.sigma(2, 1.5), self.sigma(guide.shape[1], 40.0), **rest)

    def draw(self) -> Draw:
        n, c = int(self.rng.integers(1, 3)), int(self.rng.integers(1, 5))
        h, w = int(self.rng.integers(1, 7)), int(self.rng.integers(1, 8))
        given = self.one_of("logits", "energy", "proba")
        scores = self.tensor(n, c, h, w, scale=1.5)
        if given == "proba":
            with torch.no_grad():
                scores.copy_(torch.softmax(scores, 1))
        options = {
            "iterations": int(self.rng.integers(0, 4)),
            "mix": self.one_of(None, self.tensor(c, c)),
            "unary_weight": self.one_of(1.0, 0.8, self.tensor(c, low=0.2)),
            "given": given,
            "start": self.one_of("softmax", "softmax", "log_softmax"),
            "returns": self.one_of("proba", "logits", "log_proba"),
        }
        terms = [self.term(n, c, h, w) for _ in range(self.rng.integers(0, 4))]
        return Draw(scores, terms, options, self.learned)
