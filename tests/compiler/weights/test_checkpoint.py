from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler.weights import Weights, load_with_report
from compiler.weights.checkpoint import RefusedError, contents_of
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.types import Param

NET = {"a.weight": Param((4, 3, 3, 3)), "a.bias": Param((4,)), "n": Param((), dtype="i64")}


def state() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    return OrderedDict(
        {"a.weight": torch.randn(4, 3, 3, 3), "a.bias": torch.randn(4), "n": torch.tensor(3)}
    )


def fits(weights: Weights, expected: dict[str, torch.Tensor]) -> bool:
    return list(weights) == list(expected) and all(
        np.array_equal(weights[name], tensor.detach().numpy()) for name, tensor in expected.items()
    )


def refusal(path: Path) -> Diagnostic:
    with pytest.raises(SegError) as caught:
        load_with_report(path, NET)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E5011"
    assert path.name in diagnostic.message
    return diagnostic


@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip(tmp_path: Path, zipped: bool) -> None:
    torch.save(state(), tmp_path / "x.dat", _use_new_zipfile_serialization=zipped)
    loaded = load_with_report(tmp_path / "x.dat", NET)
    assert fits(loaded.weights, state())
    assert loaded.report.format == "torch"
    assert loaded.report.opened == ()


def test_wrappers_are_opened_and_reported(tmp_path: Path) -> None:
    checkpoint = {"epoch": 3, "model": {"state_dict": state(), "meta": "x"}, "optimizer": {"lr": 1}}
    torch.save(checkpoint, tmp_path / "x.pt")
    loaded = load_with_report(tmp_path / "x.pt", NET)
    assert fits(loaded.weights, state())
    assert loaded.report.opened == ("model", "state_dict")
    ignored = dict(loaded.report.ignored)
    assert ignored == {"epoch": "a int", "optimizer": "a table of 1 entries", "meta": "a str"}


def test_entries_that_are_no_tensors_are_listed(tmp_path: Path) -> None:
    entries: dict[Any, Any] = {**state(), "mask_values": [0, 1], 7: torch.ones(2)}
    torch.save(entries, tmp_path / "x.pt")
    loaded = load_with_report(tmp_path / "x.pt", NET)
    assert dict(loaded.report.ignored) == {
        "mask_values": "a list",
        "7": "a tensor without a proper name",
    }


def test_element_types_and_layouts(tmp_path: Path) -> None:
    tensors = {
        "a.weight": state()["a.weight"].to(memory_format=torch.channels_last),
        "a.bias": torch.nn.Parameter(state()["a.bias"].to(torch.bfloat16)),
        "n": torch.tensor(3, dtype=torch.int32),
    }
    torch.save(tensors, tmp_path / "x.pt")
    loaded = load_with_report(tmp_path / "x.pt", NET)
    assert np.array_equal(loaded.weights["a.weight"], state()["a.weight"].numpy())
    assert np.array_equal(loaded.weights["a.bias"], tensors["a.bias"].detach().float().numpy())
    assert loaded.weights["n"].dtype == np.int64
    assert loaded.report.converted == (("a.bias", "bf16", "f32"), ("n", "i32", "i64"))


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "protocol 0"])
def test_code_is_never_run(tmp_path: Path, form: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "x.pt"
    hostile = {**state(), "x": Evil(str(mark))}
    if form in ("zip", "legacy"):
        torch.save(hostile, path, _use_new_zipfile_serialization=form == "zip")
    else:
        path.write_bytes(pickle.dumps({"x": Evil(str(mark))}, 0 if form == "protocol 0" else 2))
    diagnostic = refusal(path)
    assert not mark.exists()
    if form in ("zip", "legacy"):
        assert "`posix.mkdir`" in diagnostic.message
        assert "no code was run" in diagnostic.message
    # The trap works: the same pickle makes the folder where code may run.
    pickle.loads(pickle.dumps(Evil(str(mark))))
    assert mark.exists()


def test_expanded_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({**state(), "a.bias": torch.zeros(1).expand(2**34)}, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 10_000
    message = refusal(tmp_path / "x.pt").message
    assert "17179869184" in message
    assert "same 4 bytes" in message


def overlapping() -> torch.Tensor:
    return torch.arange(6.0).as_strided((2, 3), (1, 1))


def test_overlap_and_order_of_strides() -> None:
    with pytest.raises(RefusedError, match="share"):
        contents_of({"x": overlapping()})
    fine = {
        "t": torch.ones(3, 4).T,
        "view": torch.ones(100)[10:20],
        "steps": torch.ones(10, 10)[::2, ::3],
        "scalar": torch.tensor(1.0),
        "none": torch.ones(0, 5).expand(0, 5),
        "one": torch.ones(1, 1).expand(1, 1),
    }
    assert list(contents_of(fine).tensors) == list(fine)


def test_contents_that_are_not_a_state_dict() -> None:
    deep: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(3):
        deep = {"model": deep}
    assert contents_of(deep).opened == ["model"] * 3
    for value, words in [
        ({"model": deep}, "deeper than 3"),
        ([1], "a list"),
        ({}, "an empty table"),
        ({"epoch": 3}, "only `epoch`"),
    ]:
        with pytest.raises(RefusedError, match=words):
            contents_of(value)
    odd = {"w": torch.ones(1), "c": torch.ones(1, dtype=torch.complex64)}
    odd |= {"s": torch.eye(2).to_sparse(), "m": torch.ones(2, device="meta")}
    assert list(contents_of(odd).tensors) == ["w"]
    assert [name for name, _ in contents_of(odd).ignored] == ["c", "s", "m"]


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(state(), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for member in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"script/{member}", b"\x80\x02}.")
    with tarfile.open(tmp_path / "old.pt", "w") as tar:
        tar.add(path, "sys_info")
    np.savez(tmp_path / "n.npz", a=np.ones(3))
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 10_000_000)
    cases = {
        "cut.pt": (whole[:-700], "cut short"),
        "text.pt": (b"hello\nworld", "begins as text: `hello`"),
        "noise.pt": (b"\x01\x02\x03\xfe" * 9, "begins with the bytes 01 02 03 fe"),
        "pickle.pt": (b"\x80\x02" + b"\xff" * 30, "E5011"),
        "empty.pt": (b"", "empty"),
        "keras.h5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "HDF5"),
        "script.pt": (None, "TorchScript"),
        "old.pt": (None, "tar archive"),
        "n.npz": (None, "not one that torch.save wrote"),
        "bomb.pt": (None, "compressed"),
    }
    for name, (data, words) in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        diagnostic = refusal(tmp_path / name)
        assert words in f"{diagnostic.code} {diagnostic.message}"


@pytest.mark.parametrize("count", [1 << 29, 1 << 37])
def test_a_storage_that_claims_much_memory_is_refused(tmp_path: Path, count: int) -> None:
    # A bare pickle allocates what it claims before it reads: 2 GiB, 512 GiB.
    path = tmp_path / "x.pt"
    torch.save({"a": torch.zeros(1234)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    claim = b"M" + (1234).to_bytes(2, "little")
    assert data.count(claim) == 2
    path.write_bytes(data.replace(claim, b"\x8a\x05" + count.to_bytes(5, "little")))
    assert "more memory than a file of its size" in refusal(path).message


def test_the_reader_needs_no_torch_of_its_own(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pt")
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the current folder ran')")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from compiler.weights import load\n"
        "from segdsl.types import Param\n"
        "net = {'a.weight': Param((4, 3, 3, 3)), 'a.bias': Param((4,))}\n"
        "net['n'] = Param((), dtype='i64')\n"
        "print(len(load('x.pt', net)), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "3 False\n"
    assert done.stderr == ""
