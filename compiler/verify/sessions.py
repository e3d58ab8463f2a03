"""ONNX Runtime sessions, with errors that a user understands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime

from compiler.weights.table import Array
from segdsl.diagnostics import Diagnostic, SegError, text_helps

_QUIET = 3

_FRAME = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"(Load model from .*? failed: ?|/onnxruntime_src/\S+:\d+ [^)]*\) )?"
)
"""What the runtime writes before its sentence: its own source, and the path that we name anyway."""


def open_session(model: bytes | str, name: str) -> Any:
    """A session on the CPU for the bytes of a model or the path of a file; `name` is for messages.

    Raises:
        SegError: ONNX Runtime does not take it (E6027).
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refused("load", name, error) from error


def run_session(
    session: Any, wanted: Sequence[str], inputs: Mapping[str, Array], name: str
) -> list[Array]:
    """The outputs of these names.

    Raises:
        SegError: the run failed (E6027).
    """
    try:
        return list(session.run(list(wanted), dict(inputs)))
    except Exception as error:
        raise _refused("run", name, error) from error


def _refused(what: str, name: str, error: Exception) -> SegError:
    """The runtime's own words; anything that is not one of its errors is a bug of ours."""
    if not type(error).__module__.startswith("onnxruntime"):
        raise error
    version = onnxruntime.__version__
    said = _FRAME.sub("", " ".join(str(error).split()))
    helps = ["a newer onnxruntime reads later opsets"] if "opset" in said.lower() else []
    message = f"ONNX Runtime {version} cannot {what} {name}"
    found = Diagnostic("E6027", message, None, notes=(said[:400],), helps=text_helps(*helps))
    return SegError(found)
