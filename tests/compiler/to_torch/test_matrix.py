"""Every operator has a torch lowering."""

from __future__ import annotations

from compiler.to_torch import emit as registers  # noqa: F401  (loads every family)
from compiler.to_torch.lower import layer
from segdsl.ops.base import OPS

HOLES: dict[tuple[str, str], str] = {}
"""(target, operator) -> why it cannot be."""


def test_no_operator_lacks_a_lowering() -> None:
    missing = {("torch", name) for name, op in OPS.items() if op not in layer.registry}
    assert missing == set(HOLES)


def test_lowerings_are_for_operators_only() -> None:
    own = {op for op in layer.registry if not op.__module__.startswith("compiler.to_triton.")}
    assert own - {object} <= set(OPS.values())
