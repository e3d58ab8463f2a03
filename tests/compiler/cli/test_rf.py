from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import compiler.cli.rf
from compiler.cli import main

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0
  image -> conv(4, 3, pad=1) @stem -> relu as top -> max_pool(2)
        -> conv(4, 3, pad=2, dilation=2) @deep -> relu as deep
  up = deep -> conv_transpose(4, 2, stride=2) @up
  output mask = concat([top, up]) -> conv(classes, 1) @head
}
"""

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)


def data(capsys: Streams, *options: str) -> dict[str, Any]:
    assert main(["rf", "net.seg", "--json", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: Streams, code: int, *options: str) -> str:
    assert main(["rf", *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_the_table_on_stdout(capsys: Streams) -> None:
    assert main(["rf", "net.seg"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert rows["deep"][:5] == ["deep", "relu", "H//2", "2", "12"]
    assert "accepts H = 4k, k >= 1; W = 4k, k >= 1" in out


def test_only_the_stages_that_were_named(capsys: Streams) -> None:
    found = data(capsys, "--at", "up", "--at", "stem")
    assert [stage["name"] for stage in found["stages"]] == ["up", "stem"]


def test_every_node(capsys: Streams) -> None:
    some, every = data(capsys), data(capsys, "--all")
    names = [stage["name"] for stage in every["stages"]]
    assert {stage["name"] for stage in some["stages"]} < set(names)
    assert "stem" in names


def test_a_size_and_a_pixel(capsys: Streams) -> None:
    found = data(capsys, "--size", "32x48", "--pixel", "0,5", "--at", "deep")
    (stage,) = found["stages"]
    assert found["size"] == {"h": 32, "w": 48}
    assert stage["pixel"]["at"] == [0, 5]
    assert stage["pixel"]["rows"] == [0, 6]
    assert stage["pixel"]["cols"] == [5, 16]


def test_settings_and_stock_names(capsys: Streams) -> None:
    assert main(["rf", "resnet", "--set", "depth=50", "--at", "layer4", "--json"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert stage["axes"]["h"]["rf_max"] == 427


def test_an_explanation_adds_up(capsys: Streams) -> None:
    found = data(capsys, "--explain", "mask")
    (told,) = found["explain"]
    assert [stage["name"] for stage in found["stages"]] == ["mask"]
    sides = sum(share["left"] is not None for share in told["shares"])
    assert sides > 2
    assert told["field"] == found["stages"][0]["axes"]["h"]["rf_max"]
    assert main(["rf", "net.seg", "--explain", "deep"]) == 0
    assert "`deep` reads 12 = 1 + 11/2 before + 11/2 behind" in capsys.readouterr().out


def test_gaps(capsys: Streams) -> None:
    assert data(capsys, "--gaps")["gaps"] == []
    Path("holes.seg").write_text(PROGRAM.replace("conv(4, 3, pad=1)", "conv(4, 1)"))
    assert main(["rf", "holes.seg", "--gaps", "--json", "--at", "deep"]) == 0
    (gap,) = json.loads(capsys.readouterr().out)["gaps"]
    assert (gap["stage"], gap["length"], gap["reads"]) == ("deep", 10, [-4, -3, 0, 1, 4, 5])
    assert main(["rf", "net.seg", "--gaps"]) == 0
    assert "no gaps" in capsys.readouterr().out


def test_effective_without_torch(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.cli.rf, "find_spec", lambda name: None)
    assert main(["rf", "net.seg", "--effective", "--at", "deep"]) == 0
    out, err = capsys.readouterr()
    assert "uniform weights" in out
    assert "gradients" not in out
    assert "torch is not installed" in err
    assert main(["rf", "net.seg", "--effective", "--weights", "w.safetensors"]) == 2
    assert "E0108" in capsys.readouterr().err


def test_effective_with_the_weights_of_a_file(capsys: Streams) -> None:
    pytest.importorskip("torch")
    assert main(["weights", "net.seg", "-o", "w.safetensors"]) == 0
    capsys.readouterr()
    options = ["--effective", "--at", "deep", "--size", "24x24"]
    found = data(capsys, *options, "--weights", "w.safetensors")["effective"]
    plain = data(capsys, *options)["effective"]
    assert found[0]["gradients"]["weights"] == "w.safetensors"
    assert plain[0]["gradients"]["weights"] == "initial"
    assert found[0]["gradients"]["sides"] == plain[0]["gradients"]["sides"]
    assert found[0]["uniform"]["h"]["widths"][-1] <= 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["net.seg", "--at", "dep"], ["E0105", "did you mean `deep`?"]),
        (["net.seg", "--explain", "dep"], ["E0105", "did you mean `deep`?"]),
        (["net.seg", "--input", "picture"], ["E0105", "image"]),
        (["net.seg", "--pixel", "1,1"], ["E0107", "--size"]),
        (["net.seg", "--pixel", "1x1", "--size", "8x8"], ["E0107", "row and column"]),
        (["net.seg", "--pixel", "9,0", "--size", "8x8"], ["E0105", "8x8"]),
        (["net.seg", "--all", "--at", "deep"], ["E0107", "--all"]),
        (["net.seg", "--size", "0"], ["E0107", "--size"]),
        (["net.seg", "--picture", "p.png"], ["E0107", "--plot"]),
        (["net.seg", "--weights", "w.safetensors"], ["E0107", "--effective"]),
        (["net.seg", "--key-map", "w.toml"], ["E0107", "--weights"]),
        (["net.seg", "--plot", "rf.jpg"], ["E0107", ".png"]),
        (["net.seg", "--plot", "nowhere/rf.png"], ["E0106", "folder"]),
        (["net.seg", "--plot", "rf.png", "--picture", "no.png"], ["E0101"]),
        (["none.seg"], ["E0101"]),
    ],
)
def test_wrong_use(options: list[str], words: list[str], capsys: Streams) -> None:
    err = refused(capsys, 2, *options)
    for word in words:
        assert word in err
    assert list(Path().glob("*.png")) == []


def test_a_size_that_is_not_accepted(capsys: Streams) -> None:
    err = refused(capsys, 1, "net.seg", "--size", "30x32")
    assert "E3014" in err
    assert "nearest: 28 or 32" in err


def test_a_net_without_a_spatial_input(capsys: Streams) -> None:
    Path("flat.seg").write_text(
        "seg 1\nnet A() {\n  input x: f32[N, 4]\n  output y = x -> linear(3) @fc\n}\n"
    )
    assert "no input with height and width" in refused(capsys, 1, "flat.seg")


def test_a_wrong_program(capsys: Streams) -> None:
    Path("net.seg").write_text(PROGRAM.replace("relu", "rellu"))
    assert "E1001" in refused(capsys, 1, "net.seg")


def test_a_plot_is_written_whole(capsys: Streams) -> None:
    Image.new("RGB", (60, 44), (90, 160, 90)).save("p.png")
    assert main(["rf", "net.seg", "--plot", "rf.png", "--picture", "p.png"]) == 0
    out, err = capsys.readouterr()
    assert "wrote rf.png" in err
    assert "stage" in out
    with Image.open("rf.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000
    assert sorted(p.name for p in Path().iterdir()) == ["net.seg", "p.png", "rf.png"]


def test_a_plot_of_a_pixel(capsys: Streams) -> None:
    options = ["--size", "32x48", "--pixel", "0,5", "--at", "deep", "--plot", "rf.png"]
    assert main(["rf", "net.seg", *options]) == 0
    with Image.open("rf.png") as image:
        assert image.width > 1000


def test_the_program_is_never_overwritten(capsys: Streams) -> None:
    Path("net.png").write_text(PROGRAM)
    assert "E0106" in refused(capsys, 2, "net.png", "--plot", "net.png")
    assert Path("net.png").read_text() == PROGRAM


def test_without_scikit_image_a_grid_is_drawn(
    capsys: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    import compiler.cli.rf_plot

    monkeypatch.setattr(compiler.cli.rf_plot, "find_spec", lambda name: None)
    assert main(["rf", "net.seg", "--plot", "rf.png", "--at", "deep"]) == 0
    with Image.open("rf.png") as image:
        assert len(image.getcolors(1 << 24) or []) > 2


def test_nothing_to_draw(capsys: Streams) -> None:
    Path("g.seg").write_text(
        "seg 1\nnet A() {\n  input x: f32[N, 1, H, W]\n  output y = x -> global_avg_pool\n}\n"
    )
    assert "nothing can be drawn" in refused(capsys, 2, "g.seg", "--plot", "rf.png")
    assert not Path("rf.png").exists()
