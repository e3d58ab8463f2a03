"""The ONNX target in ONNX Runtime: the file as it is written, and once more with its stages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from compiler.to_onnx.build import Options, write
from compiler.to_onnx.files import MAX_IN_ONE, save, to_bytes
from compiler.verify.runners import Ran, Subject
from compiler.verify.sessions import open_session, run_session
from compiler.verify.stages import followed, inference_names
from compiler.weights.table import Array
from segdsl.ir import Value

_OURS = "the file of target `onnx`"


class OnnxRunner:
    """Two sessions: outputs come from the untouched model, stages from one that exposes them.

    A value that is also an output is not fused into its reader, so the second session does not
    test the kernels that a user gets; the first does.
    """

    def __init__(self, subject: Subject) -> None:
        model, written = write(subject.graph, subject.weights, Options())
        self._outputs = tuple(inference_names(subject.graph))
        places = _places(model, followed(subject.graph), written)
        self._names = {s.name: places[s.value] for s in subject.stages if s.value in places}
        self._plain, self._opened = _sessions(model, set(self._names.values()))

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """Stages that were folded into others are missing."""
        outputs = run_session(self._plain, self._outputs, inputs, _OURS)
        known = [name for name in stages if name in self._names]
        wanted = [self._names[name] for name in known]
        session = self._opened or self._plain
        found = run_session(session, wanted, inputs, _OURS) if known else []
        named = dict(zip(self._outputs, outputs, strict=True))
        return Ran(dict(zip(known, found, strict=True)), named)


def _places(
    model: ir.Model, follow: Mapping[Value, Value], written: Mapping[Value, ir.Value]
) -> dict[Value, str]:
    """The names in the model of the values that a node of it makes."""
    made = {value for node in model.graph for value in node.outputs}
    found: dict[Value, str] = {}
    for old, new in follow.items():
        value = written.get(new)
        if value is not None and value in made:
            assert value.name
            found[old] = value.name
    return found


def _sessions(model: ir.Model, names: set[str]) -> tuple[Any, Any]:
    """The model as it is, and with these values as further outputs; None if there are none.

    In memory; a model that is too large for one protobuf goes through a file.
    """
    more = _further_outputs(model, names)
    arrays = (value.const_value for value in model.graph.initializers.values())
    if sum(array.nbytes for array in arrays if array is not None) <= MAX_IN_ONE:
        content = to_bytes(model)
        return open_session(content, _OURS), open_session(content + more, _OURS) if more else None
    with tempfile.TemporaryDirectory(prefix="segdsl-verify-") as folder:
        path = Path(folder) / "model.onnx"
        save(model, path)
        plain = open_session(str(path), _OURS)
        with open(path, "ab") as file:
            file.write(more)
        return plain, open_session(str(path), _OURS) if more else None


def _further_outputs(model: ir.Model, names: set[str]) -> bytes:
    """What makes these values outputs, written behind the model.

    A protobuf message that follows another one is merged into it, list by list: so the arrays are
    not computed and written a second time.
    """
    own = {value.name for value in model.graph.outputs}
    made = (value for node in model.graph for value in node.outputs)
    infos = [ir.to_proto(value) for value in made if value.name in names - own]
    if not infos:
        return b""
    content: bytes = onnx.ModelProto(graph=onnx.GraphProto(output=infos)).SerializeToString()
    return content
