"""Normalisation: by running statistics, over channels, over groups, by neighbouring channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import ClassVar, Literal

from segdsl.ops.base import Op, RuleError, operator
from segdsl.ops.operands import float_channels, float_map, split_channels
from segdsl.ops.window import MAX_CHANNELS, check_range
from segdsl.taps import Sliding, Taps
from segdsl.types import ONES, POINTWISE, ZEROS, Axis, Feature, Initialiser, Param, Window


def _check_eps(eps: float) -> None:
    if not (isfinite(eps) and eps >= 0):
        raise RuleError(f"`eps` must be at least 0, got {eps}", code="E2005", blame="eps")


def _affine(
    channels: int, op: BatchNorm | LayerNorm | GroupNorm, learned: bool = True
) -> dict[str, Param]:
    shape = (channels,)
    return {
        "weight": Param(shape, op.init, learned, op.train),
        "bias": Param(shape, op.bias_init, learned, op.train),
    }


@operator
@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalisation: `x -> bn @bn1`.

    As torch's BatchNorm2d: running mean and variance outside of training. Frozen as torchvision's
    FrozenBatchNorm2d: four buffers, no counter, never updated.

    Attributes:
        eps: added to the variance.
        momentum: the weight of a new batch in the running statistics.
        affine: whether there is a learned factor and offset per channel.
        frozen: whether the statistics and the affine pair are fixed buffers.
        init: how the factor starts.
        bias_init: how the offset starts.
        train: false freezes the affine pair; it still counts as parameters.
    """

    name: ClassVar[str] = "bn"

    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    frozen: bool = False
    init: Initialiser = ONES
    bias_init: Initialiser = ZEROS
    train: bool = True

    def __post_init__(self) -> None:
        _check_eps(self.eps)
        if not 0 <= self.momentum <= 1:
            message = f"`momentum` must lie in 0..1, got {self.momentum}"
            raise RuleError(message, code="E2005", blame="momentum")
        if self.frozen and not self.affine:
            message = "a frozen bn has its affine pair as buffers: `affine=false` contradicts it"
            raise RuleError(message, code="E2017", blame=("affine", "frozen"))
        if self.frozen and self.momentum != 0.1:
            message = "`momentum` has no effect: a frozen bn never updates its statistics"
            raise RuleError(message, code="E2017", blame=("momentum", "frozen"))

    def infer(self, *inputs: Feature) -> Feature:
        return float_map(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        shape = (inputs[0].channels,)
        statistics = {
            "running_mean": Param(shape, ZEROS, learned=False),
            "running_var": Param(shape, ONES, learned=False),
        }
        if not self.frozen:
            statistics["num_batches_tracked"] = Param((), ZEROS, learned=False, dtype="i64")
        affine = _affine(shape[0], self, learned=not self.frozen) if self.affine else {}
        return affine | statistics


@operator
@dataclass(frozen=True)
class LayerNorm(Op):
    """Normalises the channels at each position: `x -> layer_norm(eps=1e-6) @norm1.0`.

    As torch's LayerNorm over the channel axis (axis 1), whatever the rank.

    Attributes:
        axis: the axis that is normalised; `channels` is the only one.
        eps: added to the variance.
        init: how the factor starts.
        bias_init: how the offset starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "layer_norm"

    _: KW_ONLY
    axis: Literal["channels"] = "channels"
    eps: float = 1e-5
    init: Initialiser = ONES
    bias_init: Initialiser = ZEROS
    train: bool = True

    def __post_init__(self) -> None:
        _check_eps(self.eps)

    def infer(self, *inputs: Feature) -> Feature:
        return float_channels(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return _affine(inputs[0].channels, self)


@operator
@dataclass(frozen=True)
class GroupNorm(Op):
    """Normalises groups of channels over the whole map: `x -> group_norm(32) @gn`.

    As torch's GroupNorm: statistics are global at inference too, which breaks tiling.

    Attributes:
        groups: the number of groups; 1 normalises everything together.
        eps: added to the variance.
        init: how the factor starts.
        bias_init: how the offset starts.
        train: false freezes the arrays; they still count as parameters.
    """

    name: ClassVar[str] = "group_norm"

    groups: int
    _: KW_ONLY
    eps: float = 1e-5
    init: Initialiser = ONES
    bias_init: Initialiser = ZEROS
    train: bool = True

    def __post_init__(self) -> None:
        _check_eps(self.eps)
        check_range("groups", self.groups, 1, MAX_CHANNELS)

    def infer(self, *inputs: Feature) -> Feature:
        x = float_map(inputs[0])
        split_channels(x.channels, self.groups)
        return x

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        return Sliding(window=POINTWISE, also="stat")

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        return _affine(inputs[0].channels, self)


@operator
@dataclass(frozen=True)
class Lrn(Op):
    """Local response normalisation across channels: `x -> lrn(5, k=2.0)`.

    x / (k + alpha * mean of squares over `size` channels)^beta, as torch's LocalResponseNorm, which
    divides `alpha` by `size` (Krizhevsky et al. 2012 do not).

    Attributes:
        size: neighbouring channels, the channel itself included.
        alpha: the factor of the mean square.
        beta: the exponent.
        k: the constant added.
    """

    name: ClassVar[str] = "lrn"

    size: int
    _: KW_ONLY
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        check_range("size", self.size, 1, MAX_CHANNELS)
        for field in ("alpha", "beta", "k"):
            value = getattr(self, field)
            if not isfinite(value):
                raise RuleError(f"`{field}` must be finite, got {value}", code="E2005", blame=field)

    def infer(self, *inputs: Feature) -> Feature:
        return float_map(inputs[0])

    def window(self, axis: Axis) -> Window:
        return POINTWISE
