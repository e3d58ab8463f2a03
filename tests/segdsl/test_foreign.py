"""The tables of names from other frameworks: what they promise exists."""

from __future__ import annotations

import pytest

from segdsl.elaborate.complaints import BUILTINS
from segdsl.foreign import ABSENT, ARGUMENTS, CALLS, IDLE, advice, argument, framework, value
from segdsl.imports import STANDARD
from segdsl.ops.base import OPS, signature

OWN = {name for name, cls in OPS.items() if not cls.internal} | BUILTINS
SIGNS = {"+", "-", "*", "/"}


def arguments_of(name: str) -> set[str]:
    return {*signature(OPS[name]), *OPS[name].operands}


def test_what_stands_in_their_place_exists() -> None:
    assert {call.target for call in CALLS.values()} <= OWN | SIGNS | set(STANDARD)
    assert not (set(CALLS) | set(ABSENT)) & OWN
    assert not set(CALLS) & set(ABSENT)


def test_arguments_exist_and_are_not_our_own() -> None:
    everything = {name for cls in OPS.values() for name in (*signature(cls), *cls.operands)}
    assert set(ARGUMENTS.values()) <= everything
    own = {name for cls in OPS.values() if not cls.internal for name in signature(cls)}
    assert not set(IDLE) & own


@pytest.mark.parametrize("name", [n for n, c in CALLS.items() if c.target in OPS])
def test_every_argument_of_a_call_is_known(name: str) -> None:
    """Each is one of ours, or is left out for a reason, or has an advice of its own."""
    call = CALLS[name]
    known = arguments_of(call.target)
    assert set(call.adds) <= known
    assert call.needed <= len(call.order)
    told = known | {"*", "affine", "divisor_override", "keepdims", "mode", "axis"}
    words = sorted(known)
    lost = [a for a in call.order if not (argument(call.target, a, words) or advice(a))]
    assert set(lost) <= told


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("Conv2d", "conv"), ("Conv2D", "conv"), ("Convolution", "conv"),
        ("ConvTranspose2d", "conv_transpose"), ("Conv2DTranspose", "conv_transpose"),
        ("Deconvolution", "conv_transpose"), ("BatchNorm2d", "bn"), ("BatchNormalization", "bn"),
        ("batch_norm", "bn"), ("MaxPool2d", "max_pool"), ("MaxPooling2D", "max_pool"),
        ("Upsample", "resize"), ("UpSampling2D", "resize"), ("UpsamplingBilinear2d", "resize"),
        ("interpolate", "resize"), ("Interp", "resize"), ("cat", "concat"),
        ("Concatenate", "concat"), ("Concat", "concat"), ("Eltwise", "+"), ("Linear", "linear"),
        ("Dense", "linear"), ("InnerProduct", "linear"), ("Dropout2d", "dropout"),
        ("DeformConv2d", "deform_conv"), ("swish", "silu"),
    ],
)  # fmt: skip
def test_names_of_the_language_note(name: str, target: str) -> None:
    assert CALLS[name].target == target


@pytest.mark.parametrize(
    ("target", "name", "ours"),
    [
        ("conv", "filters", "out"), ("conv", "out_channels", "out"), ("conv", "num_output", "out"),
        ("conv", "kernel_size", "kernel"), ("conv", "padding", "pad"), ("pad", "padding", "sides"),
        ("conv", "dilation_rate", "dilation"), ("conv", "hole", "dilation"),
        ("conv", "group", "groups"), ("conv", "use_bias", "bias"), ("conv", "bias_term", "bias"),
        ("max_pool", "ceil_mode", "ceil"), ("resize", "scale_factor", "scale"),
        ("resize", "size", "to"), ("lrn", "size", "size"), ("conv", "scale_factor", None),
        ("conv", "wheels", None), ("dropout", "rate", "p"), ("conv", "rate", "dilation"),
    ],
)  # fmt: skip
def test_arguments_of_the_language_note(target: str, name: str, ours: str | None) -> None:
    assert argument(target, name, sorted(arguments_of(target))) == ours


@pytest.mark.parametrize(
    ("ours", "text", "here"),
    [
        ("pad", '"same"', "same"), ("pad", "1", "1"), ("mode", '"bilinear"', "bilinear"),
        ("bias", "False", "false"), ("axis", "1", "channels"), ("axis", "-1", None),
        ("scale", "2", "2x"), ("scale", "0.5", "0.5x"), ("to", "64", "[64, 64]"),
        ("kernel", "[3, 3]", "[3, 3]"), ("out", "width", "width"), ("out", "a + b", None),
        ("init", '"he_normal"', None), ("pad", '"a b"', None),
    ],
)  # fmt: skip
def test_values(ours: str, text: str, here: str | None) -> None:
    assert value(ours, text) == here


@pytest.mark.parametrize(
    ("name", "whose"),
    [("Conv2d", "PyTorch's"), ("Convolution", "Caffe's"), ("UpSampling2D", "Keras's"),
     ("Sequential", "PyTorch's"), ("Lambda", "Keras's"), ("Data", "Caffe's")],
)  # fmt: skip
def test_framework(name: str, whose: str) -> None:
    assert framework(name) == whose
