"""Names and calls of PyTorch, Keras and Caffe, and what the language says instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Framework = Literal["PyTorch", "Keras", "Caffe"]
Argument = tuple[str | None, str]
"""An argument as it is written: its name, if it has one, and the text of its value."""


@dataclass(frozen=True)
class Foreign:
    """A call of another framework.

    Attributes:
        framework: whose it is.
        target: the operator here; one that is no name (`+`) stands between its operands.
        order: the arguments that may be unnamed there, in order; `*` is the map itself.
        needed: how many of them it must have there.
        adds: what its defaults there must say here, by our argument.
        note: what else is different.
        names: what its arguments are here, where that is not as everywhere.
    """

    framework: Framework
    target: str
    order: tuple[str, ...] = ()
    needed: int = 0
    adds: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str = ""
    names: Mapping[str, str] = field(default_factory=dict[str, str])


def _torch(target: str, order: str = "", needed: int = 0, note: str = "", **adds: str) -> Foreign:
    return Foreign("PyTorch", target, tuple(order.split()), needed, adds, note)


def _keras(target: str, order: str = "", needed: int = 0, note: str = "", **adds: str) -> Foreign:
    return Foreign("Keras", target, tuple(order.split()), needed, adds, note)


def _caffe(target: str, note: str = "", **adds: str) -> Foreign:
    return Foreign("Caffe", target, (), 0, adds, note)


_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_UP = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation "
    "padding_mode"
)
_MAX = "kernel_size stride padding dilation return_indices ceil_mode"
_MEAN = "kernel_size stride padding ceil_mode count_include_pad divisor_override"
_DEFORM = "in_channels out_channels kernel_size stride padding dilation groups bias"
_KERAS_CONV = (
    "filters kernel_size strides padding data_format dilation_rate groups activation use_bias"
)
_KERAS_UP = (
    "filters kernel_size strides padding output_padding data_format dilation_rate activation "
    "use_bias"
)
_KERAS_POOL = "pool_size strides padding data_format"
_NO_AXIS = "its normalised axes are those of the channels alone here"

CALLS: dict[str, Foreign] = {
    # PyTorch, modules
    "Conv2d": _torch("conv", _CONV, 3), "ConvTranspose2d": _torch("conv_transpose", _UP, 3),
    "LazyConv2d": _torch("conv", _CONV.removeprefix("in_channels "), 2),
    "BatchNorm2d": _torch("bn", "num_features eps momentum affine track_running_stats", 1),
    "SyncBatchNorm": _torch("bn", "num_features eps momentum affine track_running_stats", 1),
    "FrozenBatchNorm2d": _torch("bn", "num_features eps", 1, frozen="true"),
    "MaxPool2d": _torch("max_pool", _MAX, 1), "AvgPool2d": _torch("avg_pool", _MEAN, 1),
    "AdaptiveAvgPool2d": _torch("adaptive_avg_pool", "output_size", 1),
    "MaxUnpool2d": _torch("max_unpool", "kernel_size stride padding", 1),
    "Linear": _torch("linear", "in_features out_features bias", 2),
    "Dropout": _torch("dropout", "p inplace", p="0.5"),
    "Dropout2d": _torch("dropout", "p inplace", p="0.5", channels="true"),
    "DropPath": _torch("drop_path", "drop_prob scale_by_keep", 1),
    "StochasticDepth": _torch("drop_path", "p mode", 1),
    "Upsample": _torch("resize", "size scale_factor mode align_corners", mode="nearest"),
    "UpsamplingNearest2d": _torch("resize", "size scale_factor", mode="nearest"),
    "UpsamplingBilinear2d": _torch(
        "resize", "size scale_factor", mode="bilinear", align_corners="true"
    ),
    "PixelShuffle": _torch("pixel_shuffle", "upscale_factor", 1),
    "PixelUnshuffle": _torch("pixel_unshuffle", "downscale_factor", 1),
    "ReLU": _torch("relu", "inplace"), "ReLU6": _torch("relu6", "inplace"),
    "LeakyReLU": _torch("leaky_relu", "negative_slope inplace"),
    "GELU": _torch("gelu", "approximate"), "SiLU": _torch("silu", "inplace"),
    "Hardswish": _torch("hard_swish", "inplace"), "Hardsigmoid": _torch("hard_sigmoid", "inplace"),
    "Sigmoid": _torch("sigmoid"), "Tanh": _torch("tanh"), "Identity": _torch("identity"),
    "Softmax": _torch("softmax", "dim", 1), "LogSoftmax": _torch("log_softmax", "dim", 1),
    "Softmax2d": _torch("softmax", axis="channels"),
    "LayerNorm": _torch("layer_norm", "normalized_shape eps", 1, note=_NO_AXIS),
    "LayerNorm2d": _torch("layer_norm", "normalized_shape eps", 1),
    "GroupNorm": _torch("group_norm", "num_groups num_channels eps", 2),
    "LocalResponseNorm": _torch("lrn", "size alpha beta k", 1),
    "Flatten": _torch("flatten"),
    "Unfold": _torch("unfold", "kernel_size dilation padding stride", 1),
    "Fold": _torch("fold", "output_size kernel_size dilation padding stride", 2),
    "ZeroPad2d": _torch("pad", "padding", 1, note="sides are [top, left, bottom, right] here"),
    "ConstantPad2d": _torch(
        "pad", "padding value", 2, note="sides are [top, left, bottom, right] here"
    ),
    "ReflectionPad2d": _torch(
        "pad", "padding", 1, note="sides are [top, left, bottom, right] here", mode="reflect"
    ),
    "ReplicationPad2d": _torch(
        "pad", "padding", 1, note="sides are [top, left, bottom, right] here", mode="replicate"
    ),
    "DeformConv2d": _torch(
        "deform_conv", _DEFORM, 3, note="its offsets are its first argument"
    ),
    "DCNv3": _torch("dcnv3", note="it is a block of the library: `dcnv3(groups=…)`"),
    # PyTorch, functions
    "interpolate": _torch("resize", "* size scale_factor mode align_corners", 1, mode="nearest"),
    "conv2d": _torch("conv"), "conv_transpose2d": _torch("conv_transpose"),
    "max_pool2d": _torch("max_pool", "* kernel_size stride padding dilation ceil_mode", 2),
    "avg_pool2d": _torch("avg_pool", "* kernel_size stride padding ceil_mode count_include_pad", 2),
    "adaptive_avg_pool2d": _torch("adaptive_avg_pool", "* output_size", 2),
    "batch_norm": _torch("bn"), "deform_conv2d": _torch("deform_conv"),
    "hardswish": _torch("hard_swish", "* inplace"), "hardsigmoid": _torch("hard_sigmoid", "*"),
    "dropout2d": _torch("dropout", "* p", p="0.5", channels="true"),
    "cat": _torch("concat", "maps dim", 1, axis="batch"),
    "concatenate": _torch("concat", "maps dim", 1, axis="batch"),
    "chunk": _torch("split", "* chunks dim", 2, axis="batch"), "narrow": _torch("slice"),
    "bmm": _torch("matmul", "a b", 2), "view": _torch("reshape"), "transpose": _torch("permute"),
    "add": _torch("+"), "mul": _torch("*"), "sub": _torch("-"), "div": _torch("/"),
    "maximum": _torch("max", "a b"), "upsample": _torch("resize"),
    # Keras
    "Conv2D": _keras("conv", _KERAS_CONV, 2), "Convolution2D": _keras("conv", _KERAS_CONV, 2),
    "Conv2DTranspose": _keras("conv_transpose", _KERAS_UP, 2),
    "BatchNormalization": _keras(
        "bn", eps="1e-3", momentum="0.01",
        note="Keras's momentum is 1 minus ours",
    ),
    "MaxPooling2D": _keras("max_pool", _KERAS_POOL, kernel="2"),
    "MaxPool2D": _keras("max_pool", _KERAS_POOL, kernel="2"),
    "AveragePooling2D": _keras("avg_pool", _KERAS_POOL, kernel="2"),
    "AvgPool2D": _keras("avg_pool", _KERAS_POOL, kernel="2"),
    "GlobalAveragePooling2D": _keras("global_avg_pool", "data_format keepdims"),
    "GlobalAvgPool2D": _keras("global_avg_pool", "data_format keepdims"),
    "UpSampling2D": Foreign(
        "Keras", "resize", ("size", "data_format", "interpolation"),
        adds={"scale": "2x", "mode": "nearest"}, names={"size": "scale"},
    ),
    "Dense": _keras("linear", "units activation use_bias", 1),
    "SpatialDropout2D": _keras("dropout", "rate", 1, channels="true"),
    "ZeroPadding2D": _keras("pad", "padding data_format", sides="1"),
    "Cropping2D": _keras("crop"), "Concatenate": _keras("concat", "axis"),
    "Add": _keras("+"), "Subtract": _keras("-"), "Multiply": _keras("*"),
    "Maximum": _keras("max"), "Activation": _keras("activation", "activation", 1),
    "LayerNormalization": _keras("layer_norm", "axis epsilon", eps="1e-3"),
    "GroupNormalization": _keras("group_norm", "groups axis epsilon", groups="32", eps="1e-3"),
    "Reshape": _keras("reshape"), "Permute": _keras("permute"), "swish": _keras("silu"),
    "Swish": _keras("silu"),
    # Caffe
    "Convolution": _caffe("conv"), "Deconvolution": _caffe("conv_transpose"),
    "deconv": _caffe("conv_transpose"), "InnerProduct": _caffe("linear"),
    "Pooling": _caffe(
        "max_pool", "or `avg_pool`, after its `pool`; Caffe rounds up", stride="1", ceil="true"
    ),
    "Interp": _caffe("resize", mode="bilinear", align_corners="true"),
    "Concat": _caffe("concat"), "Crop": _caffe("crop"), "Slice": _caffe("split"),
    "LRN": _caffe("lrn"), "BatchNorm": _caffe("bn", "with the `Scale` that follows it in Caffe"),
    "Eltwise": _caffe("+", "or `*` or `max`, after its `operation`"),
    "TanH": _caffe("tanh"), "ArgMax": _caffe("argmax"),
    "maxpool": _caffe("max_pool"), "avgpool": _caffe("avg_pool"),
}  # fmt: skip
"""Calls that are one operator here."""

ABSENT: dict[str, tuple[Framework, str]] = {
    "Sequential": ("PyTorch", "stages follow each other: `x -> conv(64, 3) -> relu`"),
    "ModuleList": ("PyTorch", "repeat with `for i in range(n) { … }`, or `-> repeat n { … }`"),
    "ModuleDict": ("PyTorch", "every stage is a statement; choose between them with `if`"),
    "Module": ("PyTorch", "a part is a `block Name(x: tensor) -> (y: tensor) { … }`"),
    "Parameter": ("PyTorch", "declare it: `weight gamma: [C] = ones`"),
    "Model": ("Keras", "a network is a `net Name() { … }` with `input` and `output` statements"),
    "Input": ("Keras", "declare it: `input image: f32[N, 3, H, W]`"),
    "InputLayer": ("Keras", "declare it: `input image: f32[N, 3, H, W]`"),
    "Lambda": ("Keras", "write what it computes as statements, or as a `block`"),
    "SeparableConv2D": ("Keras", "two stages: `conv(C, 3, pad=same, groups=C) -> conv(out, 1)`"),
    "DepthwiseConv2D": ("Keras", "give every channel its group: `conv(C, 3, groups=C)`"),
    "Data": ("Caffe", "declare it: `input image: f32[N, 3, H, W]`"),
    "ImageData": ("Caffe", "declare it: `input image: f32[N, 3, H, W]`"),
    "Split": ("Caffe", "use a name twice: maps need no copies"),
    "Scale": ("Caffe", "behind a `BatchNorm` it is part of `bn`; alone it is `scale`"),
    "Conv1d": ("PyTorch", "maps have a height and a width: use `conv` with a kernel `[1, k]`"),
    "InstanceNorm2d": ("PyTorch", "one group a channel: `group_norm(C)`, which learns two arrays"),
    "stack": ("PyTorch", "there is no new axis; join channels with `concat`"),
}  # fmt: skip
"""Calls that are no operator here, with what to write instead."""

PREFIXES = frozenset({
    "nn", "F", "torch", "torchvision", "tf", "keras", "layers", "functional", "L", "caffe", "K",
})  # fmt: skip
"""What calls of other frameworks begin with."""

ARGUMENTS: dict[str, str] = {
    "filters": "out", "out_channels": "out", "num_output": "out", "out_features": "out",
    "units": "out", "kernel_size": "kernel", "pool_size": "kernel", "kernel_shape": "kernel",
    "strides": "stride", "padding": "pad", "pads": "pad", "dilation_rate": "dilation",
    "dilations": "dilation", "hole": "dilation", "rate": "dilation", "group": "groups",
    "num_groups": "groups", "deformable_groups": "offset_groups", "use_bias": "bias",
    "bias_term": "bias", "ceil_mode": "ceil", "return_indices": "indices",
    "output_padding": "output_pad", "scale_factor": "scale", "scale_factors": "scale",
    "size": "to", "interpolation": "mode", "negative_slope": "slope", "alpha": "slope",
    "epsilon": "eps", "dim": "axis", "output_size": "bins", "approximate": "approx",
    "upscale_factor": "r", "downscale_factor": "r", "local_size": "size", "drop_prob": "p",
    "dropout_ratio": "p", "chunks": "parts", "split_size_or_sections": "parts",
    "kernel_initializer": "init", "bias_initializer": "bias_init", "weight_filler": "init",
    "bias_filler": "bias_init", "antialiased": "antialias", "trainable": "train",
    "requires_grad": "train", "dims": "order",
}  # fmt: skip
"""Arguments by other names, and what they are called here."""

_OVERRIDES: dict[tuple[str, str], str] = {
    ("dropout", "rate"): "p", ("drop_path", "rate"): "p", ("lrn", "alpha"): "alpha",
    ("resize", "output_size"): "to", ("fold", "output_size"): "to",
    ("pad", "padding"): "sides", ("permute", "dim"): "order", ("group_norm", "group"): "groups",
    ("flatten", "dim"): "axes", ("lrn", "size"): "size", ("activation", "activation"): "name",
}  # fmt: skip

IDLE: dict[str, str] = {
    "in_channels": "input channels are inferred", "in_features": "input channels are inferred",
    "num_features": "input channels are inferred", "num_channels": "input channels are inferred",
    "input_dim": "input channels are inferred", "input_shape": "declare it at the `input`",
    "normalized_shape": "input channels are inferred",
    "inplace": "the graph has no places to write to",
    "data_format": "values are always N, C, H, W",
    "device": "the graph says nothing of devices", "dtype": "the `input` says the element type",
}  # fmt: skip
"""Arguments that are left out here, and why."""

_ADVICE: dict[str, str] = {
    "activation": "write it behind, as `-> relu`",
    "padding_mode": "pad before it, as `-> pad(1, mode=reflect)`",
    "name": "its weight path stands behind it, as `@conv1`",
    "kernel_regularizer": "that belongs to training, not to the network",
    "weight_decay": "that belongs to training, not to the network",
    "track_running_stats": "`frozen=true` holds the statistics still",
    "scale_by_keep": "what is kept is always scaled",
    "layout": "values are always N, C, H, W",
    "pool": "`max_pool` and `avg_pool` are two operators",
    "recompute_scale_factor": "`scale` maps by its factor; `to` and `like` map by sizes",
}  # fmt: skip

AXES = {0: "batch", 1: "channels", 2: "height", 3: "width", -3: "channels"}
"""The axes of a map by the numbers that PyTorch gives them; -1 is ambiguous between frameworks."""

_PLAIN = re.compile(r"-?[\d._]+(?:e-?\d+)?|\[[\s\d,.-]*\]|true|false|none|[A-Za-z_]\w*")
_WORDS = {"True": "true", "False": "false", "None": "none"}


def framework(name: str) -> str:
    """Whose name it is, as a message says it."""
    owner = CALLS[name].framework if name in CALLS else ABSENT[name][0]
    return f"{owner}'s" if owner != "Keras" else "Keras's"


def argument(target: str, name: str, known: Sequence[str]) -> str | None:
    """What an argument of another framework is called by an operator here."""
    found = _OVERRIDES.get((target, name), ARGUMENTS.get(name))
    return found if found in known else None


def advice(name: str) -> str:
    """What to do with an argument that is none here; "" if nothing is known of it."""
    return _ADVICE.get(name) or (f"leave it out: {IDLE[name]}" if name in IDLE else "")


def value(ours: str, text: str) -> str | None:
    """The value of an argument in the words of the language; None where that is not certain."""
    text = _WORDS.get(text, text)
    if text.startswith('"') and text.endswith('"'):
        word = text[1:-1].lower()
        if (
            ours not in ("pad", "mode", "approx", "axis", "name", "method")
            or not word.isidentifier()
        ):
            return None
        return text if ours == "name" else word
    if ours == "axis":
        number = int(text) if re.fullmatch(r"-?\d+", text) else None
        return AXES.get(number) if number is not None else text if text.isidentifier() else None
    if ours == "scale" and re.fullmatch(r"\d+(\.\d+)?", text):
        return f"{text}x"
    if ours == "to" and text.isdecimal():
        return f"[{text}, {text}]"
    return text if _PLAIN.fullmatch(text) else None


def idle_value(name: str, text: str) -> bool:
    """Whether an argument that is left out said nothing that is different here."""
    if name == "data_format":
        return text in ('"NCHW"', '"channels_first"')
    return name in ("inplace", "device")
