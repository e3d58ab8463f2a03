"""Fitting, running, mapping back, writing: on networks small enough to know the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import compiler
import segdsl
from compiler.cli import main
from compiler.run import Normalisation, run, segment
from compiler.run.fit import AxisFit, Fit, fit
from compiler.run.masks import borders, colours_of, mask_png, overlay, palette
from compiler.weights import Weights
from segdsl.analysis.sizes import sizes
from segdsl.diagnostics import SegError
from segdsl.ir import Graph

RNG = np.random.default_rng(0)
UNET = Path(__file__).parents[2] / "specs" / "unet.seg"


def net(body: str, *, image: str = "f32[N, 1, H, W]", settings: str = "") -> Graph:
    """A net of these statements, each on a line, after the input `image`."""
    lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
    return segdsl.parse(f"seg 1\nnet Small({settings}) {{\n  input image: {image}\n{lines}\n}}\n")


def classes(graph: Graph, values: NDArray[np.generic], **options: object) -> NDArray[np.generic]:
    found = segment(graph, compiler.to_torch(graph), values, **options)  # type: ignore[arg-type]
    return found.classes


def refused(graph: Graph, values: NDArray[np.generic], **options: object) -> str:
    with pytest.raises(SegError) as caught:
        classes(graph, values, **options)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.message} {' '.join(h.text for h in diagnostic.helps)}"


def signs(height: int, width: int) -> NDArray[np.float32]:
    """One channel of -1 and 1: an identity network makes it a mask of 0 and 1."""
    values = RNG.choice(np.array([-1, 1], np.float32), (1, height, width))
    assert isinstance(values, np.ndarray)
    return values


# -- the mask lies where the picture is

IDENTITIES = {
    "multiples of 16": ("output y = image", "f32[N, 1, H, W] where H % 16 == 0, W % 16 == 0"),
    "odd sizes": ("output y = image", "f32[N, 1, H, W] where (H - 1) % 8 == 0, W >= 20"),
    "a lost border": (
        "small = image -> max_pool([8, 5], stride=1)\n"
        "output y = image -> crop(like=small, offset=[3, 1])",
        "f32[N, 1, H, W] where H >= 8, W >= 5",
    ),
    "a lost border, one side": (
        "small = image -> max_pool([6, 1], stride=1)\n"
        "output y = image -> crop(like=small, offset=[5, 0])",
        "f32[N, 1, H, W] where H % 8 == 0",
    ),
    "an added border": ("output y = image -> pad([2, 3, 4, 5])", "f32[N, 1, H, W]"),
    "square": ("output y = image", "f32[N, 1, S, S] where S % 8 == 0"),
    "one size": ("output y = image", "f32[N, 1, 64, 48]"),
    "one size, lost border": (
        "output y = image -> crop(to=[57, 44], offset=[4, 2])", "f32[N, 1, 64, 48]",
    ),
    "pooled and spread": (
        "output y = image -> pixel_unshuffle(4) -> pixel_shuffle(4)",
        "f32[N, 1, H, W] where H % 4 == 0, W % 4 == 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IDENTITIES)
@settings(max_examples=25)
@given(height=st.integers(1, 55), width=st.integers(1, 42))
def test_a_network_that_copies_gives_the_picture_back(case: str, height: int, width: int) -> None:
    body, image = IDENTITIES[case]
    values = signs(height, width)
    found = classes(net(body, image=image), values)
    np.testing.assert_array_equal(found, values[0] > 0)


def test_a_valid_unet_covers_the_whole_picture() -> None:
    graph = segdsl.load(UNET, channels=1, width=2, form="valid")
    found = fit(graph, graph.outputs[0], (388, 300), sizes(graph))
    assert found.height == AxisFit(388, 92, 92, "reflect", 388, 388, 0)
    assert found.width.padded - found.width.out == 184
    assert found.width.before - found.width.start == 92


def test_valid_convolutions_are_shifted_by_their_kernels() -> None:
    """Five taps that read only the middle pixel: the mask is the picture, in its place."""
    graph = net(
        "output y = image -> conv(1, 5, bias=false) @c",
        image="f32[N, 1, H, W] where H >= 5, W >= 5",
    )
    weight = np.zeros((1, 1, 5, 5), np.float32)
    weight[0, 0, 2, 2] = 1
    values = signs(9, 4)
    found = segment(graph, Weights({"c.weight": weight}), values)
    np.testing.assert_array_equal(found.classes, values[0] > 0)
    assert "lacks the border" in found.notes[0]


def test_a_coarse_output_is_enlarged_evenly() -> None:
    graph = net(
        "output y = image -> avg_pool(4)", image="f32[N, 1, H, W] where H % 4 == 0, W % 4 == 0"
    )
    blocks = signs(6, 5)
    found = segment(graph, compiler.to_torch(graph), blocks.repeat(4, 1).repeat(4, 2))
    assert found.fit.coarse
    # The four middle pixels of each block lie nearest to its score.
    np.testing.assert_array_equal(found.classes[1::4, 2::4], blocks[0] > 0)
    assert any("enlarged" in note for note in found.notes)


def test_padding_reflects_and_repeats_the_edge_of_what_is_too_small() -> None:
    graph = net("output y = image", image="f32[N, 1, H, W] where H % 16 == 0, W % 16 == 0")
    large = segment(graph, compiler.to_torch(graph), signs(20, 31)).fit
    small = segment(graph, compiler.to_torch(graph), signs(1, 3)).fit
    assert (large.height.mode, large.width.mode) == ("reflect", "reflect")
    assert (large.height.before, large.height.after) == (6, 6)
    assert (large.width.before, large.width.after) == (0, 1)
    assert (small.height.mode, small.width.mode) == ("edge", "edge")
    values = np.arange(20, dtype=np.float32).reshape(1, 20, 1).repeat(31, 2)
    padded = large.pad(values)
    assert padded.shape == (1, 32, 32)
    assert padded[0, :8, 0].tolist() == [6, 5, 4, 3, 2, 1, 0, 1]


def test_the_user_is_told_about_the_size() -> None:
    graph = segdsl.load(UNET, channels=1, width=2, form="same")
    found = segment(graph, compiler.to_torch(graph), signs(303, 384))
    assert found.notes == (
        "is 303x384; this net accepts H = 16k, k >= 1; W = 16k, k >= 1; padded to 304x384 "
        "(reflect), cropped back",
    )
    assert segment(graph, compiler.to_torch(graph), signs(48, 32)).notes == ()


def test_the_scores_are_those_of_the_module_alone() -> None:
    graph = segdsl.load(UNET, channels=3, classes=5, width=4, depth=2, form="same")
    module = compiler.to_torch(graph)
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    values = RNG.standard_normal((3, 16, 24)).astype(np.float32)
    found = segment(graph, module, values).classes
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(values)[None])[0].argmax(0)
    np.testing.assert_array_equal(found, wanted.numpy())
    assert len(np.unique(found)) > 1


# -- what cannot be mapped is refused


@pytest.mark.parametrize(
    ("body", "image", "word"),
    [
        ("output y = image", "f32[N, 1, 32, 32]", "E0112"),
        ("output y = image", "f32[N, 1, H, W] where H <= 20", "E0112"),
        ("output y = image -> global_avg_pool", "f32[N, 1, H, W]", "no map of the picture"),
        ("output y = image -> adaptive_avg_pool(6)", "f32[N, 1, H, W]", "no map of the picture"),
        ("output y = image -> flatten([2, 3])", "f32[N, 1, H, W]", "not a map"),
        ("output y = image -> permute([0, 1, 3, 2])", "f32[N, 1, H, W]", "own axis"),
        ("output y = image -> resize(2, mode=nearest)", "f32[N, 1, H, W]", "more pixels"),
        ("output y = image -> avg_pool(65, stride=1) -> avg_pool(8)",
         "f32[N, 1, H, W] where H >= 72, W >= 72", "lacks its border"),
        ("output y = image", "f32[2, 1, H, W]", "2 pictures"),
        ("output y = image", "bool[N, 1, H, W]", "bool"),
    ],
)  # fmt: skip
def test_networks_that_give_no_mask(body: str, image: str, word: str) -> None:
    assert word in refused(net(body, image=image), signs(40, 40))


def test_two_inputs_are_refused() -> None:
    text = (
        "seg 1\nnet Two() {\n input a: [N, 1, H, W]\n input b: [N, 1, H, W]\n output y = a + b\n}\n"
    )
    assert "2 inputs, `a` and `b`" in refused(segdsl.parse(text), signs(4, 4))


def test_a_result_that_is_no_number_is_an_error() -> None:
    graph = net("output y = image -> conv(2, 1) @c")
    broken = Weights({
        "c.weight": np.full((2, 1, 1, 1), np.nan, np.float32), "c.bias": np.zeros(2, np.float32),
    })  # fmt: skip
    with pytest.raises(SegError, match=r"E0114.*NaN"):
        segment(graph, broken, signs(4, 4))


# -- outputs

SEVERAL = """
output first = image
train output aux = image -> conv(1, 1) @aux
output second = image * -1.0
"""


def test_an_output_is_chosen_by_name() -> None:
    graph, values = net(SEVERAL), signs(5, 6)
    np.testing.assert_array_equal(classes(graph, values), values[0] > 0)
    np.testing.assert_array_equal(classes(graph, values, output="second"), values[0] < 0)
    assert "did you mean `second`" in refused(graph, values, output="secnd")
    assert "E0105" in refused(graph, values, output="aux")


def test_one_channel_is_told_at_one_half_whoever_takes_the_sigmoid() -> None:
    values = np.array([[[-3.0, -0.1, 0.1, 3.0]]], np.float32)
    for body in (
        "output y = image",
        "output y = image -> sigmoid",
        "output y = image -> sigmoid -> resize(like=image, mode=bilinear)",
        "output y = image -> hard_sigmoid",
    ):
        assert classes(net(body), values).tolist() == [[0, 0, 1, 1]]


def test_whole_numbers_are_classes_already() -> None:
    graph = net("output y = image -> argmax(channels)", image="f32[N, 4, H, W] where H % 4 == 0")
    values = RNG.random((4, 5, 6), dtype=np.float32)
    found = segment(graph, compiler.to_torch(graph), values)
    np.testing.assert_array_equal(found.classes, values.argmax(0))
    assert found.count is None


@pytest.mark.parametrize(("count", "kind"), [(2, "uint8"), (256, "uint8"), (257, "uint16")])
def test_more_than_256_classes_take_16_bits(count: int, kind: str) -> None:
    values = np.zeros((count, 2, 2), np.float32)
    values[count - 1, 0, 0] = 1
    graph = net("output y = image", image=f"f32[N, {count}, H, W]")
    found = classes(graph, values)
    assert found.dtype == kind
    assert found.tolist() == [[count - 1, 0], [0, 0]]


def test_the_module_is_left_as_it_was() -> None:
    graph = segdsl.load(UNET, channels=1, width=2, depth=1)
    module = compiler.to_torch(graph).train()
    part = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    part.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    segment(graph, module, signs(8, 8))
    assert module.training
    assert not part.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


# -- channels and values


def pictured(folder: Path, pixels: NDArray[np.uint8], name: str = "photo.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


class Recorder(torch.nn.Module):
    """Remembers what it was given; answers the first channel."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = image.clone()
        return image[:, :1].float()


def given_to(
    folder: Path, image: str, pixels: NDArray[np.uint8], **options: object
) -> torch.Tensor:
    channels = image.split(",")[1].strip()
    graph = net(f"output y = image -> slice(0, 1, axis=channels)  # of {channels}", image=image)
    recorder = Recorder()
    run(graph, recorder, pictured(folder, pixels), folder / "mask.png", **options)  # type: ignore[arg-type]
    return recorder.seen


GREY = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_greys_are_repeated_and_colours_are_weighed(tmp_path: Path) -> None:
    seen = given_to(tmp_path, "f32[N, 3, H, W]", GREY)
    np.testing.assert_array_equal(seen[0].numpy(), np.stack([GREY / np.float32(255)] * 3))
    seen = given_to(tmp_path, "f32[N, 1, H, W]", COLOUR)
    np.testing.assert_allclose(
        seen[0, 0].numpy() * 255, np.asarray(Image.fromarray(COLOUR).convert("L")), atol=0.51
    )


def test_bytes_stay_bytes(tmp_path: Path) -> None:
    graph = "u8[N, 3, H, W]"
    text = f"seg 1\nnet B() {{\n input image: {graph}\n output y = image\n}}\n"
    recorder = Recorder()
    run(segdsl.parse(text), recorder, pictured(tmp_path, COLOUR), tmp_path / "m.png")
    assert recorder.seen.dtype == torch.uint8
    np.testing.assert_array_equal(recorder.seen[0].numpy(), COLOUR.transpose(2, 0, 1))
    with pytest.raises(SegError, match=r"E0112.*bytes"):
        run(segdsl.parse(text), recorder, tmp_path / "photo.png", tmp_path / "n.png",
            normalisation=Normalisation((0.5,)))  # fmt: skip
    assert not (tmp_path / "n.png").exists()


def test_normalisation_is_that_of_torchvision(tmp_path: Path) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    seen = given_to(tmp_path, "f32[N, 3, H, W]", COLOUR, normalisation=Normalisation(mean, std))
    wanted = (COLOUR / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(seen[0].numpy(), wanted.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.5, 0.5), (1.0,)), ((0.5,), (0.0,)), ((0.5,), (-1.0,)), ((float("nan"),), (1.0,))],
)
def test_wrong_normalisations(mean: Sequence[float], std: Sequence[float]) -> None:
    wrong = Normalisation(tuple(mean), tuple(std))
    assert "E0112" in refused(net("output y = image"), signs(4, 4), normalisation=wrong)


def test_channels_that_do_not_fit(tmp_path: Path) -> None:
    graph = net("output y = image", image="f32[N, 4, H, W]")
    with pytest.raises(SegError, match=r"E0112.*3 channels, and this net takes 4"):
        run(graph, Recorder(), pictured(tmp_path, COLOUR), tmp_path / "m.png")
    assert "transpose" in refused(graph, np.zeros((6, 5, 4), np.float32))


# -- files


def test_the_mask_is_an_indexed_picture(tmp_path: Path) -> None:
    graph = net("output y = image - 0.5", image="f32[N, 3, H, W] where H % 8 == 0, W % 8 == 0")
    report = run(
        graph, compiler.to_torch(graph), pictured(tmp_path, COLOUR), tmp_path / "mask.png",
        overlay=tmp_path / "over.png",
    )  # fmt: skip
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), COLOUR.argmax(2))
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), palette()[COLOUR.argmax(2)])
    with Image.open(tmp_path / "over.png") as over:
        assert over.size == (6, 4)
        np.testing.assert_array_equal(
            np.asarray(over), overlay(COLOUR, report.segmentation.classes)
        )
    assert report.written == (tmp_path / "mask.png", tmp_path / "over.png")
    assert report.lines[0].startswith(f"{tmp_path / 'photo.png'} is 4x6; this net accepts")


def test_deep_masks_keep_their_classes() -> None:
    from io import BytesIO

    deep = np.array([[0, 255, 256, 65_535]], np.uint16)
    with Image.open(BytesIO(mask_png(deep))) as image:
        np.testing.assert_array_equal(np.asarray(image), deep)
    assert len(np.unique(colours_of(deep), axis=1)[0]) == 3  # 256 has the colour of 1, 65535 of 255


def test_the_palette_has_no_two_equal_colours() -> None:
    assert palette().shape == (256, 3)
    assert len(np.unique(palette(), axis=0)) == 256
    assert palette()[0].tolist() == [0, 0, 0]


def test_an_overlay_leaves_class_0_alone() -> None:
    index = np.zeros((6, 6), np.uint8)
    index[1:5, 1:5] = 1
    shown = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    over = overlay(shown, index)
    np.testing.assert_array_equal(over[index == 0], shown[index == 0])
    inner = borders(index) & (index == 1)
    np.testing.assert_array_equal(over[inner], np.broadcast_to(palette()[1], (12, 3)))
    assert (over[2:4, 2:4] != shown[2:4, 2:4]).any()


@pytest.mark.parametrize("name", ["mask.jpg", "mask", "photo.png", "none/mask.png", "over.png"])
def test_outputs_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    graph = net("output y = image")
    photo = pictured(tmp_path, GREY)
    before = photo.read_bytes()
    with pytest.raises(SegError, match="E0106"):
        run(graph, Recorder(), photo, tmp_path / name, overlay=tmp_path / "over.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert photo.read_bytes() == before


# -- the command


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, weights that copy the picture, and pictures."""
    monkeypatch.chdir(tmp_path)
    Path("copy.seg").write_text(
        "seg 1\nnet Copy() {\n  input image: f32[N, 1, H, W] where H % 16 == 0, W % 16 == 0\n"
        "  output mask = image -> conv(1, 1) @c\n}\n"
    )
    arrays = {"c.weight": np.ones((1, 1, 1, 1), np.float32), "c.bias": np.array([-0.5], np.float32)}
    Weights(arrays).to_safetensors("copy.safetensors")
    Image.fromarray(np.tile(GREY, (5, 3))).save("photo.png")
    return tmp_path


def command(*more: str, picture: str = "photo.png") -> int:
    return main(
        ["run", "copy.seg", "--weights", "copy.safetensors", picture, "-o", "mask.png", *more]
    )


def test_the_command_writes_the_mask_and_says_what_it_did(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--overlay", "over.png") == 0
    with Image.open("mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), np.tile(GREY, (5, 3)) > 127)
    said = capsys.readouterr().err
    assert "photo.png is 20x18; this net accepts H = 16k, k >= 1; W = 16k, k >= 1" in said
    assert "padded to 32x32 (reflect), cropped back" in said
    assert "wrote mask.png" in said
    assert "wrote over.png" in said


BAD_PICTURES = {
    "empty.png": b"",
    "text.png": b"seg 1",
    "cut.png": b"",
    "bytes.npy": b"\x93NUMPY\x01",
    "none.png": None,
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_an_error_and_nothing_is_written(
    shop: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content = BAD_PICTURES[name]
    if name == "cut.png":
        content = Path("photo.png").read_bytes()[:60]
    if content is not None:
        Path(name).write_bytes(content)
    before = {path.name for path in shop.iterdir()}
    assert command("--overlay", "over.png", picture=name) in (1, 2)
    said = capsys.readouterr().err
    assert "error" in said
    assert name in said
    assert "Traceback" not in said
    assert {path.name for path in shop.iterdir()} == before


def test_an_old_mask_survives_an_error(shop: Path) -> None:
    Path("mask.png").write_bytes(b"old")
    Path("text.png").write_text("no picture")
    assert command(picture="text.png") == 1
    assert Path("mask.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Image.new("L", (1, 1), 200),
        lambda: Image.fromarray(GREY),
        lambda: Image.fromarray(GREY.astype(np.uint16) * 257),
        lambda: Image.fromarray(COLOUR).convert("RGBA"),
        lambda: Image.fromarray(GREY).convert("LA"),
        lambda: Image.fromarray(COLOUR).convert("P"),
        lambda: Image.fromarray(GREY > 9),
    ],
    ids=["1x1", "grey", "16-bit", "alpha", "grey alpha", "palette", "bilevel"],
)
def test_every_kind_of_picture_has_a_mask_of_its_size(shop: Path, make: object) -> None:
    assert callable(make)
    image = make()
    image.save("other.png")
    assert command(picture="other.png") == 0
    with Image.open("mask.png") as mask:
        assert mask.size == image.size
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_a_fit_knows_whether_it_did_anything() -> None:
    graph = net("output y = image")
    found: Fit = segment(graph, compiler.to_torch(graph), signs(3, 3)).fit
    assert not found.padded
    assert not found.coarse
