"""An ONNX file that others made, as a runner: read with care, its inputs matched with ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from compiler.verify.compare import Gate
from compiler.verify.matching import Port, match_inputs, match_outputs
from compiler.verify.ports import free_symbol, ports, word
from compiler.verify.runners import Ran
from compiler.verify.sessions import open_session, run_session
from compiler.verify.stages import inference_values
from compiler.weights.table import Array
from segdsl.analysis.shapes import shapes
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph, Value

_LARGEST = 1 << 31
"""Bytes of a protobuf message, which an ONNX file is; more lies in files beside it."""

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
}


class ForeignRunner:
    """A file in ONNX Runtime, called by our names.

    Args:
        path: the file; arrays beside it must lie in its folder.
        graph: the network that it is compared with.
        inputs: our input names and theirs, where they differ.
        outputs: the same of outputs.

    Raises:
        SegError: the file is no ONNX file or points outside its folder (E6023), other inputs
            (E6024, E6025) or outputs (E6026), or the runtime refuses it (E6027).
    """

    def __init__(
        self,
        path: str | PathLike[str],
        graph: Graph,
        outputs_of_ours: Sequence[str],
        *,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
    ) -> None:
        self._whose = f"`{os.fspath(path)}`"
        check_file(path)
        self._session: Any = open_session(os.path.realpath(path), self._whose)
        theirs = [_port(port) for port in self._session.get_inputs()]
        self.inputs = match_inputs(ports(graph), theirs, inputs, self._whose)
        given = [output.name for output in self._session.get_outputs()]
        self._outputs = match_outputs(outputs_of_ours, given, outputs, self._whose)

    def check_results(self, graph: Graph, gate: Gate) -> None:
        """Refuse numbers where the network gives whole numbers, and the other way round.

        Raises:
            SegError: E6025; classes are a result if classes are judged.
        """
        table = shapes(graph)
        given = {port.name: _port(port) for port in self._session.get_outputs()}
        for ours, value in inference_values(graph).items():
            stated = word(table[value].dtype)
            theirs = given[self._outputs[ours]]
            same = ("float" in stated) == ("float" in theirs.dtype)
            if same or (gate.kind == "argmax" and "float" in stated):
                continue
            whose = f"output `{theirs.name}` of {self._whose}"
            message = f"{whose} holds {theirs.dtype}, ours {stated}"
            helps = text_helps("`--gate argmax` compares classes") if "float" in stated else ()
            raise SegError(Diagnostic("E6025", message, None, helps=helps))

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """Outputs only: what stands inside is not ours."""
        fed = {self.inputs[name].name: array for name, array in inputs.items()}
        wanted = list(self._outputs.values())
        found = run_session(self._session, wanted, fed, self._whose)
        return Ran({}, dict(zip(self._outputs, found, strict=True)))

    def fixed(self, graph: Graph) -> dict[str, int]:
        """The size symbols of our network that the file states as numbers."""
        table = shapes(graph)
        found: dict[str, int] = {}
        for name in graph.inputs:
            stated = self.inputs[name].shape
            for ours, theirs in zip(table[Value(name)].shape, stated, strict=True):
                symbol = free_symbol(ours)
                if symbol is not None and theirs is not None:
                    found.setdefault(symbol, theirs)
        return found


def _port(port: Any) -> Port:
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in port.shape)
    kind = str(port.type)
    return Port(port.name, shape, _TYPES.get(kind, kind.removeprefix("tensor(").rstrip(")")))


def check_file(path: str | PathLike[str]) -> None:
    """Refuse a file that is no ONNX model, or whose arrays lie outside its folder.

    Raises:
        SegError: E6023.
    """
    try:
        if not Path(path).is_file():
            there = Path(path).exists()
            raise _refused(path, "it is no file" if there else "there is no such file")
        if Path(path).stat().st_size >= _LARGEST:
            raise _refused(path, "it is larger than an ONNX file can be")
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except (DecodeError, ValueError) as error:
        raise _refused(path, "it is no ONNX file, or is cut off") from error
    if not model.graph.node or not model.graph.output:
        raise _refused(path, "it holds no network")
    folder = Path(os.path.realpath(path)).parent
    for location in sorted(set(_locations(model))):
        target = folder / location
        inside = Path(os.path.realpath(target)).is_relative_to(folder)
        if os.path.isabs(location) or not inside or target.is_symlink():
            raise _refused(path, f"its arrays lie at `{location}`, outside its folder")
        if not target.is_file():
            raise _refused(path, f"its arrays should lie in `{location}`, which is not there")


def _locations(model: onnx.ModelProto) -> Iterator[str]:
    """Where external arrays lie, those inside nodes, their graphs and functions included."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        one = waiting.pop()
        tensors = [t for node in one.node for a in node.attribute for t in (a.t, *a.tensors)]
        for attribute in (a for node in one.node for a in node.attribute):
            waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                tensors += [sparse.values, sparse.indices]
        if isinstance(one, onnx.GraphProto):
            tensors += one.initializer
            tensors += [t for s in one.sparse_initializer for t in (s.values, s.indices)]
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                yield from (e.value for e in tensor.external_data if e.key == "location")


def _refused(path: str | PathLike[str], why: str) -> SegError:
    helps = text_helps("`onnx.checker.check_model(path)` says more about a file")
    message = f"`{os.fspath(path)}` cannot be compared: {why}"
    return SegError(Diagnostic("E6023", message, None, helps=helps))
