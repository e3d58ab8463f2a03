"""What each operator means in torch, written from torch's documentation: an oracle, not a backend.

Nothing here comes from `compiler`; the two are compared elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdsl.ops import activation as act
from segdsl.ops import combine as com
from segdsl.ops import conv as cnv
from segdsl.ops import deform as dfm
from segdsl.ops import elementwise as ele
from segdsl.ops import norm as nrm
from segdsl.ops import pool as pol
from segdsl.ops import regularise as reg
from segdsl.ops import resize as res
from segdsl.ops import tensor as ten
from segdsl.ops.base import Op
from segdsl.types import Feature, Pair
from tests.support import deform_reference

DIMS = {"batch": 0, "channels": 1, "height": 2, "width": 3}
MODES = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
}
SIMPLE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "hard_swish": F.hardswish,
    "hard_sigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "identity": lambda x: x,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


class FrozenBatchNorm(nn.Module):
    """torchvision's FrozenBatchNorm2d (torchvision/ops/misc.py): four buffers in this order."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, var = (b.view(1, -1, 1, 1) for b in self.buffers())
        return (x - mean) * (var + self.eps).rsqrt() * weight + bias


class LearnedScale(nn.Module):
    """A learned factor with the tensor's published name."""

    def __init__(self, channels: int | None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1 if channels is None else channels))


def module(op: Op, *inputs: Feature) -> nn.Module | None:
    """The torch module that holds the arrays of `op`; None if it has none."""
    channels = inputs[0].shape[1] if inputs and inputs[0].rank > 1 else 0
    assert isinstance(channels, int)
    match op:
        case cnv.Conv():
            return nn.Conv2d(
                channels, op.out, op.kernel, op.stride, 0, op.dilation, op.groups, op.bias
            )
        case cnv.ConvTranspose():
            return nn.ConvTranspose2d(
                channels, op.out, op.kernel, op.stride, 0, op.output_pad, op.groups, op.bias,
                op.dilation,
            )  # fmt: skip
        case dfm.DeformConv():
            return nn.Conv2d(channels, op.out, op.kernel, groups=op.groups, bias=op.bias)
        case cnv.Linear():
            return nn.Linear(channels, op.out, op.bias)
        case nrm.BatchNorm(frozen=True):
            return FrozenBatchNorm(channels, op.eps)
        case nrm.BatchNorm():
            return nn.BatchNorm2d(channels, op.eps, op.momentum, op.affine)
        case nrm.LayerNorm():
            return nn.LayerNorm(channels, op.eps)
        case nrm.GroupNorm():
            return nn.GroupNorm(op.groups, channels, op.eps)
        case ele.Scale():
            return LearnedScale(channels if op.per == "channel" else None)
        case _:
            return None


def positive(layer: nn.Module | None, seed: int, dtype: torch.dtype) -> nn.Module | None:
    """The module in inference mode with random weights above zero, which cannot cancel."""
    if layer is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    layer = layer.to(dtype).eval()
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=dtype) + 0.5)
    return layer


def run(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None = None) -> tuple[Tensor, ...]:
    """The results of `op` in torch; `layer` as `module` made it."""
    answer = _run(op, inputs, layer)
    return answer if isinstance(answer, tuple) else (answer,)


def _run(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None) -> Tensor | tuple[Tensor, ...]:
    x = inputs[0]
    if op.name in SIMPLE:
        return SIMPLE[op.name](x)
    if isinstance(op, ele.Arithmetic):
        return _arithmetic(op, inputs)
    for family in (deform_reference.run, _weighted, _pools, _plain, _combine, _tensor):
        answer = family(op, inputs, layer)
        if answer is not None:
            return answer
    raise NotImplementedError(op.name)


def _arithmetic(op: ele.Arithmetic, inputs: Sequence[Tensor]) -> Tensor:
    if op.number is None:
        return BINARY[op.name](*inputs)
    number = torch.tensor(op.number, dtype=inputs[0].dtype)
    return BINARY[op.name](*((number, inputs[0]) if op.number_first else (inputs[0], number)))


def _along_channels(layer: nn.Module, x: Tensor) -> Tensor:
    return _call(layer, x.movedim(1, -1)).movedim(-1, 1)


def _call(layer: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = layer(x)
    return result


def _weighted(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None) -> Tensor | None:
    x = inputs[0]
    if layer is None:
        return None
    match op:
        case cnv.Conv():
            top, left, bottom, right = op.sides
            return _call(layer, F.pad(x, (left, right, top, bottom)))
        case cnv.ConvTranspose():
            top, left, bottom, right = op.sides
            full = _call(layer, x)
            return full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
        case cnv.Linear() | nrm.LayerNorm():
            return _along_channels(layer, x)
        case ele.Scale():
            assert isinstance(layer, LearnedScale)
            return x * layer.scale.view(-1, *[1] * (x.dim() - 2))
        case _:
            return _call(layer, x)


def _pools(
    op: Op, inputs: Sequence[Tensor], layer: nn.Module | None
) -> Tensor | tuple[Tensor, ...] | None:
    x = inputs[0]
    match op:
        case pol.MaxPool():
            pad = (op.sides.top, op.sides.left)
            window = (op.kernel, op.step, pad, op.dilation, op.ceil)
            if op.indices:
                return F.max_pool2d(x, *window, return_indices=True)
            return F.max_pool2d(x, *window)
        case pol.AvgPool():
            pad = (op.sides.top, op.sides.left)
            return F.avg_pool2d(x, op.kernel, op.step, pad, op.ceil, op.count_include_pad)
        case pol.MaxUnpool():
            pad = (op.sides.top, op.sides.left)
            size = inputs[2].shape[2:] if len(inputs) == 3 else None
            return F.max_unpool2d(x, inputs[1], op.kernel, op.step, pad, size)
        case pol.AdaptiveAvgPool():
            return F.adaptive_avg_pool2d(x, op.bins)
        case pol.GlobalAvgPool():
            return x.mean((2, 3), keepdim=True)
        case _:
            return None


def _plain(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None) -> Tensor | None:
    x = inputs[0]
    match op:
        case act.LeakyRelu():
            return F.leaky_relu(x, op.slope)
        case act.Gelu():
            return F.gelu(x, approximate=op.approx or "none")
        case act.Softmax(axis="space"):
            return x.flatten(2).softmax(2).view_as(x)
        case act.Softmax():
            return x.softmax(_dim(op.axis))
        case act.LogSoftmax():
            return x.log_softmax(_dim(op.axis))
        case act.Argmax():
            return x.argmax(_dim(op.axis), keepdim=True)
        case nrm.Lrn():
            return F.local_response_norm(x, op.size, op.alpha, op.beta, op.k)
        case reg.Dropout() | reg.DropPath():
            return x
        case ele.PerChannel():
            return x.view(1, -1, 1, 1)
        case res.Resize():
            return _resize(op, inputs)
        case res.PixelShuffle():
            return F.pixel_shuffle(x, op.r)
        case res.PixelUnshuffle():
            return F.pixel_unshuffle(x, op.r)
        case _:
            return None


def _dim(axis: str | int) -> int:
    return DIMS[axis] if isinstance(axis, str) else axis


def _resize(op: res.Resize, inputs: Sequence[Tensor]) -> Tensor:
    smooth = op.mode in ("bilinear", "bicubic")
    size = inputs[1].shape[2:] if len(inputs) == 2 else op.to
    scale = op.scale if isinstance(op.scale, tuple | None) else (op.scale, op.scale)
    return F.interpolate(
        inputs[0],
        size=None if size is None else tuple(size),
        scale_factor=scale,
        mode=op.mode.replace("_", "-"),
        align_corners=op.align_corners if smooth else None,
        antialias=op.antialias,
    )


def _margins(target: Sequence[int], x: Tensor) -> tuple[int, int, int, int]:
    """F.pad's order, split evenly with the smaller half first."""
    rows, columns = target[0] - x.shape[2], target[1] - x.shape[3]
    top, left = rows // 2, columns // 2
    return left, columns - left, top, rows - top


def _combine(
    op: Op, inputs: Sequence[Tensor], layer: nn.Module | None
) -> Tensor | tuple[Tensor, ...] | None:
    x = inputs[0]
    match op:
        case com.Concat():
            return torch.cat(list(inputs), _dim(op.axis))
        case com.Split():
            if isinstance(op.parts, int):
                return x.chunk(op.parts, _dim(op.axis))
            return torch.split(x, list(op.parts), _dim(op.axis))
        case com.Slice():
            at = _dim(op.axis) % x.dim()
            return x[(slice(None),) * at + (slice(op.start, op.stop, op.step),)]
        case com.Crop():
            height, width = op.to or inputs[1].shape[2:]
            top, left = _offset(op, x, Pair(height, width))
            return x[:, :, top : top + height, left : left + width]
        case com.Pad():
            if op.sides is not None:
                top, left, bottom, right = op.sides
                margins = (left, right, top, bottom)
            else:
                margins = _margins(inputs[1].shape[2:], x)
            value = {"value": op.value} if op.mode == "constant" else {}
            return F.pad(x, margins, MODES[op.mode], **value)
        case com.PadToMultiple():
            target = [-(-x.shape[2 + a] // op.m[a]) * op.m[a] for a in (0, 1)]
            return F.pad(x, _margins(target, x), MODES[op.mode])
        case _:
            return None


def _offset(op: com.Crop, x: Tensor, size: Pair) -> tuple[int, int]:
    if op.offset == "centre":
        return (x.shape[2] - size.height) // 2, (x.shape[3] - size.width) // 2
    assert isinstance(op.offset, tuple)
    return op.offset


def _tensor(op: Op, inputs: Sequence[Tensor], layer: nn.Module | None) -> Tensor | None:
    x = inputs[0]
    match op:
        case ten.Matmul():
            return x @ inputs[1]
        case ten.Reshape():
            shape = [x.shape[i] if size == 0 else size for i, size in enumerate(op.shape)]
            return x.reshape(shape + (list(inputs[1].shape[2:]) if len(inputs) == 2 else []))
        case ten.Permute():
            return x.permute(op.order)
        case ten.Flatten():
            return x.flatten(1) if op.axes is None else x.flatten(op.axes[0], op.axes[-1])
        case ten.Unfold():
            pad = (op.sides.top, op.sides.left)
            return F.unfold(x, op.kernel, op.dilation, pad, op.stride)
        case ten.Fold():
            pad = (op.sides.top, op.sides.left)
            size = op.to or inputs[1].shape[2:]
            return F.fold(x, tuple(size), op.kernel, op.dilation, pad, op.stride)
        case _:
            return None


def operands(
    op: Op, inputs: Sequence[Feature], seed: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Random operands of these shapes, between 0 and 1; indices as a max pool makes them."""
    generator = torch.Generator().manual_seed(seed)
    tensors = [_random(feature, generator, dtype) for feature in inputs]
    if isinstance(op, pol.MaxUnpool):
        out = op.infer(*inputs)
        pooled, places = F.max_pool2d(
            _random(out, generator, dtype),
            op.kernel,
            op.step,
            (op.sides.top, op.sides.left),
            ceil_mode=op.ceil and len(inputs) == 3,
            return_indices=True,
        )
        tensors[:2] = [pooled, places]
    return tensors


def _random(feature: Feature, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    shape = [int(size) for size in feature.shape]  # type: ignore[arg-type]
    if feature.dtype == "f32":
        return torch.rand(shape, generator=generator, dtype=dtype)
    kind = torch.uint8 if feature.dtype == "u8" else torch.int64
    return torch.randint(0, 9, shape, generator=generator).to(kind)
