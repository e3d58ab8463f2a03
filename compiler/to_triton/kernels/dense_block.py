"""A dense block without its concatenations: every layer adds channels to one buffer.

    maps = [x]
    for each layer:
        maps += [conv(before(concat(maps) * scale + shift)) + bias]
    y = concat(maps), or concat(maps[1:])

A layer reads the first channels of the buffer and writes the next ones (kernel `pre_conv`), so each
map is written once, where the block's result wants it. If the result leaves `x` out, `x` is read
where it lies. The padding keeps the size, and the stride is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import INTERPRETED, NAMESPACE, channels_last, fits_int32, refuse_dtypes
from .pre_conv import ALIGNED, CONFIGS, Geometry, PreConfig, default_config, normalised
from .pre_conv import launch as launch_layer
from .pre_conv import pack as pack_layer
from .router import accepts, chosen


@dataclass(frozen=True)
class Layers:
    """The arrays of the layers in order, one entry of each list for a layer.

    Attributes:
        weights: [K, C, k, k], of odd sizes.
        scales: [C], the factor of the norm; likewise `shifts`.
        biases: [K].
        packed: the weights as `pack` lays them.
        dilations: of the convolutions.
        keep: whether the result begins with the block's input.
        before: the activation behind the norms, a name of ACTIVATIONS; `slope` is its slope.
    """

    weights: list[Tensor]
    scales: list[Tensor]
    shifts: list[Tensor]
    biases: list[Tensor]
    packed: list[Tensor]
    dilations: list[int]
    keep: bool
    before: str
    slope: float

    @property
    def widths(self) -> list[int]:
        """The channels that each layer adds."""
        return [weight.shape[0] for weight in self.weights]

    def call(self, i: int) -> Geometry:
        """The geometry of a layer."""
        weight, rate = self.weights[i], self.dilations[i]
        kernel = list(weight.shape[2:])
        padding = [rate * (size // 2) for size in kernel]
        rest = ([1, 1], padding, [rate, rate], self.before, self.slope)
        return Geometry(weight.shape[0], kernel, *rest)

    def total(self, channels: int) -> int:
        """The channels of the result, for an input of so many."""
        return sum(self.widths) + (channels if self.keep else 0)


def pack(weights: list[Tensor], channels: int, *, keep: bool) -> list[Tensor]:
    """The weights as the kernel reads them; the input of the block has so many channels."""
    found = []
    for weight in weights:
        behind = weight.shape[1] - channels
        apart = [channels, behind] if behind and not keep else [weight.shape[1]]
        found.append(pack_layer(weight, apart))
    return found


def reference(maps: list[Tensor], layers: Layers) -> Tensor:
    """The same in plain torch, in the dtype of the operands, with its concatenations."""
    found = list(maps)
    for i, (scale, shift) in enumerate(zip(layers.scales, layers.shifts, strict=True)):
        x = found[0] if len(found) == 1 else torch.cat(found, 1)
        call = layers.call(i)
        z = normalised(x, scale, shift, layers.before, layers.slope)
        rest = (call.stride, call.padding, call.dilation)
        found.append(F.conv2d(z, layers.weights[i], layers.biases[i].to(x.dtype), *rest))
    y = torch.cat(found if layers.keep else found[len(maps) :], 1)
    return y.contiguous(memory_format=torch.channels_last)


def fallback_reason(maps: list[Tensor], layers: Layers) -> str:
    """Why the kernel cannot take a block, or "" where it can."""
    channels = sum(x.shape[1] for x in maps)
    total = layers.total(channels)
    for count in [total] if layers.keep else [total, channels]:
        if count % ALIGNED:
            return f"no template: {count} channels of a buffer do not divide by {ALIGNED}"
    try:
        refuse_dtypes(*maps, *layers.weights)
    except TypeError as error:
        return str(error)
    n, _, h, w = maps[0].shape
    if not fits_int32(*maps, *layers.packed) or n * total * h * w >= 2**30:
        return "no template: more than 2^30 elements"
    return ""


def launch(maps: list[Tensor], layers: Layers, *, config: PreConfig) -> Tensor:
    """Run the block, one launch per layer.

    Args:
        maps: the input, [N, C, H, W] and channels last, as one map or as several beside each other.
        layers: their arrays.
        config: the tile of every layer.

    Returns:
        The maps of the result beside each other, channels last.

    Raises:
        TypeError: a dtype that no kernel takes.
        ValueError: operands that do not go together, or that `fallback_reason` names.
    """
    _check(maps, layers)
    reason = fallback_reason(maps, layers)
    if reason:
        raise ValueError(reason)
    n, _, h, w = maps[0].shape
    channels = sum(x.shape[1] for x in maps)
    buffer = channels_last(n, layers.total(channels), h, w, maps[0])
    kept = channels if layers.keep else 0
    if layers.keep:
        parts = buffer[:, :channels].split([x.shape[1] for x in maps], 1)
        for part, x in zip(parts, maps, strict=True):
            part.copy_(x)
    else:
        apart = maps[0] if len(maps) == 1 else torch.cat(maps, 1)
        apart = apart.contiguous(memory_format=torch.channels_last)
    ends = list(accumulate(layers.widths, initial=kept))
    for i, (start, stop) in enumerate(pairwise(ends)):
        before = [buffer[:, :start]] if start else []
        launch_layer(
            before if layers.keep else [apart, *before], layers.scales[i], layers.shifts[i],
            layers.packed[i], layers.biases[i], layers.call(i), config=config,
            out=buffer[:, start:stop],
        )  # fmt: skip
    return buffer


def _check(maps: list[Tensor], layers: Layers) -> None:
    """Refuse operands whose sizes do not go together."""
    sizes = {(x.shape[0], *x.shape[2:]) for x in maps}
    if len(sizes) != 1:
        raise ValueError(f"the maps of a block have one size, not {sorted(sizes)}")
    channels = sum(x.shape[1] for x in maps)
    for i, weight in enumerate(layers.weights):
        if weight.shape[1] != channels or not all(size % 2 for size in weight.shape[2:]):
            raise ValueError(f"the weight {i} is {tuple(weight.shape)}, the channels {channels}")
        channels += weight.shape[0]


def key(maps: list[Tensor], layers: Layers) -> str:
    """What a measurement is filed under: dtype, sizes and geometry, exactly."""
    n, _, h, w = maps[0].shape
    inputs = "+".join(str(x.shape[1]) for x in maps)
    calls = [layers.call(i) for i in range(len(layers.weights))]
    rows = [f"{c.out}:{c.kernel[0]}x{c.kernel[1]}d{c.dilation[0]}" for c in calls]
    runs = [f"{rows.count(row)}*{row}" for row in dict.fromkeys(rows)]
    if len(runs) > 1:  # of unlike layers the order counts
        runs = rows
    tail = "+keep" * layers.keep
    return f"dense_block {str(maps[0].dtype)[6:]} {n}x{inputs}x{h}x{w}->{','.join(runs)}{tail}"


@torch.library.custom_op(f"{NAMESPACE}::dense_block", mutates_args=())
def dense_block(
    maps: list[Tensor], weights: list[Tensor], scales: list[Tensor], shifts: list[Tensor],
    biases: list[Tensor], packed: list[Tensor], dilations: list[int], keep: bool, before: str,
    slope: float,
) -> Tensor:  # fmt: skip
    """A whole block: our kernel where the table says so, else the library's."""
    layers = Layers(weights, scales, shifts, biases, packed, dilations, keep, before, slope)
    name = None
    if (maps[0].is_cuda or INTERPRETED) and accepts("dense_block", fallback_reason(maps, layers)):
        name = chosen(key(maps, layers), default_config(max(layers.widths)))
    if name is None:
        return reference(maps, layers)
    return launch(maps, layers, config=CONFIGS[name])


@dense_block.register_fake
def _(maps, weights, scales, shifts, biases, packed, dilations, keep, before, slope):
    n, _, h, w = maps[0].shape
    total = sum(weight.shape[0] for weight in weights)
    total = total + sum(x.shape[1] for x in maps) if keep else total
    return channels_last(n, total, h, w, maps[0])
