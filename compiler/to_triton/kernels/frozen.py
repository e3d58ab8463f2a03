"""What the modules of fused regions are made of: no training mode, arrays under published paths."""

from __future__ import annotations

import torch
from torch import nn

Pair = int | tuple[int, int]


def pair(value: Pair) -> list[int]:
    """One number for both axes, or two."""
    return [value, value] if isinstance(value, int) else list(value)


class Frozen(nn.Module):
    """A module for inference: its weights take no gradient and it has no training mode."""

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode.

        Raises:
            RuntimeError: `mode` is true.
        """
        if mode:
            raise RuntimeError(
                "a network of the triton target is for inference: train the torch target, which "
                "has the same parameter names before batch norms are folded"
            )
        return super().train(False)


class Arrays(nn.Module):
    """The weight and the bias of a convolution."""

    def __init__(self, shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(shape[0]), requires_grad=False) if bias else None


def put(module: nn.Module, name: str, leaf: nn.Module | nn.Parameter) -> None:
    """Register a module or a parameter below others, which are made where they are missing."""
    *levels, last = name.split(".")
    for level in levels:
        if level not in dict(module.named_children()):
            module.add_module(level, nn.Module())
        module = module.get_submodule(level)
    setattr(module, last, leaf)
