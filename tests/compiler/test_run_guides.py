"""Running networks that take the bytes of the picture beside it, as those with a CRF do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import compiler
import segdsl
from compiler.run import Normalisation, segment
from compiler.run.pictures import read_picture
from compiler.run.prepare import picture_inputs
from segdsl.diagnostics import SegError
from segdsl.ir import Graph


def net(*inputs: str, output: str) -> Graph:
    lines = "\n".join(f"  input {line}" for line in inputs)
    return segdsl.parse(f"seg 1\nnet Small() {{\n{lines}\n  output y = {output}\n}}\n")


IMAGE = "image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0"
RGB = "rgb: u8[N, 3, H, W]"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Red where it is left, blue where it is right; 6 x 10 pixels."""
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:, :4, 0], pixels[:, 4:, 2] = 255, 200
    Image.fromarray(pixels).save(tmp_path / "p.png")
    return tmp_path / "p.png"


@pytest.mark.parametrize("inputs", [(IMAGE, RGB), (RGB, IMAGE)])
def test_the_guide_holds_the_bytes_and_the_image_is_normalised(
    inputs: tuple[str, str], picture: Path
) -> None:
    """The net tells whether the two agree: bytes are 255 * (image * 0.5 + 0.25)."""
    graph = net(*inputs, output="(rgb * 1.0 - (image * 0.5 + 0.25) * 255.0) * 1000.0")
    found = segment(
        graph,
        compiler.to_torch(graph),
        read_picture(picture),
        normalisation=Normalisation((0.25,), (0.5,)),
    )
    assert found.classes.shape == (6, 10)
    assert found.fit.padded
    graph = net(*inputs, output="rgb * 1.0 + image * 0.0")
    red = segment(graph, compiler.to_torch(graph), read_picture(picture)).classes
    assert (red == np.where(np.arange(10) < 4, 0, 2)).all()


def test_a_crf_is_run(picture: Path) -> None:
    graph = net(IMAGE, RGB, output="image * 4.0 -> mean_field([bilateral(rgb, sxy=9)])")
    found = segment(graph, compiler.to_torch(graph), read_picture(picture))
    assert (found.classes == np.where(np.arange(10) < 4, 0, 2)).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((IMAGE, "b: f32[N, 3, H, W]"), "2 inputs, `image` and `b`"),
        ((IMAGE, "b: i64[N, 3, H, W]"), "2 inputs, `image` and `b`"),
        ((IMAGE, "small: u8[N, 3, h, w]"), "no guide for [N, 3, H, W]"),
        ((IMAGE, "one: u8[2, 3, H, W]"), "no guide for [N, 3, H, W]"),
        ((IMAGE, "flat: u8[N, 3]"), "no guide for [N, 3, H, W]"),
    ],
)
def test_other_inputs_are_refused(inputs: tuple[str, str], message: str) -> None:
    graph = net(*inputs, output="image * 1.0")
    with pytest.raises(SegError) as caught:
        picture_inputs(graph)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0112"
    assert message in diagnostic.message


def test_an_array_has_no_bytes() -> None:
    graph = net(IMAGE, RGB, output="image * 1.0")
    with pytest.raises(SegError) as caught:
        segment(graph, compiler.to_torch(graph), np.zeros((3, 4, 4), np.float32))
    assert "takes bytes (u8)" in caught.value.diagnostics[0].message
