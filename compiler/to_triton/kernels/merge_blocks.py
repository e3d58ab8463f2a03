"""The module of a convolution over maps that are never put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import merge_conv
from .frozen import Frozen, Pair, pair


class MergedConvBlock(Frozen):
    """`after(act(conv(concat([first, second])) + bias) + residual)` in one launch, channels last.

    Args:
        first: channels of the first map.
        second: channels of the second map; 0 where there is none.
        out: channels of the result.
        kernel: its height and width; likewise `stride`, `padding`, `dilation`.
        fitted: which of the maps gets the size of the other, 0 or 1; None: neither.
        fit: how: "repeat" its pixels, or "pad" it by zeros.
        factors: by how much, for height and width, where no other map says it.
        bias: whether there is one.
        act: the activation behind the bias, by its name in torch.nn.functional.
        after: the one behind the residual.
        slope: of leaky_relu, the alpha of elu.
    """

    packed: Tensor
    folded: Tensor
    other: Tensor

    def __init__(
        self, first: int, second: int, out: int, kernel: Pair, stride: Pair = 1, padding: Pair = 0,
        dilation: Pair = 1, fitted: int | None = None, fit: str = "repeat",
        factors: tuple[int, int] = (1, 1), bias: bool = True, act: str = "none",
        after: str = "none", slope: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (out, first + second, *pair(kernel))
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out), requires_grad=False) if bias else None
        self.stride, self.padding, self.dilation = map(pair, (stride, padding, dilation))
        self.act, self.after, self.slope = act, after, slope
        self.fitted, self.fit, self.factors = fitted, fit, factors
        self.swapped = fitted == 1
        self.channels = second if self.swapped else first
        self.training = False
        for buffer in ("packed", "folded", "other"):
            self.register_buffer(buffer, torch.empty(0), persistent=False)
        self.register_load_state_dict_post_hook(_repack)

    def forward(
        self,
        first: Tensor,
        second: Tensor | None = None,
        residual: Tensor | None = None,
        size: tuple[int, int] | torch.Size | None = None,
    ) -> Tensor:
        """[N, C, h, w] each, and the residual [N, K, P, Q], to [N, K, P, Q].

        The fitted map gets the size of the other one; alone it gets `size`, or that of `factors`.
        """
        a, b = first, second
        if second is not None and self.swapped:
            a, b = second, first
        if size is None:
            size = b.shape[2:] if b is not None else self._grown(a)
        last = torch.channels_last
        done: Tensor = merge_conv.merge_conv(
            a.contiguous(memory_format=last),
            None if b is None else b.contiguous(memory_format=last),
            self.weight,
            [self.packed, self.folded, self.other],
            self.bias,
            None if residual is None else residual.contiguous(memory_format=last),
            list(size), self.stride, self.padding, self.dilation,
            self.act, self.after, self.slope, self.swapped, self.fit,
        )  # fmt: skip
        return done

    def _grown(self, x: Tensor) -> tuple[int, int]:
        return x.shape[2] * self.factors[0], x.shape[3] * self.factors[1]


def _repack(module: MergedConvBlock, _: Any) -> None:
    """The packed copies follow the weights, which then lie as the library likes them."""
    with torch.no_grad():
        module.weight.data = module.weight.contiguous(memory_format=torch.channels_last)
        unit = [module.stride, module.padding, module.dilation] == [[1, 1]] * 3
        folds = module.fitted is not None and module.fit == "repeat" and unit
        packed = merge_conv.pack(
            module.weight, module.channels, folded=folds, swapped=module.swapped
        )
        module.packed, module.folded, module.other = packed.a, packed.folded, packed.b
