"""Conditional random fields in torch: a call of `compiler.crf`, whose text the file carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler.to_torch.lower import Layer, layer, literal
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Term
from segdsl.types import Feature, Slot

DEFAULTS: Mapping[str, Any] = {
    "method": "lattice",
    "iterations": 10,
    "window": 7,
    "blur": 1,
    "include_self": True,
    "mix": None,
    "unary_weight": 1.0,
    "given": "logits",
    "start": "softmax",
    "returns": "proba",
    "tail": 6e-6,
}
"""The keyword arguments of `compiler.crf.field.mean_field`, in order."""


@layer.register
def mean_field(op: MeanField, *inputs: Feature) -> Layer:
    terms = ", ".join(_term(term, inputs) for term in op.terms)
    given = {
        name: getattr(op, name) for name in DEFAULTS if name not in ("window", "blur", "tail")
    } | {"window": op.size, "blur": op.coarseness, "tail": op.cutoff}
    further = "".join(
        f", {name}={_amount(given[name], inputs)}"
        for name, default in DEFAULTS.items()
        if given[name] != default
    )
    return Layer(f"mean_field({{0}}, [{terms}]{further})", helper="mean_field")


def _term(term: Term, inputs: Sequence[Feature]) -> str:
    """The call that makes a term; its weights are always stated, its widths too."""
    guide = [] if term.guide is None else [_value(term.guide)]
    widths = [_value(getattr(term, name)) for name in term.widths]
    weight = f"{term.weighted_by}={_amount(term.weight, inputs)}"
    norm = [] if term.norm == "symmetric" else [f"norm={literal(term.norm or 'none')}"]
    return f"{term.name}({', '.join([*guide, *widths, weight, *norm])})"


def _amount(value: Any, inputs: Sequence[Feature]) -> str:
    """The text of a weight over the classes; a single learned number is a scalar tensor."""
    single = isinstance(value, Slot) and inputs[value.index].shape == (1,)
    return f"{_value(value)}[0]" if single else _value(value)


def _value(value: Any) -> str:
    """The text of an argument; a slot is a place for the text of the operand."""
    return f"{{{value.index}}}" if isinstance(value, Slot) else literal(value)
