"""A model as bytes or as files, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from compiler.files import check_writable, replacing
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


def save(model: ir.Model, path: str | PathLike[str]) -> None:
    """Write the file, and beside it `<stem>.data` if the arrays are large.

    Raises:
        SegError: a file cannot be written (E0106).
    """
    target = Path(path)
    check_writable(target)
    if _nbytes(model) > MAX_IN_ONE:
        _write_arrays(model, _data_path(target))
    with replacing(target) as file:
        file.writelines(_pieces(model))


def _data_path(target: Path) -> Path:
    beside = target.with_suffix(".data")
    return beside if beside != target else target.with_name(target.name + ".data")


def _write_arrays(model: ir.Model, path: Path) -> None:
    """Write the arrays one behind the other, and let the model point there by name only."""
    offset = 0
    with replacing(path) as file:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            assert tensor is not None
            if tensor.nbytes < SMALL:
                continue
            gap = -offset % ALIGNMENT
            content = _content(tensor)
            file.write(b"\0" * gap)
            file.write(content)
            offset += gap
            value.const_value = ir.ExternalTensor(
                path.name,
                offset,
                len(content),
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
                base_dir=path.parent,
            )
            offset += len(content)


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
