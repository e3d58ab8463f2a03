from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import segdsl
from compiler.draw import network
from compiler.stages import Stage, stages
from segdsl.ir import Graph
from segdsl.ops.ports import Weight

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.seg"))
SPEC_OF = {path.stem: path for path in SPECS}
SIZES = {"N": 1, "H": 320, "W": 416}


def stages_of(graph: Graph, **options: int) -> list[Stage]:
    return stages(graph, SIZES, **options)


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_spec_folds_into_a_page_and_nothing_is_lost(spec: Path) -> None:
    graph = segdsl.load(spec)
    found = stages_of(graph)
    drawn = [name for stage in found for name in stage.nodes]
    assert sorted(drawn) == sorted(n for n in graph if not isinstance(graph[n].op, Weight))
    assert 5 <= len(found) <= 24
    assert len({stage.name for stage in found}) == len(found)
    ports = {*graph.inputs, *(graph[name].label for name in graph.outputs)}
    assert ports == {stage.name for stage in found if stage.is_port}


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_spec_can_be_drawn(spec: Path) -> None:
    image = network(segdsl.load(spec), {"H": 320, "W": 416}, width=900, height=300)
    assert image.size == (900, 300)
    pixels = np.asarray(image)
    assert (pixels != 255).any(axis=2).mean() > 0.01
    assert (pixels[0] == 255).all()
    assert (pixels[-1] == 255).all()


def test_a_unet_is_a_u() -> None:
    graph = segdsl.load(SPEC_OF["unet"], width=4, form="same")
    found = stages_of(graph)
    assert [stage.level for stage in found] == [0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0]
    names = [stage.name for stage in found]
    assert names == ["image", "inc", "down1", "down2", "down3", "down4", "up1", "up2", "up3", "up4",
                     "scores"]  # fmt: skip
    assert [stage.reads for stage in found[6:]] == [(4, 5), (3, 6), (2, 7), (1, 8), (9,)]
    assert [(s.channels, s.height, s.width) for s in found[4:7]] == [
        (32, 40, 52), (64, 20, 26), (32, 40, 52),
    ]  # fmt: skip


def test_residual_stages_count_their_blocks() -> None:
    graph = segdsl.load(SPEC_OF["resnet"])
    times = {stage.name: stage.times for stage in stages_of(graph)}
    assert {name: times[f"layer{name}"] for name in (1, 2, 3, 4)} == {1: 3, 2: 4, 3: 6, 4: 3}


def test_a_size_that_is_only_compared_is_no_connection() -> None:
    text = (
        "seg 1\nnet L() {\n  input image: f32[N, 1, H, W]\n"
        "  x = image -> conv(2, 3, stride=2, pad=1) @a\n"
        "  output y = x -> resize(like=image, mode=nearest)\n}\n"
    )
    found = stages_of(segdsl.parse(text))
    assert [(stage.name, stage.reads) for stage in found] == [
        ("image", ()),
        ("a", (0,)),
        ("y", (1,)),
    ]


def test_a_size_that_is_missing_is_named() -> None:
    graph = segdsl.load(SPECS[0])
    with pytest.raises(ValueError, match="the size"):
        stages(graph, {"N": 1})


def test_thumbnails_take_the_place_of_ports() -> None:
    graph = segdsl.parse(
        "seg 1\nnet L() {\n  input image: f32[N, 1, H, W]\n  output y = image -> relu\n}\n"
    )
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    sizes = {"H": 8, "W": 8}
    with_it = np.asarray(network(graph, sizes, width=300, height=200, thumbnails={"image": red}))
    without = np.asarray(network(graph, sizes, width=300, height=200))
    assert red_pixels(with_it) > 1000
    assert red_pixels(without) == 0


def red_pixels(pixels: NDArray[np.uint8]) -> int:
    return int((pixels == (255, 0, 0)).all(axis=2).sum())


def test_a_chain_of_a_thousand_layers_is_one_page() -> None:
    body = "\n".join(
        f"  x{i} = x{i - 1} -> conv(4, 3, pad=1) @c{i} -> relu" for i in range(1, 1000)
    )
    text = f"seg 1\nnet L() {{\n  input x0: f32[N, 4, H, W]\n{body}\n  output y = x999\n}}\n"
    found = stages_of(segdsl.parse(text))
    assert len(found) <= 24
    assert sum(len(stage.nodes) for stage in found) == 2 * 999 + 2
