"""The value of every form of expression."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from segdsl import syntax
from segdsl.elaborate.arithmetic import check_length, combine, compare_values, negate
from segdsl.elaborate.bindings import bind, remember_stage
from segdsl.elaborate.calls import Target, call
from segdsl.elaborate.declared import conform, hint_of
from segdsl.elaborate.frame import FAILED, Failed, Frame
from segdsl.elaborate.heads import refuse_type
from segdsl.elaborate.lookup import callee, find_callable, no_value, refuse_foreign
from segdsl.elaborate.operators import argument
from segdsl.elaborate.paths import next_taps, statement_binding
from segdsl.elaborate.state import State, deeper, refuse
from segdsl.elaborate.values import Anything, Map, Quantity, Ratio, Record, Unknown, describe
from segdsl.imports import Module
from segdsl.ir import Turn
from segdsl.source import Span
from segdsl.symbolic import Formula

SCALES = {"K": 10**3, "M": 10**6, "G": 10**9}


def evaluate(state: State, frame: Frame, expr: syntax.Expr, label: str = "") -> Anything:
    """The value of an expression; `label` names the node of the outermost operation.

    Raises:
        SegError: it has none.
        Unknown: it uses a name whose statement failed.
    """
    state.steps += 1
    if state.steps > state.limits.steps:
        message = f"this program takes more than {state.limits.steps:,} compile-time steps"
        refuse(frame, "E4006", message, expr.span)
    return deeper(state, frame, expr.span, lambda: _evaluate(state, frame, expr, label))


def _evaluate(state: State, frame: Frame, expr: syntax.Expr, label: str) -> Anything:
    match expr:
        case syntax.Name():
            return _name(state, frame, expr)
        case syntax.Number(value, unit, _):
            return _number(frame, value, unit)
        case syntax.PlainValue(value, _):
            return value
        case syntax.Pipe():
            return _pipe(state, frame, expr, label)
        case syntax.Call():
            target = Target(callee(state, frame, expr.callee, evaluate), expr.callee.span)
            return call(state, frame, target, expr.args, expr.span, label=label)
        case syntax.At():
            return _at(state, frame, expr, label)
        case syntax.Binary():
            return _binary(state, frame, expr, label)
        case syntax.ListExpr(elements, _):
            return _list(state, frame, elements, expr.span)
        case syntax.Attr():
            return _attribute(state, frame, expr)
        case syntax.Index():
            return _index(state, frame, expr)
        case syntax.Unary("-", operand, span):
            return negate(frame, evaluate(state, frame, operand), span)
        case syntax.Unary(_, operand, _):
            return not truth(state, frame, operand)
        case syntax.Logic():
            return _logic(state, frame, expr)
        case syntax.Compare():
            return _compare(state, frame, expr)
        case syntax.Choose(condition, then, otherwise, _):
            chosen = then if truth(state, frame, condition) else otherwise
            return evaluate(state, frame, chosen, label)


def _name(state: State, frame: Frame, expr: syntax.Name) -> Anything:
    binding = frame.names.find(expr.name)
    if binding is not None:
        if isinstance(binding.value, Failed):
            raise Unknown
        return binding.value
    if expr.name in frame.dims:
        return frame.dims[expr.name].size
    entry = frame.module.items.get(expr.name)
    if entry is not None and isinstance(entry[0], syntax.Const):
        return constant(state, entry[0], entry[1])
    found = find_callable(frame, expr.name)
    if found is None:
        no_value(frame, expr.name, expr.span)
    return found


def constant(state: State, const: syntax.Const, module: Module) -> Anything:
    """The value of a `const`, computed once."""
    key = (module, const.name.name)
    if key not in state.consts:
        state.consts[key] = FAILED
        state.consts[key] = _constant(state, Frame(module), const)
    value = state.consts[key]
    if isinstance(value, Failed):
        raise Unknown
    return value


def _constant(state: State, frame: Frame, const: syntax.Const) -> Anything:
    if const.type is None:
        return evaluate(state, frame, const.value)
    refuse_type(frame, const.type)
    hint = hint_of(const.type)
    value = argument(state, frame, const.value, hint)
    return conform(frame, const.name.name, const.type, hint, value, const.value.span)


def _number(frame: Frame, value: float, unit: str) -> Anything:
    if unit in SCALES:
        scaled = value * SCALES[unit]
        return int(scaled) if scaled == int(scaled) else scaled
    return Quantity(value, unit) if unit else value


def _pipe(state: State, frame: Frame, pipe: syntax.Pipe, label: str) -> Anything:
    value = evaluate(state, frame, pipe.source)
    return run_stages(state, frame, pipe.stages, value, pipe.source.span, label)


def run_stages(
    state: State,
    frame: Frame,
    stages: tuple[syntax.Stage | syntax.Repeat, ...],
    value: Anything,
    span: Span,
    label: str,
) -> Anything:
    """Let a value flow through stages; taps bind names on the way."""
    for stage, upcoming in zip(stages, next_taps(stages), strict=True):
        tap = stage.tap.name if stage.tap else ""
        with statement_binding(frame, tap, upcoming):
            hint = tap or (label if stage is stages[-1] else "")
            if isinstance(stage, syntax.Repeat):
                value = deeper(
                    state, frame, stage.span, partial(_repeat, state, frame, stage, value, span)
                )
            else:
                value = _stage(state, frame, stage, value, span, hint)
        if stage.tap is not None:
            bind(frame, stage.tap, value)
            remember_stage(state, frame, stage.tap.name, value)
        span = stage.span
    return value


def _stage(
    state: State, frame: Frame, stage: syntax.Stage, value: Anything, span: Span, label: str
) -> Anything:
    expr, args = split_call(stage.call)
    target = Target(callee(state, frame, expr, evaluate), expr.span)
    if isinstance(value, Record):
        names = ", ".join(f"`.{name}`" for name in value.fields)
        message = f"`{value.of}` has several results, and one must be chosen to flow on"
        refuse(frame, "E2015", message, stage.span, helps=(f"choose {names}",))
    return call(
        state, frame, target, args, stage.span, piped=(value, span), path=stage.path, label=label
    )


def split_call(expr: syntax.Expr) -> tuple[syntax.Expr, tuple[syntax.Arg, ...]]:
    """What is called and with which arguments; parentheses may be missing."""
    return (expr.callee, expr.args) if isinstance(expr, syntax.Call) else (expr, ())


def _repeat(
    state: State, frame: Frame, stage: syntax.Repeat, value: Anything, span: Span
) -> Anything:
    count = evaluate(state, frame, stage.count)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        message = f"`repeat` takes a whole number of at least 0, not {describe(count)}"
        refuse(frame, "E2003", message, stage.count.span)
    check_turns(state, frame, count, stage.count.span)
    for turn in range(count):
        inner = frame.turn(Turn(turn, count, stage.span))
        if stage.index is not None:
            bind(inner, stage.index, turn)
        value = run_stages(state, inner, stage.stages, value, span, "")
    return value


def check_turns(state: State, frame: Frame, count: int, span: Span) -> None:
    """Refuse a loop of more turns than the limit, before the first one."""
    if count > state.limits.list_length:
        message = f"this loop has {count:,} turns; the limit is {state.limits.list_length:,}"
        refuse(frame, "E4005", message, span)


def _at(state: State, frame: Frame, expr: syntax.At, label: str) -> Anything:
    inner = expr.value
    if isinstance(inner, syntax.Call):
        target = Target(callee(state, frame, inner.callee, evaluate), inner.callee.span)
        return call(state, frame, target, inner.args, expr.span, path=expr.path, label=label)
    refuse(frame, "E2015", "a weight path stands behind a call", expr.path.span)


def _binary(state: State, frame: Frame, expr: syntax.Binary, label: str) -> Anything:
    value = evaluate(state, frame, expr.first)
    start = expr.first.span
    for i, (op, operand) in enumerate(expr.rest):
        right = evaluate(state, frame, operand)
        hint = label if i == len(expr.rest) - 1 else ""
        value = combine(state, frame, op, value, right, (start, operand.span), hint)
        start = start.to(operand.span)
    return value


def _list(
    state: State, frame: Frame, elements: tuple[syntax.Element, ...], span: Span
) -> tuple[Anything, ...]:
    found: list[Anything] = []
    for element in elements:
        found += _element(state, frame, element)
        check_length(state, frame, len(found), span)
    return tuple(found)


def _element(state: State, frame: Frame, element: syntax.Element) -> list[Anything]:
    match element:
        case syntax.Spread(value, span):
            items = evaluate(state, frame, value)
            if not isinstance(items, tuple):
                refuse(frame, "E2003", f"`*` spreads a list, not {describe(items)}", span)
            return list(items)
        case syntax.When(condition, body, _):
            return _deeper(state, frame, body) if truth(state, frame, condition) else []
        case syntax.Each():
            return _each(state, frame, element)
    return [evaluate(state, frame, element)]


def _deeper(state: State, frame: Frame, element: syntax.Element) -> list[Anything]:
    """The items of an element inside another one."""
    if not isinstance(element, syntax.When | syntax.Each):
        return _element(state, frame, element)
    return deeper(state, frame, element.span, lambda: _element(state, frame, element))


def _each(state: State, frame: Frame, each: syntax.Each) -> list[Anything]:
    found: list[Anything] = []
    for inner in turns(state, frame, each.names, each.iterable, each.span):
        found += _deeper(state, inner, each.body)
        check_turns(state, frame, len(found), each.span)
    return found


def turns(
    state: State, frame: Frame, names: tuple[syntax.Ident, ...], iterable: syntax.Expr, span: Span
) -> Iterator[Frame]:
    """One frame per turn of a `for`, with its names bound."""
    items = evaluate(state, frame, iterable)
    if not isinstance(items, tuple):
        refuse(frame, "E2003", f"`for` runs over a list, not {describe(items)}", iterable.span)
    check_turns(state, frame, len(items), iterable.span)
    for index, item in enumerate(items):
        inner = frame.turn(Turn(index, len(items), span))
        for name, part in unpack(frame, names, item):
            bind(inner, name, part)
        yield inner


def unpack(
    frame: Frame, names: tuple[syntax.Ident, ...], value: Anything
) -> list[tuple[syntax.Ident, Anything]]:
    """Pair names with the parts of a value: one name takes it whole."""
    if len(names) == 1:
        return [(names[0], value)]
    parts = tuple(value.fields.values()) if isinstance(value, Record) else value
    if not isinstance(parts, tuple) or len(parts) != len(names):
        count = len(parts) if isinstance(parts, tuple) else 1
        span = names[0].span.to(names[-1].span)
        refuse(frame, "E2016", f"{len(names)} names for {count} value{'s' * (count != 1)}", span)
    return list(zip(names, parts, strict=True))


def _attribute(state: State, frame: Frame, expr: syntax.Attr) -> Anything:
    if isinstance(expr.value, syntax.Name) and frame.names.find(expr.value.name) is None:
        module = frame.module.modules.get(expr.value.name)
        if module is not None:
            entry = module.items.get(expr.name.name)
            if entry is not None and isinstance(entry[0], syntax.Const):
                return constant(state, entry[0], entry[1])
            return callee(state, frame, expr, evaluate)
    refuse_foreign(frame, expr)
    value = evaluate(state, frame, expr.value)
    name = expr.name.name
    if isinstance(value, Record):
        if name in value.fields:
            return value.fields[name]
        known = ", ".join(f"`.{n}`" for n in value.fields)
        refuse(
            frame,
            "E1003",
            f"`{value.of}` has no result `{name}`",
            expr.name.span,
            helps=(f"it has {known}",),
        )
    if isinstance(value, Map) and name in ("channels", "height", "width"):
        return _map_attribute(frame, value, name, expr)
    helps = ("a map has `.channels`, `.height` and `.width`",) if isinstance(value, Map) else ()
    refuse(frame, "E1003", f"{describe(value)} has no `.{name}`", expr.name.span, helps=helps)


def _map_attribute(frame: Frame, value: Map, name: str, expr: syntax.Attr) -> Anything:
    axis = {"channels": 1, "height": 2, "width": 3}[name]
    if axis >= value.feature.rank:
        refuse(frame, "E3016", f"a value of shape {value.feature} has no {name}", expr.name.span)
    return value.feature.shape[axis]


def _index(state: State, frame: Frame, expr: syntax.Index) -> Anything:
    items = evaluate(state, frame, expr.value)
    if not isinstance(items, tuple):
        refuse(frame, "E2003", f"only lists have elements, not {describe(items)}", expr.span)
    if isinstance(expr.index, syntax.Slice):
        start, stop = (
            None if e is None else _whole(state, frame, e)
            for e in (expr.index.start, expr.index.stop)
        )
        return items[start:stop]
    place = _whole(state, frame, expr.index)
    if not -len(items) <= place < len(items):
        message = f"there is no element {place}: the list has {len(items)}"
        refuse(frame, "E2003", message, expr.index.span)
    return items[place]


def _whole(state: State, frame: Frame, expr: syntax.Expr) -> int:
    value = evaluate(state, frame, expr)
    if not isinstance(value, int) or isinstance(value, bool):
        refuse(frame, "E2003", f"an index is a whole number, not {describe(value)}", expr.span)
    return value


def truth(state: State, frame: Frame, expr: syntax.Expr) -> bool:
    """The compile-time truth of a condition."""
    value = evaluate(state, frame, expr)
    if not isinstance(value, bool):
        refuse(frame, "E2003", f"a condition is true or false, not {describe(value)}", expr.span)
    return value


def _logic(state: State, frame: Frame, expr: syntax.Logic) -> bool:
    stop = expr.op == "or"
    return next((stop for e in expr.operands if truth(state, frame, e) is stop), not stop)


def _compare(state: State, frame: Frame, expr: syntax.Compare) -> bool:
    left = evaluate(state, frame, expr.first)
    for op, operand in expr.rest:
        right = evaluate(state, frame, operand)
        for value, part in ((left, expr.first), (right, operand)):
            if isinstance(value, Formula | Ratio):
                what = describe(value)
                message = f"a condition here needs known numbers, but {what} depends on the input"
                refuse(frame, "E2010", message, part.span)
        if op == "~=":
            refuse(frame, "E2011", "`~=` stands only in `check … within …%`", operand.span)
        try:
            if not compare_values(op, left, right):
                return False
        except TypeError:
            message = f"`{op}` compares numbers, not {describe(left)} and {describe(right)}"
            refuse(frame, "E2003", message, expr.span)
        left = right
    return True
