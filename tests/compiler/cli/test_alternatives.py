"""A checkpoint of another variant: E5003 says with which setting it fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.cli import main

PROGRAM = """\
seg 1
net Tiny(kind: oneof("small", "wide", "deep") = "small", bias: bool = true, classes: int = 2) {
  input image: f32[N, 3, H, W]
  width = 16 if kind == "wide" else 8
  var x = image -> conv(width, 3, pad=1, bias=bias) @stem
  for i in range(30 if kind == "deep" else 3) { x = x -> relu -> conv(width, 1) @body.{i} }
  output mask = x -> conv(classes, 1) @head
}
"""

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    return tmp_path


def complaint(capsys: Streams, made: list[str], read: list[str], command: str = "check") -> str:
    """What is said about a checkpoint of the net with some settings, read with others."""
    assert main(["weights", "net.seg", *made, "-o", "made.safetensors"]) == 0
    capsys.readouterr()
    assert main([command, "net.seg", *read, "--weights", "made.safetensors"]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("setting", ["kind=wide", "kind=deep", "bias=false"])
def test_the_setting_is_named(setting: str, capsys: Streams) -> None:
    found = complaint(capsys, ["--set", setting], [])
    assert found.count("it fits this net with") == 1
    assert f" = note: it fits this net with `{setting}`\n" in found
    assert next(line for line in found.splitlines() if " = help: " in line).endswith(setting)


def test_from_another_variant_back_to_the_default(capsys: Streams) -> None:
    found = complaint(capsys, [], ["--set", "kind=deep"])
    assert " = note: it fits this net with `kind=small`\n" in found


def test_settings_that_were_given_stay(capsys: Streams) -> None:
    both = ["--set", "kind=wide", "--set", "classes=5"]
    found = complaint(capsys, both, ["--set", "classes=5"])
    assert " = note: it fits this net with `kind=wide`\n" in found
    other = complaint(capsys, both, [])
    assert "it fits this net with" not in other  # two settings differ, and 2 of 10 weights


def test_a_few_weights_may_still_differ(capsys: Streams) -> None:
    found = complaint(capsys, ["--set", "kind=deep", "--set", "classes=5"], [])
    assert " = note: it fits this net with `kind=deep` but for 2 weights\n" in found


def test_another_number_of_classes_is_no_variant(capsys: Streams) -> None:
    found = complaint(capsys, ["--set", "classes=5"], [])
    assert "it fits this net with" not in found
    assert "help: if these are the classes: --set classes=5\n" in found


def test_other_commands_say_it_too(capsys: Streams) -> None:
    assert main(["weights", "net.seg", "--set", "kind=wide", "-o", "made.safetensors"]) == 0
    capsys.readouterr()
    file = ["compile", "net.seg", "--target", "torch", "--weights", "made.safetensors"]
    assert main([*file, "-o", "net.py"]) == 1
    assert "help: --set kind=wide\n" in capsys.readouterr().err
    assert not Path("net.py").exists()


def test_an_internimage_of_another_size(capsys: Streams) -> None:
    short = ["--set", "depths=[1,1,1,1]", "--set", "channels=16"]
    made = ["--set", "variant=B", *short]
    assert main(["weights", "internimage", *made, "-o", "b.safetensors"]) == 0
    capsys.readouterr()
    assert main(["check", "internimage", *short, "--weights", "b.safetensors"]) == 1
    assert "help: --set variant=S\n" in capsys.readouterr().err  # S and B differ in width only
