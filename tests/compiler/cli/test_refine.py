from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.cli import main
from tests.support.peers import need
from tests.support.scenes import scene

torch = need("torch")
Image = need("PIL.Image")

Streams = pytest.CaptureFixture[str]
PLAIN = ["refine", "scores.npy", "photo.png", "-o", "mask.png"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a picture and scores of four classes for it."""
    monkeypatch.chdir(tmp_path)
    image, unary = scene(40, 52, 4)
    Image.fromarray(image).save("photo.png")
    np.save("scores.npy", -unary)
    return tmp_path


def field(**options: Any) -> Any:
    """What the CRF itself makes of the files."""
    from compiler.crf import bilateral, gaussian, mean_field

    scores = torch.from_numpy(np.load("scores.npy"))[None]
    guide = torch.from_numpy(np.array(Image.open("photo.png"))).permute(2, 0, 1)[None]
    settings: dict[str, Any] = {
        "g": (3, 3.0),
        "b": (10, 80.0, 13.0),
        "norm": "symmetric",
        "iterations": 5,
    }
    settings |= options
    (gw, gs), (bw, bs, bc), norm = (settings.pop(key) for key in ("g", "b", "norm"))
    terms = [gaussian(gs, compat=gw, norm=norm), bilateral(guide, bs, bc, compat=bw, norm=norm)]
    return mean_field(scores, terms, **settings)[0].numpy()


def mask() -> Any:
    return np.array(Image.open("mask.png"))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--preset", "deeplab_v1"], {"b": (4, 49, 5), "iterations": 10}),
        (["--preset", "deeplab_v2_vgg"], {"g": (2, 2), "b": (4, 65, 3), "iterations": 10}),
        (["--preset", "deeplab_v2_resnet"], {"g": (3, 1), "b": (4, 67, 3), "iterations": 10}),
        (["--preset", "crfasrnn"], {"b": (5, 160, 3), "norm": "after", "iterations": 10}),
        (["--iterations", "2", "--norm", "before"], {"iterations": 2, "norm": "before"}),
        (["--gaussian-weight", "1.5", "--gaussian-sxy", "2,4"], {"g": (1.5, (2, 4))}),
        (["--bilateral-weight", "1,2,3,4"], {"b": ((1.0, 2.0, 3.0, 4.0), 80, 13)}),
        (["--bilateral-sxy", "20,30", "--bilateral-srgb", "9,10,11"],
         {"b": (10, (20, 30), (9, 10, 11))}),
        (["--unary-weight", "0.7"], {"unary_weight": 0.7}),
        (["--method", "window", "--window", "5", "--blur", "2", "--exclude-self"],
         {"method": "window", "window": 5, "blur": 2, "include_self": False}),
        (["--method", "exact", "--tail", "0"], {"method": "exact", "tail": 0.0}),
        (["--method", "window", "--start", "log_softmax"],
         {"method": "window", "start": "log_softmax"}),
        (["--returns", "log_proba"], {"returns": "log_proba"}),
        (["--given", "energy"], {"given": "energy"}),
    ],
)  # fmt: skip
def test_every_option_reaches_the_field(arguments: list[str], options: dict[str, Any]) -> None:
    assert main([*PLAIN, "--refined", "refined.npy", *arguments]) == 0
    wanted = field(**options)
    np.testing.assert_array_equal(np.load("refined.npy"), wanted)
    np.testing.assert_array_equal(mask(), wanted.argmax(0))


def test_weights_of_zero_leave_kernels_out() -> None:
    assert main([*PLAIN, "--gaussian-weight", "0", "--bilateral-weight", "0"]) == 0
    np.testing.assert_array_equal(mask(), np.load("scores.npy").argmax(0))


def test_convcrf_compares_colours_alone() -> None:
    """Its update, written down: 0.8 of the scores and 0.2 of two kernels in a window."""
    from compiler.crf import gaussian, mean_field, pairwise

    assert main([*PLAIN, "--preset", "convcrf", "--refined", "refined.npy"]) == 0
    scores = torch.from_numpy(np.load("scores.npy"))[None]
    guide = torch.from_numpy(np.array(Image.open("photo.png"))).permute(2, 0, 1)[None]
    terms = [gaussian(3, compat=0.2 * 3, norm="none"), pairwise(guide, 13, compat=2, norm="none")]
    settings: dict[str, Any] = {
        "method": "window",
        "window": 11,
        "blur": 4,
        "iterations": 5,
        "unary_weight": 0.8,
    }
    wanted = mean_field(scores, terms, **settings)[0].numpy()
    np.testing.assert_allclose(np.load("refined.npy"), wanted, atol=1e-6)


def test_probabilities_and_a_leading_axis() -> None:
    assert main([*PLAIN, "--refined", "a.npy"]) == 0
    scores = np.load("scores.npy")
    p = np.exp(scores) / np.exp(scores).sum(0)
    np.save("scores.npy", p[None].astype(np.float64))
    assert main([*PLAIN, "--given", "proba", "--refined", "b.npy"]) == 0
    np.testing.assert_allclose(np.load("a.npy"), np.load("b.npy"), atol=0.02)


def test_the_panel_shows_three_pictures(capsys: Streams) -> None:
    assert main([*PLAIN, "--panel", "panel.png"]) == 0
    err = capsys.readouterr().err
    assert re.search(r"^\d+\.\d\d % of the pixels changed", err)
    assert err.splitlines()[1:] == ["wrote mask.png", "wrote panel.png"]
    page = np.array(Image.open("panel.png"))
    photo = np.array(Image.open("photo.png"))
    assert page.shape == (40 + 46, 3 * 312 + 12, 3)
    np.testing.assert_array_equal(page[34:74, 12:64], photo)
    before, after = page[34:74, 324:376], page[34:74, 636:688]
    assert (before != after).any()


def test_small_scores_are_enlarged_where_asked() -> None:
    scores = np.load("scores.npy")
    np.save("scores.npy", scores[:, ::4, ::4])
    assert main(PLAIN) == 1
    assert not Path("mask.png").exists()
    assert main([*PLAIN, "--resize"]) == 0
    assert mask().shape == (40, 52)


def test_a_grey_picture_is_three_channels(capsys: Streams) -> None:
    grey = Image.open("photo.png").convert("L")
    grey.save("grey.png")
    Image.merge("RGB", [grey] * 3).save("photo.png")
    assert main([*PLAIN, "--refined", "a.npy"]) == 0
    assert "taken as" not in capsys.readouterr().err
    arguments = ["refine", "scores.npy", "grey.png", "-o", "mask.png", "--refined", "b.npy"]
    assert main(arguments) == 0
    assert "three equal channels" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))


def test_arrays_as_pictures(capsys: Streams) -> None:
    photo = np.array(Image.open("photo.png")).transpose(2, 0, 1).astype(np.float32)
    np.save("photo.npy", photo)
    assert main([*PLAIN, "--refined", "a.npy"]) == 0
    array = ["refine", "scores.npy", "photo.npy", "-o", "mask.png", "--refined", "b.npy"]
    assert main(array) == 0
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    assert "meant for" not in capsys.readouterr().err
    np.save("photo.npy", photo / 255)
    assert main(array) == 0
    assert "sees no edges: is it meant for [0, 255]?" in capsys.readouterr().err


def test_doubtful_values_are_said(capsys: Streams) -> None:
    scores = np.load("scores.npy")
    np.save("scores.npy", np.exp(scores) / np.exp(scores).sum(0))
    assert main(PLAIN) == 0
    assert "looks like probabilities: add `--given proba`" in capsys.readouterr().err
    np.save("scores.npy", np.exp(scores[:3]) / np.exp(scores).sum(0))
    assert main([*PLAIN, "--given", "proba"]) == 0
    assert "do not sum to 1" in capsys.readouterr().err
    np.save("scores.npy", scores[:1])
    assert main(PLAIN) == 0
    assert "one class: there is nothing to decide" in capsys.readouterr().err


def with_value(value: float) -> np.ndarray[Any, Any]:
    scores: np.ndarray[Any, Any] = np.load("scores.npy")
    scores[2, 5, 7] = value
    return scores


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: with_value(np.nan), "E0115", "holds 1 NaN, the first at class 2, row 5, column 7"),
        (lambda: with_value(np.inf), "E0115", "infinite scores at row 5, column 7"),
        (lambda: np.load("scores.npy").argmax(0), "E0110", "save the scores before the argmax"),
        (lambda: np.zeros((2, 4, 40, 52)), "E0115", "save one image"),
        (lambda: np.zeros((40, 52)), "E0115", r"are [40, 52], not [C, H, W]"),
        (lambda: np.zeros((0, 40, 52)), "E0115", "not [C, H, W]"),
        (lambda: np.zeros((4, 52, 40)), "E0115", "one of them is turned"),
        (lambda: np.zeros((40, 52, 4)), "E0115", "scores.transpose(2, 0, 1)"),
        (lambda: np.zeros((4, 20, 26)), "E0115", "are 20 x 26, the picture is 40 x 52"),
        (lambda: np.array([{}], object), "E0110", "no array in numpy's .npy format"),
        (lambda: np.zeros((4, 40, 52), complex), "E0110", "complex128, not floats"),
    ],
)
def test_bad_scores(make: Any, code: str, words: str, capsys: Streams) -> None:
    np.save("scores.npy", make())
    assert main(PLAIN) == 1
    err = capsys.readouterr().err
    assert f"error[{code}]" in err
    assert words in err
    assert not Path("mask.png").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--classes", "21"], 1, "the scores have 4 classes [4, 40, 52], not 21"),
        (["--bilateral-weight", "1,2"], 1, "gives 2 numbers, and the scores have 4 classes"),
        (["--unary-weight", "1,2"], 1, "gives 2 numbers, and the scores have 4 classes"),
        (["--given", "proba"], 1, "which are no probabilities"),
        (["--bilateral-srgb", "1,2"], 1, "one number or 3, not [2]"),
        (["--bilateral-sxy", "1e-9"], 1, "raise the sigmas"),
        (["--preset", "deeplab_v2_resnte"], 2, "did you mean `deeplab_v2_resnet`?"),
        (["--iterations", "-1"], 2, "whole number from 0"),
        (["--window", "5"], 2, "`--window` is for `--method window`"),
        (["--method", "window", "--window", "6"], 2, "a window has an odd side"),
        (["--method", "window", "--blur", "3"], 2, "1 or an even number"),
        (["--tail", "0.1"], 2, "`--tail` is for `--method exact`"),
        (["--method", "exact", "--tail", "2"], 2, "it lies in [0, 1)"),
        (["--exclude-self"], 2, "cannot leave out a pixel's own message"),
        (["--bilateral-srgb", "0"], 2, "a sigma is above 0"),
        (["--gaussian-sxy", "1,2,3"], 2, "one number, or x and y"),
        (["--gaussian-sxy", "nan"], 2, "is not a number or a list"),
        (["--gaussian-weight", "3;4"], 2, "is not a number or a list"),
        (["--returns", "logits"], 2, "is for `--refined`, which is not given"),
        (["--refined", "r.txt"], 2, "refined scores are .npy files"),
        (["--refined", "scores.npy"], 2, "it is the file that is read"),
        (["--panel", "mask.png"], 2, "the file of the mask"),
        (["--panel", "no/panel.png"], 2, "there is no folder `no`"),
    ],
)
def test_wrong_use(arguments: list[str], exit_code: int, words: str, capsys: Streams) -> None:
    kept = Path("scores.npy").read_bytes()
    assert main([*PLAIN, *arguments]) == exit_code
    assert words in capsys.readouterr().err
    assert sorted(p.name for p in Path().iterdir()) == ["photo.png", "scores.npy"]
    assert Path("scores.npy").read_bytes() == kept


@pytest.mark.parametrize("broken", ["photo.png", "scores.npy"])
@pytest.mark.parametrize("how", ["missing", "empty", "junk", "folder"])
def test_unreadable_files(broken: str, how: str, capsys: Streams) -> None:
    path = Path(broken)
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(b"" if how == "empty" else b"\x93NUMPYjunk" * 9)
    assert main(PLAIN) in (1, 2)
    assert re.search(r"error\[E01(01|10)\]", capsys.readouterr().err)
    assert not Path("mask.png").exists()
