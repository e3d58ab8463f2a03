from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.files import replacing
from compiler.weights.files import (
    MAX_HEADER,
    file_digest,
    read_safetensors,
    write_safetensors,
)
from compiler.weights.table import Array
from segdsl.diagnostics import SegError

KINDS = ["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Array]:
    names = draw(st.lists(st.text(min_size=1, max_size=8), max_size=6, unique=True))
    table = {}
    for name in names:
        if name == "__metadata__" or any(0xD800 <= ord(c) < 0xE000 for c in name):
            continue
        kind = np.dtype(draw(st.sampled_from(KINDS)))
        shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
        size = int(np.prod(shape, dtype=int)) * kind.itemsize
        data = draw(st.binary(min_size=size, max_size=size))
        raw = np.frombuffer(data, np.uint8)
        table[name] = (raw & 1 if kind == np.bool_ else raw).view(kind).reshape(shape)
    return table


def same(left: Array, right: Array) -> bool:
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


@given(tables())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_bytes_equal_those_of_the_reference_and_come_back(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Array]
) -> None:
    path = tmp_path_factory.getbasetemp() / "t.safetensors"
    write_safetensors(path, table, {"format": "pt"})
    assert path.read_bytes() == safetensors.numpy.save(table, {"format": "pt"})
    back = read_safetensors(path)
    assert set(back) == set(table)
    assert all(same(back[name], table[name]) for name in table)


def test_the_reference_reads_ours_and_we_read_the_reference(tmp_path: Path) -> None:
    tensors = {
        "a.weight": torch.randn(4, 3, 3, 3),
        "half": torch.randn(5).half(),
        "n": torch.tensor(7),
    }
    safetensors.torch.save_file(tensors, tmp_path / "theirs")
    arrays = read_safetensors(tmp_path / "theirs")
    write_safetensors(tmp_path / "ours", arrays)
    back = safetensors.torch.load_file(tmp_path / "ours")
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_bf16_is_widened_exactly(tmp_path: Path) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    safetensors.torch.save_file({"x": every}, tmp_path / "x")
    got = read_safetensors(tmp_path / "x")["x"]
    assert same(got, every.float().numpy())


def test_unaligned_data_come_out_aligned(tmp_path: Path) -> None:
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F64", "shape": [2], "data_offsets": [1, 17]},
    }
    path = tmp_path / "x"
    path.write_bytes(raw_file(header, b"\x05" + np.array([1.5, -2.0]).tobytes()))
    table = read_safetensors(path)
    assert table["b"].tolist() == [1.5, -2.0]
    assert table["b"].flags.aligned


def raw_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


F4 = b"\0" * 4
ONE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
DUPLICATE = b"{" + ONE + b"," + ONE + b"}"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "five bytes": (b"\1\0\0\0\0", "cut short"),
    "header cut": (raw_file({"a": entry()})[:20], "cut short"),
    "data cut": (raw_file({"a": entry()}, F4[:3]), "outside the file"),
    "header 8 MiB + 1": (raw_file(b"{" + b" " * MAX_HEADER), "the limit is 8,388,608"),
    "header 2^64 - 1": (raw_file(b"{}", length=2**64 - 1), "the limit is"),
    "not an object": (raw_file([1]), "begin with"),
    "not JSON": (raw_file(b"{]"), "valid JSON"),
    "trailing JSON": (raw_file(b"{}{}"), "valid JSON"),
    "not UTF-8": (raw_file(b'{"\xff":1}'), "valid JSON"),
    "NaN": (raw_file(b'{"a":NaN}'), "valid JSON"),
    "deep": (raw_file(b'{"a":' + b"[" * 1_000_000), "valid JSON"),
    "long number": (raw_file(b'{"a":' + b"9" * 5000 + b"}"), "valid JSON"),
    "duplicate": (raw_file(DUPLICATE, F4), "`a` twice"),
    "metadata": (raw_file({"__metadata__": {"a": 1}}), "__metadata__"),
    "not a table": (raw_file({"a": 3}), "dtype, shape and data_offsets"),
    "extra field": (raw_file({"a": entry() | {"x": 1}}, F4), "dtype, shape and data_offsets"),
    "dtype": (raw_file({"a": entry("F8_E4M3")}, F4), "F8_E4M3"),
    "dtype is a list": (raw_file({"a": entry(["F32"])}, F4), "element type"),
    "negative size": (raw_file({"a": entry(shape=[-1])}, F4), "proper shape"),
    "true as a size": (raw_file({"a": entry(shape=[True])}, F4), "proper shape"),
    "1.0 as a size": (raw_file({"a": entry(shape=[1.0])}, F4), "proper shape"),
    "33 axes": (raw_file({"a": entry(shape=[1] * 33)}, F4), "proper shape"),
    "overflow": (raw_file({"a": entry(shape=[2**33, 2**31], offsets=[0, 0])}), "beyond any array"),
    "overflow to 4": (raw_file({"a": entry(shape=[2**62 + 1])}, F4), "beyond any array"),
    "overflow beside 0": (raw_file({"a": entry(shape=[0, 2**63], offsets=[0, 0])}), "beyond"),
    "length": (raw_file({"a": entry(shape=[2])}, F4), "needs 8 bytes"),
    "backwards": (raw_file({"a": entry(offsets=[4, 0])}, F4), "outside the file"),
    "three offsets": (raw_file({"a": entry(offsets=[0, 4, 4])}, F4), "outside the file"),
    "beyond": (raw_file({"a": entry(offsets=[4, 8])}, F4), "outside the file"),
    "overlap": (
        raw_file({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(offsets=[4, 8])}, F4 * 2),
        "overlaps",
    ),
    "same bytes twice": (raw_file({"a": entry(), "b": entry()}, F4), "overlaps"),
    "gap": (raw_file({"a": entry(), "b": entry(offsets=[8, 12])}, F4 * 3), "gap"),
    "gap at the start": (raw_file({"a": entry(offsets=[4, 8])}, F4 * 2), "gap"),
    "bytes at the end": (raw_file({"a": entry()}, F4 * 2), "4 bytes at its end"),
    "BOOL of 2": (raw_file({"a": entry("BOOL", [1], [0, 1])}, b"\2"), "not all 0 and 1"),
    "100,001 tensors": (
        raw_file({str(i): entry(shape=[0], offsets=[0, 0]) for i in range(100_001)}),
        "the limit is 100,000",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(case: str, tmp_path: Path) -> None:
    data, words = HOSTILE[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(SegError) as caught:
        read_safetensors(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E5011"
    assert "x.safetensors" in diagnostic.message
    assert words in diagnostic.message
    assert diagnostic.message.isprintable()
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_the_largest_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(raw_file(b"{}".ljust(MAX_HEADER)))
    assert read_safetensors(tmp_path / "x") == {}


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(raw_file({"a": entry(shape=[2**40], offsets=[0, 2**42])}, F4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SegError, match="outside the file"):
        read_safetensors(tmp_path / "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@given(st.binary(max_size=40), st.integers(0, 120), st.sampled_from([b"", b"{", b'"', b"9", b"\0"]))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_damage_is_a_diagnostic_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, other: bytes
) -> None:
    good = safetensors.numpy.save({"a": np.ones(3, np.float32), "b": np.ones((2, 2))})
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(good[:place] + noise + other + good[place + len(noise) :])
    codes: list[str] = []
    table: dict[str, Array] = {}
    try:
        table = read_safetensors(path)
    except SegError as error:
        codes = [diagnostic.code for diagnostic in error.diagnostics]
    # Damage to the data alone gives other numbers, of the same sizes.
    assert codes == ["E5011"] or {a.nbytes for a in table.values()} <= {12, 32}


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "missing": "no such file",
        tmp_path: "directory",
        tmp_path / "pipe": "pipe or a device",
        Path("/dev/null"): "pipe or a device",
        Path("a\0b"): "cannot be the name",
        Path("x" * 5000): "cannot be opened",
    }
    for path, words in cases.items():
        with pytest.raises(SegError, match=words) as caught:
            read_safetensors(path)
        assert caught.value.diagnostics[0].code == "E0101"


def test_the_digest(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert file_digest(tmp_path / "x") == sha256(data).hexdigest()


def _stop_while_writing(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"new")
        raise RuntimeError("stop")


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"):
        _stop_while_writing(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = (
        f"import sys, os; sys.path[:] = {sys.path!r};"
        "from compiler.files import replacing\n"
        f"with replacing({str(path)!r}) as f:\n"
        "    f.write(b'new'); f.flush(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "x"):
        with pytest.raises(SegError, match="cannot be written") as caught:
            write_safetensors(path, {"a": np.ones(2)})
        assert caught.value.diagnostics[0].code == "E0106"
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="complex128"):
        write_safetensors(tmp_path / "x", {"a": np.ones(2, complex)})
    with pytest.raises(ValueError, match="__metadata__"):
        write_safetensors(tmp_path / "x", {"__metadata__": np.ones(2)})
    assert os.listdir(tmp_path) == []


def test_other_byte_orders_and_strides_are_written_plainly(tmp_path: Path) -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4).T
    write_safetensors(tmp_path / "x", {"a": array})
    assert read_safetensors(tmp_path / "x")["a"].tolist() == array.tolist()
