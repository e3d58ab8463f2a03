"""Calls of operators: operands become edges, arguments become fields.

The operator becomes a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segdsl import syntax
from segdsl.analysis.reach.alignment import auto_offset
from segdsl.diagnostics import SegError
from segdsl.elaborate.arithmetic import node_label
from segdsl.elaborate.convert import Mismatch, choices, convert, takes_initialiser, wrong_value
from segdsl.elaborate.crf_remarks import remarks
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.initialisers import ambiguous_choice, initialiser_problem, is_initialiser
from segdsl.elaborate.paths import default_path
from segdsl.elaborate.signature import (
    Signature,
    arrange,
    arrange_layer,
    operator_signature,
    term_signature,
)
from segdsl.elaborate.state import Invocation, State, refuse
from segdsl.elaborate.values import Anything, Map, Quantity, Record, TermValue, describe
from segdsl.infer import at_user, explain
from segdsl.ops.base import Op, RuleError, signature
from segdsl.ops.combine import Crop
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Term, term_fields
from segdsl.source import Span
from segdsl.types import INITIALISERS, Initialiser, Pair, Slot

UNITS = {("resize", "scale"): "x", ("gaussian", "sxy"): "px", ("bilateral", "sxy"): "px"}
"""The unit that an argument may carry, by operator or term and argument."""


def call_operator(state: State, cls: type[Op], call: Invocation) -> Anything:
    """Apply an operator of the language.

    Raises:
        SegError: arguments or operands are wrong.
    """
    frame = call.frame
    arranged = arranged_call(operator_signature(cls), call)
    operands, spans = _operands(state, cls, call, arranged)
    slots = Slots(operands, spans) if cls.slotted else None
    fields, parts = _fields(state, cls, call, arranged, slots)
    if cls.name == "identity":
        return operands[0]
    try:
        op = _aligned(state, cls(**fields), operands)
    except RuleError as error:
        raise SegError(
            explain(error, span=call.span, parts=parts, inputs=(), scope=frame.scope)
        ) from error
    label = call.label or cls.name
    results = state.builder.apply(
        op,
        operands,
        frame,
        span=call.span,
        parts={**parts, **dict(enumerate(spans))},
        path=_path(cls, call),
        path_span=call.path_span,
        label=node_label(frame, label),
    )
    if isinstance(op, MeanField):
        state.report_all(remarks(state.builder, op, call, operands, spans))
    if len(results) == 1:
        return results[0]
    return Record(cls.name, dict(zip(op.results, results, strict=True)))


def call_term(state: State, cls: type[Term], call: Invocation) -> TermValue:
    """A pairwise term, checked as far as it can be alone; its maps wait for the operator.

    Raises:
        SegError: arguments are wrong, or a path was written.
    """
    frame = call.frame
    if call.path is not None:
        message = f"`{cls.name}` has no weights, so it takes no path"
        refuse(frame, "E2017", message, call.path_span or call.span)
    arranged = arranged_call(term_signature(cls), call)
    values: dict[str, Anything] = {}
    spans: dict[str, Span] = {}
    parts: dict[str | int, Span] = {}
    for name, hint in term_fields(cls).items():
        if name == "guide" and call.piped is not None:
            values[name], spans[name] = call.piped
        elif name in arranged:
            expr = arranged[name].value
            values[name] = argument(state, call.args_frame, expr, hint)
            spans[name] = expr.span
    parts.update(spans)
    maps = Slots([], [])
    try:
        built = {
            name: _converted(
                call,
                cls.name,
                name,
                maps.placed(value, spans[name], name, {}),
                term_fields(cls)[name],
                spans[name],
            )
            for name, value in values.items()
        }
        cls(**built)
    except RuleError as error:
        raise SegError(
            explain(error, span=call.span, parts=parts, inputs=(), scope=frame.scope)
        ) from error
    plain = {name: v if isinstance(v, Map) else built[name] for name, v in values.items()}
    return TermValue(cls, plain, spans)


@dataclass(frozen=True)
class Slots:
    """The operands of an operator, to which maps inside its arguments are added."""

    operands: list[Map]
    spans: list[Span]

    def placed(
        self, value: Anything, span: Span, at: str, parts: dict[str | int, Span]
    ) -> Anything:
        """The value with a slot for each map in it; terms become parts of the operator.

        Where each argument of a term stands goes into `parts`, as `terms.0.sxy`.
        """
        match value:
            case Map():
                self.operands.append(value)
                self.spans.append(span)
                return Slot(len(self.operands) - 1)
            case TermValue(cls, fields, spans):
                parts.update({f"{at}.{name}": part for name, part in spans.items()})
                return cls(**{n: self.placed(v, spans[n], at, parts) for n, v in fields.items()})
            case tuple():
                each = enumerate(value)
                return tuple(self.placed(v, span, f"{at}.{i}", parts) for i, v in each)
        return value


def _aligned(state: State, op: Op, operands: Sequence[Map]) -> Op:
    """A crop whose `offset=auto` is derived from where its two maps lie; other operators stay.

    Raises:
        RuleError: no whole number of pixels, none below 0, aligns them (E2017).
    """
    if not isinstance(op, Crop) or op.offset != "auto" or len(operands) != 2:
        return op
    builder, (x, like) = state.builder, operands
    try:
        found = auto_offset(builder.graph, builder.types, x.value, like.value, builder.places)
    except ValueError as error:
        message = f"`offset=auto` finds no offset: {error}"
        help = "write the number of pixels, as `offset=5`"
        raise RuleError(message, code="E2017", blame="offset", help=help) from error
    return replace(op, offset=Pair(*found))


def _path(cls: type[Op], call: Invocation) -> str | None:
    """The weight path; only operators with arrays have one by default."""
    if call.path is not None or cls.params is Op.params:
        return call.path
    return default_path(call.frame, cls.name)


def arranged_call(sig: Signature, call: Invocation) -> Mapping[str, syntax.Arg]:
    """The arguments of a call by the name of the parameter.

    Raises:
        SegError: they do not fit.
    """
    try:
        if call.maps is not None:
            return arrange_layer(sig, call.args, call.callee_span)
        return arrange(sig, call.args, call.piped is not None, call.callee_span)
    except SegError as error:
        raise SegError(*(at_user(d, call.frame.scope) for d in error.diagnostics)) from error


def _operands(
    state: State, cls: type[Op], call: Invocation, arranged: Mapping[str, syntax.Arg]
) -> tuple[list[Map], list[Span]]:
    maps: list[Map] = []
    spans: list[Span] = []
    for place, name in enumerate(cls.operands):
        if place == 0 and call.piped is not None:
            value, span = call.piped
            expr: syntax.Expr | None = None
        elif call.maps is not None and name in call.maps:
            value, span = call.maps[name]
            expr = None
        elif name in arranged:
            expr = arranged[name].value
            value, span = state.evaluate(state, call.args_frame, expr), expr.span
        else:
            continue
        if cls.variadic:
            return _list_operand(call.frame, cls, value, expr, span)
        maps.append(_map(call.frame, cls, name, value, span))
        spans.append(span)
    return maps, spans


def _map(frame: Frame, cls: type[Op], name: str, value: Anything, span: Span) -> Map:
    if isinstance(value, Map):
        return value
    code = "E2015" if isinstance(value, Record) else "E2003"
    helps: tuple[str, ...] = ()
    if isinstance(value, Record):
        helps = ("choose one: " + ", ".join(f"`.{field}`" for field in value.fields),)
    refuse(
        frame,
        code,
        f"`{cls.name}` takes a map as `{name}`, not {describe(value)}",
        span,
        helps=helps,
    )


def _list_operand(
    frame: Frame, cls: type[Op], value: Anything, expr: syntax.Expr | None, span: Span
) -> tuple[list[Map], list[Span]]:
    if not isinstance(value, tuple) or not value:
        message = f"`{cls.name}` takes a list of maps, not {describe(value)}"
        refuse(frame, "E2003", message, span, helps=("write `[a, b]`",))
    spans = [span] * len(value)
    if isinstance(expr, syntax.ListExpr) and len(expr.elements) == len(value):
        spans = [element.span for element in expr.elements]
    return [
        _map(frame, cls, cls.operands[0], v, s) for v, s in zip(value, spans, strict=True)
    ], spans


def _fields(
    state: State,
    cls: type[Op],
    call: Invocation,
    arranged: Mapping[str, syntax.Arg],
    slots: Slots | None,
) -> tuple[dict[str, Any], dict[str | int, Span]]:
    values: dict[str, Any] = {}
    parts: dict[str | int, Span] = {}
    for name, (_, hint) in signature(cls).items():
        if name not in arranged:
            continue
        expr = arranged[name].value
        value = argument(state, call.args_frame, expr, hint)
        if hint == tuple[Term, ...]:
            _refuse_others(call.frame, name, value, expr.span)
        given = value if slots is None else slots.placed(value, arranged[name].span, name, parts)
        values[name] = _converted(call, cls.name, name, given, hint, expr.span)
        parts[name] = arranged[name].span
    return values, parts


def _refuse_others(frame: Frame, name: str, value: Anything, span: Span) -> None:
    """Refuse a list of terms that holds something else."""
    for place, item in enumerate(value if isinstance(value, tuple) else ()):
        if not isinstance(item, TermValue):
            what = f"element {place} of `{name}` is {describe(item)}"
            refuse(frame, "E2003", f"{what}, not a term such as `gaussian(sxy=3)`", span)


def _converted(
    call: Invocation, callee: str, name: str, value: Anything, hint: Any, span: Span
) -> Any:
    try:
        return convert(value, hint, UNITS.get((callee, name), ""))
    except Mismatch as mismatch:
        diagnostic = wrong_value(name, value, mismatch, span)
        raise SegError(at_user(diagnostic, call.frame.scope)) from mismatch


def argument(state: State, frame: Frame, expr: syntax.Expr, hint: Any) -> Anything:
    """The value of an argument of a declared type.

    Bare words and initialisers mean something only here.

    Raises:
        SegError: the word is a choice and a bound name at once (E2014), or it means nothing.
    """
    words = choices(hint)
    if isinstance(expr, syntax.Name) and expr.name in words:
        if frame.names.find(expr.name) is not None:
            diagnostic = ambiguous_choice(expr.name, expr.span)
            raise SegError(at_user(diagnostic, frame.scope))
        return expr.name
    if takes_initialiser(hint):
        found = initialiser(state, frame, expr)
        if found is not None:
            return found
    try:
        return state.evaluate(state, frame, expr)
    except SegError as error:
        if words and isinstance(expr, syntax.Name) and frame.names.find(expr.name) is None:
            return expr.name
        raise error from None


def initialiser(state: State, frame: Frame, expr: syntax.Expr) -> Initialiser | None:
    """An initialiser, by bare name or with its number; None if the expression is none."""
    if not is_initialiser(expr):
        return None
    name = expr.callee if isinstance(expr, syntax.Call) else expr
    assert isinstance(name, syntax.Name)
    problem = initialiser_problem(expr)
    if frame.names.find(name.name) is not None:
        problem = ambiguous_choice(name.name, name.span, initialiser=True)
    if problem is not None:
        raise SegError(at_user(problem, frame.scope))
    args = expr.args if isinstance(expr, syntax.Call) else ()
    if not args:
        return Initialiser(name.name)
    value = state.evaluate(state, frame, args[0].value)
    if isinstance(value, Quantity) or not isinstance(value, int | float) or isinstance(value, bool):
        takes = INITIALISERS[name.name]
        message = f"`{takes}` must be a number, not {describe(value)}"
        refuse(frame, "E2003", message, args[0].value.span)
    return Initialiser(name.name, float(value))
