"""What is said about a `mean_field` that can be built but is probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segdsl.diagnostics import Diagnostic, Severity, text_helps
from segdsl.elaborate.builder import Builder
from segdsl.elaborate.state import Invocation
from segdsl.elaborate.values import Map
from segdsl.infer import at_user
from segdsl.ir import Value
from segdsl.ops.crf import MeanField
from segdsl.ops.ports import Input
from segdsl.ops.terms import Bilateral, Term
from segdsl.source import Span
from segdsl.types import Slot

COARSE = 2.0
"""A standard deviation of colours from here on is not meant for values from 0 to 1."""


def remarks(
    builder: Builder,
    op: MeanField,
    call: Invocation,
    operands: Sequence[Map],
    spans: Sequence[Span],
) -> Iterator[Diagnostic]:
    """W7020 a guide in [0, 1], W7021 no terms, W7022 a guide that gets no gradient."""
    scope = call.frame.scope
    if not op.terms:
        message = "`mean_field` without terms changes nothing but takes the softmax"
        yield at_user(Diagnostic("W7021", message, call.span, Severity.WARNING), scope)
    for term in op.terms:
        if term.guide is None:
            continue
        guide, span = operands[term.guide.index], spans[term.guide.index]
        for found in (_range(builder, term, guide, span), _gradient(builder, op, guide, span)):
            if found is not None:
                yield at_user(found, scope)


def _range(builder: Builder, term: Term, guide: Map, span: Span) -> Diagnostic | None:
    """An f32 input as it is, with standard deviations that are meant for bytes."""
    if not isinstance(term, Bilateral) or guide.feature.dtype != "f32":
        return None
    if isinstance(term.srgb, Slot) or not isinstance(builder.graph[guide.value.node].op, Input):
        return None
    numbers = term.srgb if isinstance(term.srgb, tuple) else (term.srgb,)
    if min(numbers, default=0.0) < COARSE:
        return None
    name = guide.value.node
    message = f"is `{name}` in [0, 255]? a guide in [0, 1] makes `srgb={min(numbers):g}` a no-op"
    helps = text_helps(
        f"`input {name}: u8[…]` takes bytes", f"`bilateral({name} * 255.0, …)`, or a smaller `srgb`"
    )
    return Diagnostic("W7020", message, span, Severity.WARNING, helps=helps)


def _gradient(builder: Builder, op: MeanField, guide: Map, span: Span) -> Diagnostic | None:
    """A guide that weights take part in, where the method has no gradient for guides."""
    if op.method != "lattice" or not _is_learned(builder, guide.value):
        return None
    message = "this guide is computed with weights, and `method=lattice` gives it no gradient"
    helps = text_helps("`method=window` or `method=exact` trains what makes the guide")
    return Diagnostic("W7022", message, span, Severity.WARNING, helps=helps)


def _is_learned(builder: Builder, value: Value) -> bool:
    """Whether learned arrays take part in a value."""
    seen: set[str] = set()
    pending = [value.node]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        reads = builder.graph.operands(name)
        inputs = tuple(builder.types[read] for read in reads)
        params = builder.graph[name].op.params(*inputs).values()
        if any(param.learned and param.trained for param in params):
            return True
        pending += [read.node for read in reads]
    return False
