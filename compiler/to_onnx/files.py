"""A model as bytes or as files, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from compiler.files import Staged, check_writable, staged, sync_folder
from compiler.together import locked
from segdsl.diagnostics import Diagnostic, SegError, text_helps

MAX_IN_ONE = 1_500_000_000
"""Bytes of arrays from which on they lie in a file of their own: protobuf ends at 2 GiB."""

ALIGNMENT = 4096

SMALL = 1024
"""Bytes of an array that stays in the file: runtimes read sizes and bounds before other files."""


def to_bytes(model: ir.Model) -> bytes:
    """The file's content.

    Raises:
        SegError: the arrays are too large for one file (E6010).
    """
    if _nbytes(model) > MAX_IN_ONE:
        message = f"{_nbytes(model):,} bytes of weights do not fit into one ONNX file"
        helps = text_helps("write it to a path: the weights then lie beside it")
        raise SegError(Diagnostic("E6010", message, None, helps=helps))
    return b"".join(_pieces(model))


def save(
    model: ir.Model, path: str | PathLike[str], *, most: int | None = None
) -> tuple[Path, ...]:
    """Write the file; where its arrays are large, they go into a second one beside it.

    The second file is called after the first and its own content, `net.onnx.<hash>.data`: so a
    model never reads the arrays of another, whenever a write was interrupted, which one fixed name
    cannot promise. When the new model stands, the arrays of the model that it replaced are removed.

    Args:
        model: the model; arrays that were written beside it are then read from there.
        path: the file.
        most: bytes of arrays that the file may hold itself; None for `MAX_IN_ONE`.

    Returns:
        the files, in the order in which they took their places.

    Raises:
        SegError: a file cannot be written (E0106); nothing is changed then.
    """
    target = Path(path)
    check_writable(target)
    if _nbytes(model) <= (MAX_IN_ONE if most is None else most):
        save_pieces(_pieces(model), target)
        return (target,)
    _refuse_link(target)
    with staged(target) as arrays:
        beside = arrays.target.with_name(_write_arrays(model, arrays))
        with staged(target) as new:
            new.file.writelines(_pieces(model))
            _place(new, arrays, beside)
    return target.with_name(beside.name), target


def save_pieces(pieces: Iterable[bytes | memoryview], path: str | PathLike[str]) -> None:
    """Write a model that holds its arrays itself; those of one that it replaces are removed.

    Raises:
        SegError: the file cannot be written (E0106).
    """
    with staged(Path(path)) as new:
        new.file.writelines(pieces)
        _place(new)


def _place(new: Staged, arrays: Staged | None = None, beside: Path | None = None) -> None:
    """Give both their names, the arrays first, and remove what no model reads any more."""
    folder = new.target.parent
    new.finish()
    if arrays is not None:
        arrays.finish()
    with locked(folder):
        known = beside is not None and beside.exists()
        try:
            if arrays is not None:
                arrays.place(beside)
            new.place()
        except BaseException:
            if beside is not None and not known:
                beside.unlink(missing_ok=True)
            raise
        sync_folder(folder)
        _remove_stale(new.target, beside)


def _remove_stale(target: Path, used: Path | None) -> None:
    """Remove the arrays of earlier models of this name."""
    pattern = re.compile(re.escape(_utf8(target.name)) + r"\.[0-9a-f]{16}\.data")
    for path in target.parent.iterdir():
        if path != used and pattern.fullmatch(path.name) and path.is_file():
            with suppress(OSError):  # a reader may hold it where open files cannot be removed
                path.unlink()


def _refuse_link(target: Path) -> None:
    """Runtimes look for the arrays beside the name that they are given."""
    if Path(os.path.realpath(target)).parent != Path(os.path.realpath(target.parent)):
        message = f"`{target}` cannot be written: it is a link into another folder"
        helps = text_helps("the arrays must lie beside the file: name the file itself")
        raise SegError(Diagnostic("E0106", message, None, helps=helps))


def _utf8(name: str) -> str:
    """A file's name as ONNX can hold it; bytes that are no text become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _write_arrays(model: ir.Model, arrays: Staged) -> str:
    """Write the arrays one behind the other, and let the model point there by name only.

    Answers the name of the file, which ends in the hash of what it holds.
    """
    digest, offset = hashlib.sha256(), 0
    places: list[tuple[ir.Value, int, int]] = []
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes < SMALL:
            continue
        gap = b"\0" * (-offset % ALIGNMENT)
        content = _content(tensor)
        for piece in (gap, content):
            arrays.file.write(piece)
            digest.update(piece)
        places.append((value, offset + len(gap), len(content)))
        offset += len(gap) + len(content)
    name = f"{_utf8(arrays.target.name)}.{digest.hexdigest()[:16]}.data"
    for value, start, length in places:
        assert value.const_value is not None
        value.const_value = ir.ExternalTensor(
            name,
            start,
            length,
            value.const_value.dtype,
            shape=ir.Shape(value.const_value.shape.numpy()),
            name=value.name or "",
            base_dir=arrays.target.parent,
        )
    return name


def _nbytes(model: ir.Model) -> int:
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _pieces(model: ir.Model) -> Iterator[bytes | memoryview]:
    """The file in pieces, one array after the other: never all arrays twice in memory.

    A ModelProto whose graph is its last field, and whose arrays are the graph's last field.
    """
    arrays = dict(model.graph.initializers)
    model.graph.initializers.clear()
    try:
        proto: Any = ir.to_proto(model)
    finally:
        model.graph.initializers.update(arrays)
    body = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    heads = [_array_head(value) for value in arrays.values()]
    inside = [
        len(head) + _inline(value) for head, value in zip(heads, arrays.values(), strict=True)
    ]
    rows = sum(len(_field(_INITIALIZER, size)) + size for size in inside)
    yield proto.SerializeToString(deterministic=True)
    yield _field(_GRAPH, len(body) + rows) + body
    for value, head, size in zip(arrays.values(), heads, inside, strict=True):
        yield _field(_INITIALIZER, size) + head
        if not isinstance(value.const_value, ir.ExternalTensor):
            assert value.const_value is not None
            yield _content(value.const_value)


def _content(tensor: ir.TensorProtocol) -> bytes | memoryview:
    """The bytes of an array as ONNX stores them; not copied where memory holds them so."""
    array = tensor.numpy()
    if sys.byteorder == "big" or not array.flags.c_contiguous or array.size == 0:
        return tensor.tobytes()
    return array.reshape(-1).view(np.uint8).data


def _array_head(value: ir.Value) -> bytes:
    """A TensorProto up to where the bytes of the array begin; whole, if they lie elsewhere."""
    tensor = value.const_value
    assert tensor is not None
    if isinstance(tensor, ir.ExternalTensor):
        external: Any = ir.to_proto(tensor)
        whole: bytes = external.SerializeToString(deterministic=True)
        return whole
    head = onnx.TensorProto(
        name=value.name or "", data_type=int(tensor.dtype), dims=tensor.shape.numpy()
    )
    start: bytes = head.SerializeToString(deterministic=True)
    return start + _field(_RAW_DATA, tensor.nbytes)


def _inline(value: ir.Value) -> int:
    """Bytes of an array that follow its head."""
    tensor = value.const_value
    return 0 if tensor is None or isinstance(tensor, ir.ExternalTensor) else tensor.nbytes


_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Numbers of protobuf fields: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data."""


def _field(number: int, length: int) -> bytes:
    """What stands before a protobuf field of `length` bytes: its number and the length."""
    head = bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length])
