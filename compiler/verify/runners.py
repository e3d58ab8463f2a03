"""Who can run a network: the registry of targets, and what each is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from compiler.verify.stages import Stage
from compiler.weights.table import Array, Weights
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.ir import Graph
from segdsl.spelling import nearest


@dataclass(frozen=True)
class Subject:
    """A network with its arrays, and the stages that are asked of it."""

    graph: Graph
    weights: Weights
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Ran:
    """What one run gave: stages and outputs by name. A stage may be missing, as a folded one.

    `way` tells, where that is not plain, what it was that ran, in this run and those before it.
    """

    stages: Mapping[str, Array]
    outputs: Mapping[str, Array]
    way: str = ""


class Runner(Protocol):
    """A network made ready to run."""

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """The given stages of the subject, and all outputs."""


def _torch(subject: Subject) -> Runner:
    from compiler.verify.torch_runner import TorchRunner

    return TorchRunner(subject)


def _onnx(subject: Subject) -> Runner:
    from compiler.verify.onnx_runner import OnnxRunner

    return OnnxRunner(subject)


def _triton(subject: Subject) -> Runner:
    from compiler.verify.triton_runner import TritonRunner

    return TritonRunner(subject)


RUNNERS: dict[str, Callable[[Subject], Runner]] = {
    "torch": _torch,
    "onnx": _onnx,
    "triton": _triton,
}
"""What `--targets` may name."""


def reference(subject: Subject) -> Runner:
    """The float64 reference."""
    from compiler.verify.torch_runner import Oracle

    return Oracle(subject)


def check_targets(names: Sequence[str]) -> None:
    """Refuse targets that cannot be verified.

    Raises:
        SegError: one of them (E6022).
    """
    known = ", ".join(RUNNERS)
    for name in names:
        if name not in RUNNERS:
            near = nearest(name, RUNNERS)
            help = f"did you mean `{near}`?" if near else f"the targets are {known}"
            raise SegError(_refused(f"there is no target `{name}`", help))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SegError(_refused(f"target `{twice}` is named twice", "name each target once"))
    if not names:
        raise SegError(_refused("no target is named", f"the targets are {known}"))


def _refused(message: str, help: str) -> Diagnostic:
    return Diagnostic("E6022", message, None, helps=text_helps(help))
