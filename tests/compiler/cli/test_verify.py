"""`segdsl verify`: tables, JSON, messages to the letter, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.cli import main
from compiler.weights import Weights
from compiler.weights.files import read_safetensors
from tests.support.peers import need

need("torch")
need("onnxruntime")

PROGRAM = """\
seg 1
net Tiny(classes: int = 2) {
  input image: f32[N, 3, H, W] where H >= 2, W >= 2
  stem = image -> conv(8, 3, pad=1) @stem -> bn @norm -> relu
  output mask = stem -> max_pool(2) -> conv(classes, 1) @head
}
"""
ONE = ["--size", "9x8", "--batch", "2"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program and two sets of weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def weights(capsys: Streams) -> None:
    """Two sets of weights and an ONNX file of the first."""
    assert main(["weights", "net.seg", "-o", "a.safetensors"]) == 0
    assert main(["weights", "net.seg", "--seed", "1", "-o", "b.safetensors"]) == 0
    file = ["compile", "net.seg", "--target", "onnx", "--weights", "a.safetensors", "-o", "a.onnx"]
    assert main(file) == 0
    capsys.readouterr()


def test_a_pass_is_a_table_and_exit_0(capsys: Streams) -> None:
    assert main(["verify", "net.seg", *ONE]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "Tiny  net.seg  against float64 torch"
    assert lines[1] == "runs: 2x3x9x8 noise, 2x3x9x8 constant"
    heads = [line.split() for line in lines if ": stage" in line]
    figures = ["stage", "shape", "dtype", "max", "abs", "err", "relL2", "limit", "verdict"]
    assert heads == [["torch:", *figures], ["onnx:", *figures]]
    assert "torch: passes, 3 rows within the limits" in lines
    assert lines[-1] == "onnx: passes, 3 rows within the limits"


def test_a_departure_is_an_error_at_its_line_and_exit_1(capsys: Streams, weights: None) -> None:
    arrays = dict(read_safetensors("a.safetensors"))
    arrays["head.bias"] = arrays["head.bias"] + np.float32(1.0)
    Weights(arrays).to_safetensors("c.safetensors")
    command = ["verify", "net.seg", *ONE, "--weights", "a.safetensors", "--init", "own"]
    assert main(command) == 2
    command = [*command[:-2], "--against-weights", "c.safetensors"]
    capsys.readouterr()
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert "depart <- first, net.seg:5" in out
    assert out.splitlines()[-1] == "the other weights: departs, 2 of 3 rows over the limit"
    wanted = """\
error[E6020]: `the other weights` departs from the first weights at stage `mask`
 --> net.seg:5:40
  |
5 |   output mask = stem -> max_pool(2) -> conv(classes, 1) @head
  |                                        ^^^^^^^^^^^^^^^^^^^^^^ conv
  = note: err NUMBER, limit 1.0e-04, at 2x3x9x8 noise
  = note: 2 of 3 rows are over the limit; this is the first
  = explain: segdsl explain E6020

1 error in net.seg; nothing was written
"""
    assert re.sub(r"err \d\.\de[-+]\d\d", "err NUMBER", err) == wanted


def test_json_is_stable(capsys: Streams) -> None:
    assert main(["verify", "net.seg", *ONE, "--targets", "onnx", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert list(found) == [
        *("format", "version", "net", "file", "passed", "reference", "gate", "runs", "ways"),
        *("rows", "departures"),
    ]
    assert (found["format"], found["version"]) == ("segdsl.verify", 1)
    assert (found["net"], found["file"], found["passed"]) == ("Tiny", "net.seg", True)
    assert found["gate"] == {"kind": "err", "limit": 1e-4}
    run = {"symbols": {"N": 2, "H": 9, "W": 8}, "shape": [2, 3, 9, 8], "image": "noise"}
    assert found["runs"] == [run, {**run, "image": "constant"}]
    stem, mask, output = found["rows"]
    assert list(stem) == [
        *("target", "kind", "name", "operator", "file", "line", "run", "shape", "dtype"),
        *("max_abs", "err", "rel_l2", "agreement", "miou", "limit", "verdict"),
    ]
    stated = ("target", "kind", "name", "operator", "line", "shape", "dtype", "verdict")
    assert [stem[key] for key in stated] == [
        *("onnx", "stage", "stem", "relu", 4, [2, 8, 9, 8], "float32", "pass")
    ]
    assert [row["kind"] for row in (stem, mask, output)] == ["stage", "stage", "output"]
    assert found["departures"] == []
    page = (Path(compiler.__file__).parents[1] / "docs" / "verify.md").read_text("utf-8")
    assert [key for key in (*found, *stem) if f"`{key}`" not in page] == []


def test_json_of_a_departure_has_no_nan(capsys: Streams, weights: None) -> None:
    arrays = dict(read_safetensors("a.safetensors"))
    arrays["stem.weight"] = np.full_like(arrays["stem.weight"], np.nan)
    Weights(arrays).to_safetensors("nan.safetensors")
    command = ["verify", "net.seg", *ONE, "--weights", "nan.safetensors", "--json"]
    assert main(command) == 1
    out, err = capsys.readouterr()

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    found = json.loads(out, parse_constant=refuse)
    assert not found["passed"]
    assert [d["first"]["verdict"] for d in found["departures"]] == ["nan", "nan"]
    assert found["departures"][0]["first"]["err"] is None
    assert found["departures"][0]["node"]["name"] == "stem"
    assert found["departures"][0]["notes"] == ["the weight `stem.weight` holds NaN or infinity"]
    assert "error[E6021]: float64 torch is not finite at stage `stem`\n --> net.seg:4:" in err
    assert err.count("error[") == 1
    assert "the weight `stem.weight` holds NaN or infinity" in err


def test_all_and_worst(capsys: Streams) -> None:
    torch = ["verify", "net.seg", *ONE, "--targets", "torch"]
    assert main([*torch, "--all"]) == 0
    every = capsys.readouterr().out
    names = [line.split()[0] for line in every.splitlines() if line.endswith(" pass")]
    assert names == ["stem", "norm", "stem_2", "max_pool", "head", "output"]
    assert main([*torch, "--all", "--worst", "2"]) == 0
    worst = capsys.readouterr().out
    assert worst.count(" pass") == 2 + 1
    assert "rows no worse than these left out" in worst


def test_a_foreign_file(capsys: Streams, weights: None) -> None:
    own = ["verify", "net.seg", *ONE, "--weights", "a.safetensors", "--against", "a.onnx"]
    assert main(own) == 0
    assert "a.onnx: passes, 1 row within the limits" in capsys.readouterr().out
    assert main([*own, "--gate", "argmax", "--agreement", "1.0"]) == 0
    assert "agree" in capsys.readouterr().out
    assert main([*own, "--input", "image=image", "--output", "mask=mask"]) == 0
    other = [arg.replace("a.safe", "b.safe") for arg in own]
    assert main(other) == 1
    assert main(["verify", "net.seg", "--against", "absent.onnx"]) == 1
    assert "error[E6023]: `absent.onnx` cannot be compared: there is no such file" in (
        capsys.readouterr().err
    )


def test_another_program(folder: Path, capsys: Streams) -> None:
    text = PROGRAM.replace("max_pool", "avg_pool").replace("Tiny", "Other")
    (folder / "other.seg").write_text(text)
    command = ["verify", "net.seg", *ONE, "--against-spec", "other.seg"]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "error[E6020]: `other.seg` departs from net.seg at stage `mask`" in err
    assert main([*command[:-1], "net.seg"]) == 0
    assert main([*command[:-1], "net.seg", "--against-set", "classes=3"]) == 1
    assert "shape" in capsys.readouterr().out
    (folder / "broken.seg").write_text("seg 1\nnet")
    assert main([*command[:-1], "broken.seg"]) == 1
    assert "broken.seg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--targets", "tensorrt"], "error[E6022]: there is no target `tensorrt`"),
        (["--targets", "torhc"], "did you mean `torch`?"),
        (["--interpret"], "`--interpret` has no effect without the target `triton`"),
        (["--interpret", "--against", "a"], "`--interpret` has no effect"),
        (["--targets", ""], "there is no target ``"),
        (["--sizes", "9x8,x"], "`--size x` is not a size"),
        (["--batch", "0"], "`--batch 0`"),
        (["--batch", "1,"], "`--batch `"),
        (["--seed", "x"], "`--seed x`"),
        (["--worst", "0"], "`--worst 0`"),
        (["--worst", "3", "--json"], "no effect with `--json`"),
        (["--against", "a", "--against-spec", "b"], "cannot be given together"),
        (["--against", "a", "--against-weights", "b"], "cannot be given together"),
        (["--against", "a", "--targets", "torch"], "`--targets` has no effect"),
        (["--against", "a", "--all"], "`--all` has no effect"),
        (["--gate", "argmax", "--all"], "`--all` has no effect"),
        (["--against-weights", "b"], "needs `--weights`"),
        (["--against-net", "b"], "`--against-net` has no effect without `--against-spec`"),
        (["--against-set", "b=1"], "`--against-set` has no effect without `--against-spec`"),
        (["--input", "a=b"], "`--input` has no effect without"),
        (["--output", "a=b"], "`--output` has no effect without"),
        (["--against", "a", "--input", "ab"], "`--input ab` is not a pair of names"),
        (["--against", "a", "--input", "a=b", "--input", "a=c"], "names `a` twice"),
        (["--agreement", "0.9"], "no effect without `--gate argmax`"),
        (["--gate", "argmax", "--agreement", "nan"], "`--agreement nan`"),
        (["--gate", "argmax", "--agreement", "1.1"], "`--agreement 1.1`"),
        (["--init", "fixtures"], "invalid choice"),
        (["--strip-prefix", "module."], "has no effect without `--weights`"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], said: str, capsys: Streams) -> None:
    assert main(["verify", "net.seg", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_outputs_that_are_too_faint_are_told(folder: Path, capsys: Streams) -> None:
    text = PROGRAM.replace("  output mask = stem", "  small = stem * 1e-6\n  output mask = small")
    (folder / "net.seg").write_text(text)
    assert main(["verify", "net.seg", *ONE, "--targets", "torch"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].endswith("within the limits; 3 too faint to be judged")
    (said,) = err.splitlines()
    assert said.startswith("torch: every output is too faint to be judged, so this proves nothing")


def test_a_size_that_is_not_accepted(capsys: Streams) -> None:
    assert main(["verify", "net.seg", "--size", "1x8"]) == 1
    assert "error[E3014]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "extra", "arguments"),
    [
        ("torch", "torch", ["--targets", "torch"]),
        ("onnxruntime", "onnx", ["--targets", "onnx"]),
        ("onnx_ir", "onnx", ["--targets", "onnx"]),
        ("onnx", "onnx", ["--against", "net.seg"]),
        ("triton", "triton", ["--targets", "triton"]),
    ],
)
def test_a_missing_library_is_named_with_the_way_to_get_it(
    library: str, extra: str, arguments: list[str]
) -> None:
    """In a process of its own, in which the library cannot be imported."""
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from compiler.cli import main\n"
        f"sys.exit(main(['verify', 'net.seg', *{arguments!r}]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(compiler.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error[E0108]: this command needs the library `{library}`" in done.stderr
    assert f"pip install 'segdsl[{extra}]'" in done.stderr
