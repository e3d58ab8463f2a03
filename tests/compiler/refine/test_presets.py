"""The presets are those of the language's standard library and of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import segdsl
from compiler.refine.presets import PRESETS

BLOCKS = {
    "pydensecrf": "DenseCRF",
    "deeplab_v1": "DeepLabV1CRF",
    "deeplab_v2_vgg": "DeepLabV2VggCRF",
    "deeplab_v2_resnet": "DeepLabV2CRF",
    "crfasrnn": "CRFasRNN",
    "convcrf": "ConvCRF",
}
LIBRARY = (Path(segdsl.__file__).parent / "std" / "crf.seg").read_text("utf-8")
PAGE = (Path(__file__).parents[3] / "docs" / "crf.md").read_text("utf-8")


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.DOTALL)
    assert match is not None, pattern
    return match[1]


def test_every_preset_has_a_block() -> None:
    assert PRESETS.keys() == BLOCKS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_the_block(name: str) -> None:
    preset = PRESETS[name]
    block = found(rf"\nblock {BLOCKS[name]}\((.*?\n}})", LIBRARY)
    eye = r"(?:= eye\(([\d.]+)\))"
    if name == "crfasrnn":
        weights = found(f"spatial_ker_weights.*?{eye}", block), found(f"bilateral.*?{eye}", block)
    else:
        number = r".*?compat=([\d.]+)"
        weights = found("gaussian" + number, block), found("(?:bilateral|pairwise)" + number, block)
    assert tuple(map(float, weights)) == (preset.gaussian[0], preset.bilateral[0])
    assert float(found(r"gaussian\(sxy=([\d.]+)", block)) == preset.gaussian[1]
    place = re.search(r"bilateral\(image, sxy=([\d.]+)", block)
    assert (float(place[1]) if place else None) == preset.bilateral[1]
    assert float(found(r"srgb(?:: float )? ?= ?([\d.]+)", block)) == preset.bilateral[2]
    assert int(found(r"iterations: int = (\d+)", block)) == preset.iterations
    norm = re.search(r"norm=(\w+)", block)
    assert (norm[1] if norm else "symmetric") == preset.norm


@pytest.mark.parametrize("name", PRESETS)
def test_the_row_of_the_page(name: str) -> None:
    preset = PRESETS[name]
    weight, place, colour = preset.bilateral
    cells = [
        f"`{name}`",
        f"{preset.gaussian[0]:g} / {preset.gaussian[1]:g}",
        f"{weight:g} / {'-' if place is None else f'{place:g}'} / {colour:g}",
        str(preset.iterations),
    ]
    assert "\n| " + " | ".join(cells) + f" | {preset.norm}, {preset.method}" in PAGE
