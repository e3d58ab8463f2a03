"""Calls from PyTorch, Keras and Caffe: what is written instead, and when that is certain."""

from __future__ import annotations

import pytest

from segdsl.diagnostics import Applicability, Diagnostic
from segdsl.fixes import fix
from segdsl.foreign import ABSENT, CALLS
from segdsl.source import Source
from tests.support.grown import examine_text

CERTAIN, LIKELY, TEMPLATE = Applicability


def program(statement: str) -> str:
    return (
        "seg 1\nnet T(width: int = 8) {\n"
        "  input image: f32[N, 4, H, W] where H % 8 == 0, H >= 64, W % 8 == 0, W >= 64\n"
        f"  y = {statement}\n  output o = y\n}}\n"
    )


def only(statement: str) -> Diagnostic:
    (found,) = [d for d in examine_text(program(statement)).diagnostics if d.code != "E1009"]
    return found


@pytest.mark.parametrize(
    ("call", "here", "sure"),
    [
        ("Conv2d(64, 3)", "conv(64, 3)", LIKELY),
        ("Conv2d(4, 64, 3)", "conv(64, 3)", CERTAIN),
        ("nn.Conv2d(4, 64, kernel_size=3, padding=1)", "conv(64, 3, pad=1)", CERTAIN),
        ("torch.nn.Conv2d(4, 64, 3, 2, 1)", "conv(64, 3, stride=2, pad=1)", CERTAIN),
        ("nn.Conv2d(4, width, 1, bias=false)", "conv(width, 1, bias=false)", CERTAIN),
        ("nn.Conv2d(4, 8, 3, padding_mode=\"zeros\")", "conv(8, 3)", CERTAIN),
        ("nn.Conv2d(4, 8, 3, padding_mode=\"reflect\")", "conv(8, 3)", TEMPLATE),
        ("nn.ConvTranspose2d(4, 8, 2, stride=2)", "conv_transpose(8, 2, stride=2)", CERTAIN),
        ("nn.ConvTranspose2d(4, 8, 3, 2, 1, output_padding=1)",
         "conv_transpose(8, 3, stride=2, pad=1, output_pad=1)", CERTAIN),
        ("nn.BatchNorm2d(4, eps=1e-3)", "bn(eps=1e-3)", CERTAIN),
        ("nn.ReLU(inplace=true)", "relu", CERTAIN),
        ("nn.MaxPool2d(3, 2, 1)", "max_pool(3, stride=2, pad=1)", CERTAIN),
        ("nn.MaxPool2d(kernel_size=2, ceil_mode=true)", "max_pool(2, ceil=true)", CERTAIN),
        ("nn.Dropout2d(0.2)", "dropout(0.2, channels=true)", CERTAIN),
        ("nn.Softmax(dim=1)", "softmax(channels)", CERTAIN),
        ("nn.Softmax(dim=-1)", "softmax(-1)", TEMPLATE),
        ("nn.Upsample(scale_factor=2)", "resize(2x, mode=nearest)", CERTAIN),
        ("nn.Upsample(scale_factor=2, mode=\"bilinear\", align_corners=true)",
         "resize(2x, mode=bilinear, align_corners=true)", CERTAIN),
        ("nn.UpsamplingBilinear2d(scale_factor=2)",
         "resize(2x, mode=bilinear, align_corners=true)", CERTAIN),
        ("F.interpolate(scale_factor=2, mode=\"bilinear\")", "resize(2x, mode=bilinear)", CERTAIN),
        ("F.interpolate(size=32)", "resize(to=[32, 32], mode=nearest)", CERTAIN),
        ("F.max_pool2d(2)", "max_pool(2)", CERTAIN),
        ("F.relu", "relu", CERTAIN),
        ("Conv2D(8, 3, padding=\"same\", activation=\"relu\")",
         "conv(8, 3, pad=same) -> relu", CERTAIN),
        ("Conv2D(filters=8, kernel_size=3, strides=2, padding=\"same\")",
         "conv(8, 3, stride=2, pad=same)", LIKELY),
        ("tf.keras.layers.Conv2D(8, 3, use_bias=false, dilation_rate=2)",
         "conv(8, 3, dilation=2, bias=false)", CERTAIN),
        ("Conv2D(8, 3, data_format=\"channels_last\")", "conv(8, 3)", LIKELY),
        ("layers.Conv2DTranspose(8, 2, strides=2)", "conv_transpose(8, 2, stride=2)", CERTAIN),
        ("BatchNormalization(momentum=0.9)", "bn(eps=1e-3, momentum=0.1)", CERTAIN),
        ("MaxPooling2D()", "max_pool(2)", CERTAIN),
        ("MaxPooling2D(pool_size=3, strides=2, padding=\"valid\")",
         "max_pool(3, stride=2)", CERTAIN),
        ("MaxPooling2D(2, padding=\"same\")", "max_pool(2, pad=same)", TEMPLATE),
        ("UpSampling2D(2, interpolation=\"bilinear\")", "resize(2x, mode=bilinear)", CERTAIN),
        ("Dense(8)", "linear(8)", CERTAIN),
        ("Convolution(num_output=8, kernel_size=3, pad=1, hole=2, bias_term=false)",
         "conv(8, 3, pad=1, dilation=2, bias=false)", CERTAIN),
        ("Deconvolution(num_output=8, kernel_size=4, stride=2)",
         "conv_transpose(8, 4, stride=2)", CERTAIN),
        ("Conv2d(4, 8, 3, wheels=4)", "conv(8, 3)", TEMPLATE),
    ],
)  # fmt: skip
def test_a_call_into_which_a_map_flows(call: str, here: str, sure: Applicability) -> None:
    found = only(f"image -> {call}")
    assert (found.code, found.helps[0].text) == ("E1002", f"write `{here}`")
    assert found.helps[0].applicability is sure
    assert bool(found.helps[0].edits) == (sure is not TEMPLATE)


@pytest.mark.parametrize(
    ("call", "here"),
    [
        ("torch.cat([image, image], dim=1)", "concat([image, image])"),
        ("torch.cat([image, image])", "concat([image, image], axis=batch)"),
        ("F.relu(image)", "relu(image)"),
        ("F.interpolate(image, scale_factor=2)", "resize(image, 2x, mode=nearest)"),
        ("F.avg_pool2d(image, 2, 2)", "avg_pool(image, 2, stride=2)"),
        ("nn.Conv2d(4, 8, 3)(image)", "conv(image, 8, 3)"),
        ("nn.ReLU()(image)", "relu(image)"),
    ],
)
def test_a_function_of_a_map(call: str, here: str) -> None:
    text = program(call)
    (found,) = examine_text(text).diagnostics
    source = found.span.source  # type: ignore[union-attr]
    mended = fix(source, [found])
    assert mended.text == program(here)
    assert not examine_text(mended.text).failed


@pytest.mark.parametrize(
    ("statement", "argument", "words"),
    [
        ("image -> conv(8, kernel_size=3)", "kernel=3", "write `kernel=3`"),
        ("image -> conv(filters=8, kernel=3)", "out=8", "write `out=8`"),
        ('image -> conv(8, 3, padding="same")', "pad=same", "write `pad=same`"),
        ("image -> conv(8, 3, strides=2)", "stride=2", "write `stride=2`"),
        ("image -> max_pool(2, ceil_mode=true)", "ceil=true", "write `ceil=true`"),
        ("image -> resize(scale_factor=2, mode=nearest)", "scale=2x", "write `scale=2x`"),
        ("concat([image, image], dim=1)", "axis=channels", "write `axis=channels`"),
        ("image -> dropout(rate=0.5)", "p=0.5", "write `p=0.5`"),
    ],
)
def test_an_argument_is_translated_for_certain(statement: str, argument: str, words: str) -> None:
    found = only(statement)
    assert (found.code, found.helps[0].text) == ("E2001", words)
    mended = fix(found.span.source, [found])  # type: ignore[union-attr]
    assert argument in mended.text
    assert not examine_text(mended.text).failed


@pytest.mark.parametrize(
    ("statement", "advice", "sure"),
    [
        ("image -> conv(8, 3, in_channels=4)", "leave it out: input channels are inferred", LIKELY),
        ("image -> conv(in_channels=4, out=8, kernel=3)", "leave it out: input channels", LIKELY),
        ("image -> relu(inplace=true)", "leave it out: the graph has no places", CERTAIN),
        ('image -> conv(8, 3, data_format="NCHW")', "leave it out: values are always", CERTAIN),
        ('image -> conv(8, 3, data_format="NHWC")', "leave it out: values are always", TEMPLATE),
        ('image -> conv(8, 3, padding_mode="reflect")', "pad before it, as `-> pad(", TEMPLATE),
        ('image -> conv(8, 3, activation="relu")', "write it behind, as `-> relu`", TEMPLATE),
        ('image -> conv(8, 3, name="stem")', "its weight path stands behind it", TEMPLATE),
    ],
)
def test_an_argument_that_is_none_here(statement: str, advice: str, sure: Applicability) -> None:
    found = only(statement)
    assert found.helps[0].text.startswith(advice)
    assert found.helps[0].applicability is sure
    if found.helps[0].edits:
        (edit,) = found.helps[0].edits
        text = program(statement)
        mended = text[: edit.span.start] + text[edit.span.end :]
        assert not examine_text(mended).failed


def test_the_activation_of_a_call_stands_behind_its_weight_path() -> None:
    """`conv(…) -> relu @a` would give the path to the activation."""
    text = program('image -> Conv2D(8, 3, activation="relu") @a.{1 + 1} -> bn @b')
    (found,) = examine_text(text).diagnostics
    mended = fix(found.span.source, [found])  # type: ignore[union-attr]
    assert mended.text == program("image -> conv(8, 3) @a.{1 + 1} -> relu -> bn @b")
    assert not examine_text(mended.text).failed


def test_same_beside_a_stride_is_not_certain() -> None:
    found = only('image -> conv(8, 3, stride=2, padding="same")')
    assert found.helps[0].applicability is LIKELY


def test_stages_of_a_sequential_are_read_as_stages() -> None:
    text = program("image -> nn.Sequential(conv(8, 3), nn.ReLU(), rellu)")
    found = [(d.code, d.span.text if d.span else "") for d in examine_text(text).diagnostics]
    assert found == [("E1002", "nn.Sequential"), ("E1002", "nn.ReLU"), ("E1001", "rellu")]


@pytest.mark.parametrize("name", ["ModuleList", "Lambda", "SeparableConv2D", "nn.InstanceNorm2d"])
def test_what_has_no_operator_here_is_advised(name: str) -> None:
    found = only(f"image -> {name}(3)")
    assert found.message.endswith("and no operator here")
    assert found.helps[0].text


def test_a_name_of_the_users_own_is_not_foreign() -> None:
    text = (
        "seg 1\nblock Conv2d(x: tensor) -> (y: tensor) { y = x -> relu }\n"
        "block Sequential(x: tensor) -> (y: tensor) { y = x -> Conv2d }\n"
        "net T() {\n  input nn: f32[N, 4, H, W]\n  a = nn -> Sequential\n"
        "  output o = a\n  b = nn.Conv2d\n}\n"
    )
    assert [(d.code, d.span.line if d.span else 0) for d in examine_text(text).diagnostics] == [
        ("E1003", 8)
    ]


def test_a_word_that_stands_for_a_block() -> None:
    text = (
        "seg 1\nblock B(x: tensor, act: block = relu) -> (y: tensor) { y = x -> act }\n"
        "net T() {\n  input image: f32[N, 4, H, W]\n  output o = image -> B(act=nn.SiLU)\n}\n"
    )
    (found,) = examine_text(text).diagnostics
    assert found.code == "E1002"
    mended = fix(Source(found.span.source.name, text), [])  # type: ignore[union-attr]
    assert mended.text == text
    assert found.helps[0].edits[0].text == "silu"


def test_a_pair_that_is_not_closed_is_told_once() -> None:
    text = program("image -> conv(8, (3, 3") + "\n"
    assert [d.code for d in examine_text(text).diagnostics] == ["E0001", "E0001"]


@pytest.mark.parametrize("pair", ["(3, 3)", "(3, 3,)", "( 3,5 )"])
def test_a_pair_in_round_brackets_is_read_as_a_list(pair: str) -> None:
    text = program(f"image -> conv(8, {pair}) @a -> conv(8, kernel={pair}) @b")
    first, second = examine_text(text).diagnostics
    assert (first.code, second.code) == ("E0014", "E0014")
    mended = fix(first.span.source, [first, second])  # type: ignore[union-attr]
    assert not examine_text(mended.text).failed


@pytest.mark.parametrize("form", ["{}", "{}()", "nn.{}(1, 2, kernel_size=3)", "{}(x=1)(image)"])
def test_every_foreign_name_is_told_as_one(form: str) -> None:
    """In one program, so that none hides another; whatever its arguments are."""
    names = sorted({*CALLS, *ABSENT} - {"Sequential"})
    body = "".join(f"  a{i} = image -> {form.format(name)}\n" for i, name in enumerate(names))
    text = f"seg 1\nnet T() {{\n  input image: f32[N, 4, H, W]\n{body}  output o = image\n}}\n"
    found = [d for d in examine_text(text).diagnostics if d.code == "E1002"]
    lines = {d.span.line: d for d in found if d.span is not None}
    assert sorted(lines) == list(range(4, 4 + len(names)))
    for line, name in enumerate(names, 4):
        assert f"{name}`" in lines[line].message
        assert lines[line].helps
