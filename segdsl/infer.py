"""Apply one operator: its output types, or the diagnostic that puts carets under what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from segdsl.diagnostics import Diagnostic, Frame, Label, text_helps
from segdsl.ir import Instance, Scope, Turn
from segdsl.ops.base import Op, RuleError
from segdsl.source import Span
from segdsl.types import Feature, Requirement


@lru_cache(maxsize=16384)
def infer(op: Op, inputs: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The types of the results of `op`, one per name in `op.results`.

    Repeated layers repeat their question, so answers are remembered.

    Raises:
        RuleError: the operator refuses these operands.
    """
    answer = op.infer(*inputs)
    return (answer,) if isinstance(answer, Feature) else answer


@lru_cache(maxsize=16384)
def requirements(op: Op, inputs: tuple[Feature, ...]) -> tuple[Requirement, ...]:
    """The conditions on sizes of `op` that are not plainly true.

    Raises:
        RuleError: a condition on known sizes is false.
    """
    return tuple(r for r in op.requirements(*inputs) if not _plainly_true(r))


def _plainly_true(need: Requirement) -> bool:
    difference = need.left - need.right
    if need.kind == "multiple":
        rest = need.left % need.right if isinstance(need.right, int) else need.left
        if rest == 0:
            return True
        known = isinstance(rest, int)
    else:
        if need.kind == "equal" and difference == 0:
            return True
        if need.kind == "at_least" and isinstance(difference, int) and difference >= 0:
            return True
        known = isinstance(difference, int)
    if known:
        raise RuleError(need.message, code=need.code, blame=need.blame, help=need.help)
    return False


def explain(
    error: RuleError,
    *,
    span: Span,
    parts: Mapping[str | int, Span],
    inputs: Sequence[Feature],
    scope: Scope,
) -> Diagnostic:
    """Turn the refusal of an operator into a diagnostic.

    Blame becomes carets, operands get their types as labels.

    The primary span is the blamed part if it is known, else the call. Inside a library block the
    primary span is the user's own call and the library's line becomes a label.
    """
    blamed = [parts[part] for part in error.blame if part in parts]
    primary = blamed[0] if blamed else span
    message, help = _with_names(error, parts, inputs)
    labels = [
        Label(parts[slot], f"this is {feature}")
        for slot, feature in enumerate(inputs)
        if slot in parts and (slot in error.blame or not blamed or len(inputs) > 1)
    ]
    return at_user(
        Diagnostic(
            error.code,
            message,
            primary,
            labels=tuple(labels),
            notes=error.notes,
            helps=text_helps(help) if help else (),
        ),
        scope,
    )


def _with_names(
    error: RuleError, parts: Mapping[str | int, Span], inputs: Sequence[Feature]
) -> tuple[str, str]:
    """Message and help; where two operands differ in channels, with their names in the text."""
    slots = [part for part in error.blame if isinstance(part, int) and part in parts]
    names = [parts[slot].text for slot in slots]
    if error.code != "E3002" or len(slots) != 2 or not all(n.isidentifier() for n in names):
        return error.message, error.help
    one, other = (inputs[slot].shape[1] for slot in slots)
    head = error.message.removesuffix(f", got {one} and {other}")
    message = f"{head}: `{names[0]}` has {one}, `{names[1]}` has {other}"
    return message, f"project one first: `{names[1]} -> conv({one}, 1)`"


def at_user(diagnostic: Diagnostic, scope: Scope) -> Diagnostic:
    """Give a diagnostic its stack.

    Where it stands in library code, point at the user's call instead.
    """
    stack = frames(scope)
    span = diagnostic.span
    if span is not None and is_library(span):
        call = next((f.span for f in reversed(stack) if not is_library(f.span)), None)
        if call is not None:
            label = Label(span, diagnostic.caption or "in the library, here")
            labels = (label, *(lb for lb in diagnostic.labels if lb.span != span))
            return _with(diagnostic, call, labels, stack)
    return _with(diagnostic, span, diagnostic.labels, stack)


def _with(
    diagnostic: Diagnostic, span: Span | None, labels: tuple[Label, ...], stack: tuple[Frame, ...]
) -> Diagnostic:
    return Diagnostic(
        diagnostic.code,
        diagnostic.message,
        span,
        diagnostic.severity,
        diagnostic.caption,
        labels,
        diagnostic.notes,
        diagnostic.helps,
        stack,
    )


def is_library(span: Span) -> bool:
    """Whether a span lies in the standard library."""
    return span.source.name.startswith("std/")


def frames(scope: Scope) -> tuple[Frame, ...]:
    """The instances of a scope, each with the loop turns around its call."""
    found: list[Frame] = []
    turns: list[str] = []
    for step in scope:
        if isinstance(step, Turn):
            turns.append(f"turn {step.index} of {step.count}")
        elif isinstance(step, Instance):
            found.append(Frame(step.block, step.span, ", ".join(turns)))
            turns = []
    return tuple(found)
