"""Did you mean: near names, and names known from other frameworks."""

from __future__ import annotations

from collections.abc import Collection

FOREIGN_CALLABLES: dict[str, str] = {
    "Conv2d": "conv", "Convolution": "conv", "conv2d": "conv", "Conv2D": "conv",
    "ConvTranspose2d": "conv_transpose", "Conv2DTranspose": "conv_transpose",
    "Deconvolution": "conv_transpose", "deconv": "conv_transpose",
    "BatchNorm2d": "bn", "BatchNormalization": "bn", "batch_norm": "bn", "BatchNorm": "bn",
    "MaxPool2d": "max_pool", "MaxPooling2D": "max_pool", "maxpool": "max_pool",
    "AvgPool2d": "avg_pool", "AveragePooling2D": "avg_pool",
    "AdaptiveAvgPool2d": "adaptive_avg_pool", "GlobalAveragePooling2D": "global_avg_pool",
    "Upsample": "resize", "UpSampling2D": "resize", "interpolate": "resize", "Interp": "resize",
    "cat": "concat", "Concatenate": "concat", "Concat": "concat",
    "Linear": "linear", "Dense": "linear", "InnerProduct": "linear",
    "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "GELU": "gelu", "SiLU": "silu",
    "swish": "silu", "Swish": "silu", "Hardswish": "hard_swish", "Hardsigmoid": "hard_sigmoid",
    "Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax", "LogSoftmax": "log_softmax",
    "Dropout": "dropout", "Dropout2d": "dropout", "DropPath": "drop_path",
    "LayerNorm": "layer_norm", "GroupNorm": "group_norm", "LocalResponseNorm": "lrn", "LRN": "lrn",
    "PixelShuffle": "pixel_shuffle", "Flatten": "flatten", "Identity": "identity",
    "DCNv3": "dcnv3", "DeformConv2d": "deform_conv", "deform_conv2d": "deform_conv",
    "DeformableConvolution": "deform_conv", "DeformConv": "deform_conv",
    "MaxUnpool2d": "max_unpool", "Eltwise": "+", "add": "+", "Add": "+", "mul": "*", "sub": "-",
}  # fmt: skip
"""Names of PyTorch, Keras and Caffe, and what the language calls them."""

FOREIGN_ARGUMENTS: dict[str, str] = {
    "filters": "out", "out_channels": "out", "num_output": "out", "out_features": "out",
    "units": "out", "strides": "stride",
    "kernel_size": "kernel", "padding": "pad", "dilation_rate": "dilation", "hole": "dilation",
    "group": "groups", "use_bias": "bias", "bias_term": "bias", "ceil_mode": "ceil",
    "output_padding": "output_pad", "scale_factor": "scale", "size": "to", "num_groups": "groups",
    "return_indices": "indices", "negative_slope": "slope", "rate": "dilation", "epsilon": "eps",
}  # fmt: skip


def foreign_framework(name: str) -> str:
    """Whose name it is, as a message says it."""
    if name in {
        "Convolution",
        "Deconvolution",
        "InnerProduct",
        "Eltwise",
        "Interp",
        "LRN",
        "Concat",
    }:
        return "Caffe's"
    keras = {
        "Conv2DTranspose",
        "BatchNormalization",
        "UpSampling2D",
        "Concatenate",
        "Dense",
        "Conv2D",
        "swish",
    }
    return "Keras's" if name in keras or name.endswith("Pooling2D") else "PyTorch's"


def distance(a: str, b: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment): edits and swaps of neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        after = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, after[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            after.append(cost)
        before, row = row, after
    return row[-1]


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant: within a third of the length, at least one edit.

    A single letter is one edit from every other, so it is only compared without regard to case.
    """
    limit = max(1, len(name) // 3) if len(name) > 1 else 0
    near = sorted(
        (distance(name, other), other) for other in known if abs(len(name) - len(other)) <= limit
    )
    if near and near[0][0] <= limit and near[0][1] != name:
        return near[0][1]
    folded = [other for other in known if other.lower() == name.lower() and other != name]
    return folded[0] if folded else None
