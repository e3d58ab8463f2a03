"""A model as bytes or as files, whole or not at all."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compiler.files import check_writable, replacing, write_atomic
from segdsl.diagnostics import Diagnostic, SegError, text_helps

MAX_IN_ONE = 1_500_000_000
"""Bytes of arrays from which on they lie in a file of their own: protobuf ends at 2 GiB."""

ALIGNMENT = 4096


def to_bytes(model: ir.Model) -> bytes:
    """The file's content.

    Raises:
        SegError: the arrays are too large for one file (E6010).
    """
    if _nbytes(model) > MAX_IN_ONE:
        message = f"{_nbytes(model):,} bytes of weights do not fit into one ONNX file"
        helps = text_helps("write it to a path: the weights then lie beside it")
        raise SegError(Diagnostic("E6010", message, None, helps=helps))
    return _serialized(model)


def save(model: ir.Model, path: str | PathLike[str]) -> None:
    """Write the file, and beside it `<stem>.data` if the arrays are large.

    Raises:
        SegError: a file cannot be written (E0106).
    """
    target = Path(path)
    check_writable(target)
    if _nbytes(model) > MAX_IN_ONE:
        _write_arrays(model, _data_path(target))
    write_atomic(target, _serialized(model))


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
            gap = -offset % ALIGNMENT
            content = tensor.tobytes()
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


def _serialized(model: ir.Model) -> bytes:
    proto: Any = ir.to_proto(model)
    arrays = {tensor.name for tensor in proto.graph.initializer}
    # Arrays state their types themselves.
    stated = [info for info in proto.graph.value_info if info.name not in arrays]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(stated)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content
