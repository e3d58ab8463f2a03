from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compiler.run.pictures import Picture, read_picture
from segdsl.diagnostics import SegError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str = "photo.png", **options: object) -> Path:
    path = folder / name
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(SegError) as caught:
        read_picture(path, **options)
    (diagnostic,) = caught.value.diagnostics
    assert "Traceback" not in diagnostic.message
    return f"{diagnostic.code} {diagnostic.message}"


def test_colours_are_channels_first_from_0_to_1(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOUR)))
    assert picture.values.dtype == np.float32
    np.testing.assert_array_equal(picture.values, COLOUR.transpose(2, 0, 1) / np.float32(255))
    np.testing.assert_array_equal(picture.shown(), COLOUR)
    assert picture.notes == ()


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif", "a.pgm", "a.webp"])
def test_greys_keep_one_channel_in_every_format(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    picture = read_picture(saved(tmp_path, Image.fromarray(GREY), name, **options))
    channels = 3 if name.endswith(("gif", "webp")) else 1  # those two know colours only
    assert picture.values.shape == (channels, 5, 7)
    np.testing.assert_array_equal(picture.values[0], GREY / np.float32(255))


def test_one_pixel(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path, Image.new("L", (1, 1), 51)))
    assert picture.values.tolist() == [[[pytest.approx(0.2)]]]


def test_bilevel(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path, Image.fromarray(GREY > 127)))
    np.testing.assert_array_equal(picture.values[0], GREY > 127)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_keep_all_their_values(tmp_path: Path, name: str) -> None:
    deep = np.array([[0, 1, 255, 256], [1000, 30_000, 65_534, 65_535]], np.uint16)
    picture = read_picture(saved(tmp_path, Image.fromarray(deep), name))
    np.testing.assert_allclose(picture.values[0] * 65_535, deep, atol=0.01)
    assert any("16 bits" in note for note in picture.notes)


def test_integers_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    wide = saved(tmp_path, Image.fromarray(np.array([[0, 70_000]], np.int32)), "a.tif")
    assert "E0110" in refusal(wide)
    assert "70000" in refusal(wide)


def test_floats_are_taken_from_0_to_1_only(tmp_path: Path) -> None:
    fine = saved(tmp_path, Image.fromarray(np.array([[0, 0.25, 1]], np.float32)), "a.tif")
    assert read_picture(fine).values.tolist() == [[[0, 0.25, 1]]]
    beyond = saved(tmp_path, Image.fromarray(np.array([[0, 255]], np.float32)), "b.tif")
    assert "E0110" in refusal(beyond)


def test_palettes_become_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture = read_picture(saved(tmp_path, image))
    np.testing.assert_array_equal(picture.shown(), [[[10, 20, 30], [200, 100, 50]]])


@pytest.mark.parametrize(
    ("mode", "inside", "channels"), [("RGBA", (10, 20, 30, 255), 3), ("LA", (40, 255), 1)]
)
def test_transparent_parts_are_laid_over_white(
    tmp_path: Path, mode: str, inside: tuple[int, ...], channels: int
) -> None:
    image = Image.new(mode, (2, 1), (*inside[:-1], 0))
    image.putpixel((0, 0), inside)
    picture = read_picture(saved(tmp_path, image))
    assert picture.channels == channels
    assert picture.shown()[0, 0].tolist() == (list(inside[:3]) if channels == 3 else [40] * 3)
    assert picture.shown()[0, 1].tolist() == [255, 255, 255]
    assert any("white" in note for note in picture.notes)


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).convert("RGBA")
    picture = read_picture(saved(tmp_path, image))
    np.testing.assert_array_equal(picture.shown(), COLOUR)
    assert picture.notes == ()


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture = read_picture(saved(tmp_path, image, transparency=0))
    np.testing.assert_array_equal(picture.shown(), [[[255, 255, 255], [200, 100, 50]]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turns = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1],
        5: COLOUR.swapaxes(0, 1), 6: np.rot90(COLOUR, -1),
        7: np.rot90(COLOUR, 2).swapaxes(0, 1), 8: np.rot90(COLOUR),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOUR), exif=exif))
    np.testing.assert_array_equal(picture.shown(), turns[orientation])
    assert bool(picture.notes) == (orientation != 1)


def test_the_first_of_several_frames(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 3), shade) for shade in (51, 102, 153)]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(path)
    assert np.unique(picture.shown()).tolist() == [51]
    assert any("3 frames" in note for note in picture.notes)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (2, 2), (0, 0, 0, 0)), "a.tif")
    assert read_picture(path).shown().min() == 255


# -- files that hold no picture


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.tif", "a.bmp"])
def test_every_truncation_is_one_clear_error(tmp_path: Path, name: str) -> None:
    whole = saved(tmp_path, Image.fromarray(COLOUR), name).read_bytes()
    for length in range(1, len(whole) - 13, max(len(whole) // 40, 1)):
        path = tmp_path / f"cut{name}"
        path.write_bytes(whole[:length])
        assert outcome(path) in ("E0110", "read" if length > len(whole) // 2 else "E0110")


def outcome(path: Path, **options: int) -> str:
    """`read`, or the code of the refusal; any other exception is the test's failure."""
    try:
        read_picture(path, **options)
    except SegError as error:
        return error.diagnostics[0].code
    return "read"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.gif"])
def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path, name: str) -> None:
    whole = bytearray(saved(tmp_path, Image.fromarray(COLOUR), name).read_bytes())
    draw = np.random.default_rng(1)
    path = tmp_path / f"flipped{name}"
    refused = 0
    for _ in range(60):
        broken = bytearray(whole)
        for place in draw.integers(0, len(whole), 3):
            broken[place] ^= int(draw.integers(1, 256))
        path.write_bytes(bytes(broken))
        refused += outcome(path, max_pixels=10_000) != "read"
    assert refused


def test_text_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_text("seg 1\n")
    assert "E0110" in refusal(path)
    assert "no picture" in refusal(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "photo.eps"
    Image.fromarray(COLOUR).save(path)
    assert "no picture" in refusal(path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.touch()
    assert "empty" in refusal(path)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    import os

    assert "E0101" in refusal(tmp_path / "none.png")
    assert "folder" in refusal(tmp_path)
    assert "E0101" in refusal(tmp_path / "a\0b.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refusal(tmp_path / "pipe.png")


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@pytest.mark.parametrize("side", [9_000, 40_000, 2**31 - 1])
def test_a_small_file_that_claims_a_huge_picture(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b""))
    assert "E0111" in refusal(path)


def test_the_limit_itself_is_accepted(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(GREY))
    assert read_picture(path, max_pixels=35).width == 7
    assert "E0111" in refusal(path, max_pixels=34)


# -- arrays


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_arrays_are_taken_as_they_are(tmp_path: Path, dtype: str) -> None:
    array = (RNG.standard_normal((5, 3, 4)) * 9).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    picture = read_picture(tmp_path / "a.npy")
    assert picture.is_array
    np.testing.assert_array_equal(picture.values, array.astype(np.float32))


def test_a_flat_array_is_one_channel(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(RNG.random((3, 4))))
    assert read_picture(tmp_path / "a.npy").values.shape == (1, 3, 4)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((2, 2), np.int64), "int64"),
        (np.zeros((2, 2), complex), "complex"),
        (np.zeros(4), "shape"),
        (np.zeros((1, 1, 2, 2)), "shape"),
        (np.zeros((3, 0, 2)), "shape"),
        (np.array([[np.nan]]), "NaN"),
        (np.array([[{"a": 1}]]), ".npy"),
    ],
)
def test_arrays_of_another_kind(tmp_path: Path, array: np.ndarray, word: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert word in refusal(tmp_path / "a.npy")


def test_files_that_only_look_like_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    whole = BytesIO()
    np.save(whole, np.zeros((4, 4)))
    for content in (b"\x93NUMPY", b"hello", whole.getvalue()[:-8], whole.getvalue()[:40]):
        path.write_bytes(content)
        assert "E0110" in refusal(path)
    np.savez(tmp_path / "b.npz", np.zeros(2))
    (tmp_path / "b.npz").rename(path)
    assert "archive" in refusal(path)


def test_arrays_are_shown_stretched() -> None:
    values = np.array([[[-2.0, 0.0, 2.0]]], np.float32)
    assert Picture("a", values, is_array=True).shown()[0, :, 0].tolist() == [0, 128, 255]
    flat = Picture("a", np.zeros((5, 1, 2), np.float32), is_array=True)
    assert flat.shown().shape == (1, 2, 3)
