"""Pooling and its undoing in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer, size
from segdsl.ops.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool, MaxUnpool
from segdsl.types import Feature


def _window(op: MaxPool | AvgPool | MaxUnpool) -> tuple[Arg, ...]:
    kernel, step = size(op.kernel), size(op.step)
    pad = op.sides
    padding = pad.top if pad.top == pad.left else (pad.top, pad.left)
    return (
        Arg(kernel, origin="kernel"),
        Arg(step, "stride", kernel, "stride"),
        Arg(padding, "padding", 0, "pad"),
    )


@layer.register
def max_pool(op: MaxPool, x: Feature) -> Layer:
    args = (
        *_window(op),
        Arg(size(op.dilation), "dilation", 1, "dilation"),
        Arg(op.ceil, "ceil_mode", False, "ceil"),
    )
    if op.indices:
        return Layer("F.max_pool2d({0}{args}, return_indices=True)", args)
    return Layer("F.max_pool2d({0}{args})", args, module=Make("nn.MaxPool2d", args))


@layer.register
def avg_pool(op: AvgPool, x: Feature) -> Layer:
    args = (
        *_window(op),
        Arg(op.ceil, "ceil_mode", False, "ceil"),
        Arg(op.count_include_pad, "count_include_pad", True, "count_include_pad"),
    )
    return Layer("F.avg_pool2d({0}{args})", args, module=Make("nn.AvgPool2d", args))


@layer.register
def max_unpool(op: MaxUnpool, x: Feature, indices: Feature, *like: Feature) -> Layer:
    shape = ", output_size={2}.shape[-2:]" if like else ""
    return Layer(f"F.max_unpool2d({{0}}, {{1}}{{args}}{shape})", _window(op))


@layer.register
def adaptive_avg_pool(op: AdaptiveAvgPool, x: Feature) -> Layer:
    bins = Arg(size(op.bins), origin="bins")
    module = Make("nn.AdaptiveAvgPool2d", (bins,))
    return Layer("F.adaptive_avg_pool2d({0}{args})", (bins,), module=module)


@layer.register
def global_avg_pool(op: GlobalAvgPool, x: Feature) -> Layer:
    bins = Arg(1)
    module = Make("nn.AdaptiveAvgPool2d", (bins,))
    return Layer("F.adaptive_avg_pool2d({0}{args})", (bins,), module=module)
