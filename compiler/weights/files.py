"""safetensors files: a checked reader that maps the data, and a writer that is atomic.

Format: 8 bytes header length (little-endian), that many bytes of JSON, then the data without gaps
(huggingface/safetensors, "Format"). Files come from anywhere, so the header is checked in full
before any array is made, and nothing is copied that the header merely claims.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from os import PathLike, fspath
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from compiler.files import replacing
from segdsl.diagnostics import Diagnostic, SegError, text_helps

Array = NDArray[Any]
StrPath = str | PathLike[str]

MAX_HEADER = 8 << 20
MAX_TENSORS = 100_000
MAX_AXES = 32
MAX_FILE = 64 << 30

ElementType = Literal[
    "BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"
]
STORED: dict[str, str] = {
    "BOOL": "|u1",
    "U8": "|u1",
    "I8": "|i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "BF16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
}
"""Element types that are read and how their bytes lie; the order is the format's own."""

WRITTEN: dict[np.dtype[Any], str] = {
    np.dtype(kind): name
    for name, kind in {
        "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16,
        "F16": np.float16, "I32": np.int32, "U32": np.uint32, "F32": np.float32,
        "F64": np.float64, "I64": np.int64, "U64": np.uint64,
    }.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor that a file holds: its element type (safetensors' name for it) and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where the bytes of a tensor lie, from the start of the data."""

    entry: Entry
    start: int
    end: int


def shown(text: object, limit: int = 120) -> str:
    """A text of a stranger's file made safe to print: no control characters, cut short."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def bad_weights(path: StrPath, problem: str, *helps: str) -> SegError:
    """The error for a damaged or hostile weights file (E5011)."""
    message = f"`{shown(os.fspath(path))}` is not a usable weights file: {problem}"
    return SegError(Diagnostic("E5011", message, None, helps=text_helps(*helps)))


def no_file(path: StrPath, problem: str) -> SegError:
    """The error for a file that cannot be opened or written (E0101)."""
    return SegError(Diagnostic("E0101", f"`{shown(os.fspath(path))}`: {problem}", None))


@contextmanager
def opened(path: StrPath) -> Iterator[IO[bytes]]:
    """A regular file, opened once for reading; a pipe or device is never waited for.

    Raises:
        SegError: there is no such file, or it is a directory, a device, not readable (E0101), or
            larger than 64 GiB (E5011).
    """
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise no_file(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise no_file(path, _reason(error)) from None
    try:
        _check_regular(path, os.fstat(descriptor))
    except SegError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _check_regular(path: StrPath, state: os.stat_result) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise no_file(path, "this is a directory, not a file")
    if not stat.S_ISREG(state.st_mode):
        raise no_file(path, "this is a pipe or a device, not a file")
    if state.st_size > MAX_FILE:
        raise bad_weights(path, f"it has {state.st_size:,} bytes, the limit is {MAX_FILE:,}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be opened: {error.strerror.lower()}"
    return "this cannot be the name of a file"


def file_digest(path: StrPath) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        SegError: as `opened`.
    """
    digest = sha256()
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class SafetensorsFile:
    """A safetensors file whose header has been checked; its data are mapped, read-only."""

    def __init__(self, path: StrPath, file: IO[bytes]) -> None:
        """Read and check the header of an open file.

        Raises:
            SegError: the file is damaged or hostile (E5011).
        """
        self._path = path
        size = os.fstat(file.fileno()).st_size
        header = _read_header(path, file, size)
        self.metadata, self._stretches = _checked(path, header, size - file.tell())
        start = file.tell()
        self._data = np.zeros(0, np.uint8)
        if size > start:
            self._data = np.asarray(np.memmap(file, np.uint8, mode="r", offset=start))

    @property
    def table(self) -> dict[str, Entry]:
        """What the file holds, in the order of its header."""
        return {name: stretch.entry for name, stretch in self._stretches.items()}

    def read(self, name: str) -> Array:
        """One array, a view of the file where it can be; BF16 is widened to fp32, which is exact.

        Raises:
            KeyError: there is no such tensor.
            SegError: a BOOL holds a byte other than 0 and 1 (E5011).
        """
        stretch = self._stretches[name]
        raw = self._data[stretch.start : stretch.end].view(STORED[stretch.entry.dtype])
        return self._as_numpy(name, raw.reshape(stretch.entry.shape), stretch.entry.dtype)

    def _as_numpy(self, name: str, raw: Array, dtype: str) -> Array:
        if dtype == "BF16":
            return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if dtype == "BOOL":
            if raw.size and raw.max() > 1:
                raise bad_weights(self._path, f"`{shown(name)}` is BOOL but not all 0 and 1")
            return raw.view(np.bool_)
        native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
        return native if native.flags.aligned else native.copy()

    def read_all(self, names: Iterable[str]) -> dict[str, Array]:
        """The arrays of these names, as `read`."""
        return {name: self.read(name) for name in names}


def read_safetensors(path: StrPath) -> dict[str, Array]:
    """All arrays of a safetensors file, in the order of its header.

    Raises:
        SegError: the file cannot be opened (E0101), or is damaged or hostile (E5011).
    """
    with opened(path) as stream:
        file = SafetensorsFile(path, stream)
        return file.read_all(file.table)


def _read_header(path: StrPath, file: IO[bytes], size: int) -> dict[str, Any]:
    if size == 0:
        raise bad_weights(path, "it is empty")
    prefix = file.read(8)
    if len(prefix) < 8:
        raise bad_weights(path, f"it is cut short: {size} bytes, the header length alone takes 8")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise bad_weights(path, f"its header claims {length:,} bytes, the limit is {MAX_HEADER:,}")
    if length > size - 8:
        problem = f"it is cut short: its header claims {length:,} bytes, {size - 8:,} are there"
        raise bad_weights(path, problem)
    text = file.read(length)
    if not text.startswith(b"{"):
        raise bad_weights(path, "its header does not begin with `{`")
    return _parse(path, text)


def _parse(path: StrPath, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise bad_weights(path, f"its header has `{shown(twice)}` twice")
        return result

    def constant(text: str) -> Any:
        raise ValueError(text)

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError):
        raise bad_weights(path, "its header is not valid JSON") from None
    assert isinstance(header, dict)
    return header


def _checked(
    path: StrPath, header: dict[str, Any], data: int
) -> tuple[dict[str, str], dict[str, Stretch]]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise bad_weights(path, "its `__metadata__` is not a table of strings")
    if len(header) > MAX_TENSORS:
        problem = f"it has {len(header):,} tensors, the limit is {MAX_TENSORS:,}"
        raise bad_weights(path, problem)
    stretches = {name: _stretch(path, name, info, data) for name, info in header.items()}
    _check_tiling(path, stretches, data)
    return metadata, stretches


def _stretch(path: StrPath, name: str, info: object, data: int) -> Stretch:
    def refuse(problem: str) -> SegError:
        return bad_weights(path, f"`{shown(name)}` {problem}")

    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise refuse("is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in STORED:
        raise refuse(f"has element type {shown(dtype)}; known are {', '.join(STORED)}")
    if not _naturals(shape) or len(shape) > MAX_AXES:
        raise refuse(f"has no proper shape (at most {MAX_AXES} whole numbers)")
    if not _naturals(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data:
        raise refuse(f"lies outside the file (offsets {shown(offsets)}, {data:,} bytes of data)")
    needed = _byte_length(shape, np.dtype(STORED[dtype]).itemsize)
    if needed is None:
        raise refuse(f"has shape {shown(shape)}, which is beyond any array")
    if needed != offsets[1] - offsets[0]:
        problem = f"needs {needed:,} bytes for {dtype} {shown(shape)}"
        raise refuse(f"{problem}, its offsets give {offsets[1] - offsets[0]:,}")
    return Stretch(Entry(dtype, tuple(shape)), offsets[0], offsets[1])


def _naturals(value: object) -> bool:
    # `type(x) is int`: JSON's true is an instance of int, 1.0 equals 1; neither is a size.
    return isinstance(value, list) and all(type(x) is int and x >= 0 for x in value)


def _byte_length(shape: list[int], itemsize: int) -> int | None:
    """Bytes of an array, or None where numpy could not address it, even if another axis is 0."""
    total = itemsize
    for size in shape:
        total *= max(size, 1)
        if total >= 1 << 63:
            return None
    return 0 if 0 in shape else total


def _check_tiling(path: StrPath, stretches: dict[str, Stretch], data: int) -> None:
    """The tensors cover the data once each, without a gap."""
    end = 0
    for name, stretch in sorted(stretches.items(), key=lambda item: (item[1].start, item[1].end)):
        if stretch.start != end:
            kind = "overlaps the tensor before it" if stretch.start < end else "leaves a gap"
            raise bad_weights(path, f"`{shown(name)}` {kind} (byte {stretch.start:,} of the data)")
        end = stretch.end
    if end != data:
        raise bad_weights(path, f"{data - end:,} bytes at its end belong to no tensor")


def write_safetensors(
    path: StrPath, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays as a safetensors file, at once or not at all; equal arrays give equal bytes.

    Tensors lie in the reference implementation's order: wide element types first, then by name, so
    that every array is aligned.

    Raises:
        SegError: the file cannot be written (E0106).
        ValueError: an array's element type, a name or the metadata cannot be stored.
    """
    pieces = safetensors_pieces(arrays, metadata)
    with replacing(fspath(path)) as file:
        file.writelines(pieces)


def safetensors_pieces(
    arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The content of such a file, one array after the other.

    Raises:
        ValueError: as `write_safetensors`, before the first piece.
    """
    ordered = sorted(arrays.items(), key=lambda item: (-_rank(item[1]), item[0]))
    header = _header(ordered, metadata)
    return chain([header], (_little(array).data for _, array in ordered))


def _rank(array: Array) -> int:
    name = WRITTEN.get(array.dtype.newbyteorder("="))
    if name is None:
        raise ValueError(f"a safetensors file cannot hold element type {array.dtype}")
    return list(STORED).index(name)


def _little(array: Array) -> Array:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


def _header(ordered: list[tuple[str, Array]], metadata: Mapping[str, str] | None) -> bytes:
    table: dict[str, Any] = {}
    if metadata is not None:
        table["__metadata__"] = {key: str(metadata[key]) for key in sorted(metadata)}
    end = 0
    for name, array in ordered:
        if name == "__metadata__":
            raise ValueError("a tensor cannot be named `__metadata__`")
        start, end = end, end + array.nbytes
        dtype = WRITTEN[array.dtype.newbyteorder("=")]
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER or len(ordered) > MAX_TENSORS:
        raise ValueError(f"{len(ordered):,} tensors are too many for one safetensors file")
    return len(text).to_bytes(8, "little") + text
