"""The operators of fused graphs: each is one launch of a kernel, and stands for several nodes.

They exist between `compiler.to_triton.fuse` and the emitted module only; the language does not know
their names. Their weights are those of the convolution inside, under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from segdsl.ops.base import Op
from segdsl.ops.conv import Conv
from segdsl.ops.resize import Resize
from segdsl.taps import Sliding, Taps, Whole
from segdsl.types import POINTWISE, Axis, Feature, Param, Requirement


@dataclass(frozen=True)
class Activation:
    """An activation of an epilogue: its name in the kernels, and its slope where it has one."""

    name: str = "none"
    slope: float = 0.01


NO_ACTIVATION = Activation()


@dataclass(frozen=True)
class ConvBlock(Op):
    """`after(act(conv(x)) + residual)`: a convolution with its epilogue.

    Attributes:
        conv: the convolution; batch norms have been folded into it.
        act: the activation behind it.
        after: the activation behind the residual, which is operand 1 where there is one.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "conv_block"
    operands: ClassVar[tuple[str, ...]] = ("x", "residual")
    optional: ClassVar[int] = 1
    internal: ClassVar[bool] = True

    conv: Conv
    _: KW_ONLY
    act: Activation = NO_ACTIVATION
    after: Activation = NO_ACTIVATION
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.conv.infer(inputs[0])

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        return self.conv.requirements(inputs[0])

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if slot == 1:
            return Sliding(window=POINTWISE)
        return self.conv.taps(0, axis, inputs[0])

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return self.conv.params(inputs[0])

    def macs(self, *inputs: Feature) -> int:
        return self.conv.macs(inputs[0])


@dataclass(frozen=True)
class AsppBlock(Op):
    """An atrous spatial pyramid: branches beside each other, image pooling, a 1x1 over them all.

    Attributes:
        branches: the convolutions on the map.
        mixed: the 1x1 convolution over their results.
        rates: of the branches; 0 has a 1x1 kernel, any other one of 3x3.
        pool: the 1x1 convolution behind the image pooling, or None.
        place: which of the concatenated maps is the pooled one; -1 without.
        names: the paths of the arrays: of the concatenated maps in order, then of `mixed`.
        act: the activation of the branches; `pool_act` and `mixed_act` are those of the others.
        fused: the names of the operators in it, for the report.
    """

    name: ClassVar[str] = "aspp_block"
    internal: ClassVar[bool] = True

    branches: tuple[Conv, ...]
    mixed: Conv
    _: KW_ONLY
    rates: tuple[int, ...]
    pool: Conv | None
    place: int
    names: tuple[str, ...]
    act: Activation
    pool_act: Activation
    mixed_act: Activation
    fused: tuple[str, ...] = ()

    def infer(self, *inputs: Feature) -> Feature:
        return self.mixed.infer(self._joined(inputs[0]))

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        if self.pool is not None:
            return Whole()
        widest = max(self.branches, key=lambda conv: int(conv.dilation.height))
        return widest.taps(slot, axis, inputs[0])

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return {
            f"{name}.{tensor}": param
            for name, (conv, x) in zip(self.names, self._calls(inputs[0]), strict=True)
            for tensor, param in conv.params(x).items()
        }

    def macs(self, *inputs: Feature) -> int:
        return sum(conv.macs(x) for conv, x in self._calls(inputs[0]))

    def _joined(self, x: Feature) -> Feature:
        pooled = 0 if self.pool is None else self.pool.out
        return x.with_channels(pooled + sum(conv.out for conv in self.branches))

    def _calls(self, x: Feature) -> list[tuple[Conv, Feature]]:
        """The convolutions in the order of `names`, each with what it reads."""
        calls = [(conv, x) for conv in self.branches]
        if self.pool is not None:
            calls.insert(self.place, (self.pool, x.with_spatial(1, 1)))
        return [*calls, (self.mixed, self._joined(x))]


@dataclass(frozen=True)
class UpsampleArgmax(Op):
    """The class of every pixel of a map that is enlarged bilinearly: no full-size scores exist.

    Attributes:
        resize: the interpolation; its operands are those of this operator.
    """

    name: ClassVar[str] = "upsample_argmax"
    operands: ClassVar[tuple[str, ...]] = ("x", "like")
    optional: ClassVar[int] = 1
    sizes_only: ClassVar[frozenset[str]] = frozenset({"like"})
    internal: ClassVar[bool] = True

    resize: Resize

    def infer(self, *inputs: Feature) -> Feature:
        large = self.resize.infer(*inputs)
        return Feature((large.shape[0], 1, *large.shape[2:]), "i64")

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        return self.resize.requirements(*inputs)

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return self.resize.taps(slot, axis, *inputs)
