"""Running a body, statement by statement."""

from __future__ import annotations

from dataclasses import replace

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.arithmetic import joined, node_label
from segdsl.elaborate.bindings import bind, remember_stage
from segdsl.elaborate.conditions import size_conditions
from segdsl.elaborate.declared import conform, hint_of
from segdsl.elaborate.dims import DTYPES, claim_shape
from segdsl.elaborate.expressions import evaluate, split_call, truth, turns, unpack
from segdsl.elaborate.frame import FAILED, Binding, Dim, Failed, Frame, Statement, join
from segdsl.elaborate.heads import refuse_type
from segdsl.elaborate.lookup import callee
from segdsl.elaborate.operators import argument, initialiser
from segdsl.elaborate.paths import callee_counts, default_path, written_path
from segdsl.elaborate.signature import arrange_layer, signature_of
from segdsl.elaborate.state import Override, Pending, State, deeper, refuse
from segdsl.elaborate.values import (
    Anything,
    Callee,
    LayerRef,
    Map,
    Unknown,
    callee_name,
    describe,
)
from segdsl.infer import at_user
from segdsl.ir import Instance
from segdsl.ops.base import RuleError
from segdsl.ops.ports import Input, Output, SizeCondition, Weight
from segdsl.source import Span
from segdsl.symbolic import Size, symbol
from segdsl.types import ZEROS, DType, Initialiser

FINAL = frozenset({"E4003", "E4006", "E5008"})
"""Limits of a whole program: what exceeds one is told once, and nothing more is expanded."""


def run_body(state: State, frame: Frame, body: tuple[syntax.Stmt, ...]) -> None:
    """Run statements in order; one that fails is reported and its names fall silent."""
    if body:
        span = body[0].span
        deeper(state, frame, span, lambda: _run_statements(state, frame, body))


def _run_statements(state: State, frame: Frame, body: tuple[syntax.Stmt, ...]) -> None:
    for statement in body:
        before = frame.statement
        frame.statement = Statement(_binding(statement), _counts(state, statement))
        try:
            _run(state, frame, statement)
        except SegError as error:
            if any(d.code in FINAL for d in error.diagnostics):
                raise
            state.report(error)
            _silence(frame, statement)
        except Unknown:
            _silence(frame, statement)
        finally:
            frame.statement = before


def _counts(state: State, statement: syntax.Stmt) -> dict[str, int]:
    if isinstance(statement, syntax.If | syntax.For):
        return {}
    key = id(statement)
    if key not in state.counts:
        state.counts[key] = callee_counts(statement)
    return state.counts[key]


def _binding(statement: syntax.Stmt) -> str:
    match statement:
        case syntax.Bind(names=names):
            return names[0].name
        case syntax.Output() | syntax.Layer() | syntax.Var() | syntax.Append():
            return statement.name.name
    return ""


def bound_names(statement: syntax.Stmt) -> tuple[syntax.Ident, ...]:
    """The names that a statement itself binds in its scope, taps included."""
    match statement:
        case syntax.Bind(names=names) | syntax.Post(names=names):
            own = names
        case syntax.Input() | syntax.Output() | syntax.WeightStmt() | syntax.Layer() | syntax.Var():
            own = (statement.name,)
        case _:
            own = ()
    value = getattr(statement, "value", None)
    return (*own, *taps(value)) if value is not None else own


def taps(expr: object) -> tuple[syntax.Ident, ...]:
    """The `as` names of a pipeline and of the pipelines in its arguments."""
    found: list[syntax.Ident] = []
    pending = [expr]
    while pending:
        item = pending.pop()
        match item:
            case syntax.Pipe(source, stages, _):
                pending += [*reversed(stages), source]
            case syntax.Stage(call, _, tap, _):
                found += [tap] if tap else []
                pending.append(call)
            case syntax.Repeat(tap=tap):
                found += [tap] if tap else []
            case syntax.Call(_, args, _):
                pending += [arg.value for arg in reversed(args)]
            case syntax.At(value, _, _):
                pending.append(value)
            case syntax.ListExpr(elements, _):
                pending += [
                    e for e in reversed(elements) if not isinstance(e, syntax.Each | syntax.When)
                ]
            case syntax.Binary(first, rest, _):
                pending += [*(e for _, e in reversed(rest)), first]
    return tuple(found)


def _silence(frame: Frame, statement: syntax.Stmt) -> None:
    """Give the names of a failed statement a value that nobody complains about."""
    names = list(bound_names(statement))
    if isinstance(statement, syntax.If):
        bodies = (*statement.then, *(statement.otherwise or ()))
        names += [name for inner in bodies for name in bound_names(inner)]
    for name in names:
        found = frame.names.find(name.name)
        if found is None:
            frame.names.own[name.name] = Binding(FAILED, name.span)
        elif found.variable or isinstance(found.value, Failed):
            found.value = FAILED
    if isinstance(statement, syntax.Append):
        found = frame.names.find(statement.name.name)
        if found is not None:
            found.value = FAILED


def _run(state: State, frame: Frame, statement: syntax.Stmt) -> None:
    match statement:
        case syntax.Bind():
            _run_bind(state, frame, statement)
        case syntax.Run(value, _):
            evaluate(state, frame, value)
        case syntax.If():
            _run_if(state, frame, statement)
        case syntax.For(names, iterable, body, span):
            for inner in turns(state, frame, names, iterable, span):
                run_body(state, inner, body)
        case syntax.Var(name, value, _):
            _bind(state, frame, name, evaluate(state, frame, value, name.name), variable=True)
        case syntax.Append():
            _run_append(state, frame, statement)
        case syntax.Input():
            _run_input(state, frame, statement)
        case syntax.Output():
            _run_output(state, frame, statement)
        case syntax.WeightStmt():
            _run_weight(state, frame, statement)
        case syntax.Layer():
            _run_layer(state, frame, statement)
        case syntax.Init():
            _run_init(state, frame, statement)
        case syntax.Check():
            state.checks.append(Pending(statement, _snapshot(frame)))
        case syntax.Post(span=span):
            message = "`post` operations are not part of this version of segdsl"
            refuse(frame, "E4004", message, span, helps=("run them on the outputs of the network",))


def _snapshot(frame: Frame) -> Frame:
    """The frame as it is now: `var`s change later, what a `check` speaks of does not."""
    copy = frame.nested()
    for scope in reversed(list(frame.names.chain())):
        copy.names.own.update({k: replace(b) for k, b in scope.own.items()})
    return copy


def _bind(
    state: State, frame: Frame, name: syntax.Ident, value: Anything, *, variable: bool = False
) -> None:
    bind(frame, name, value, variable=variable)
    remember_stage(state, frame, name.name, value)


def _run_bind(state: State, frame: Frame, statement: syntax.Bind) -> None:
    declared, span = statement.type, statement.value.span
    hint = None if declared is None else hint_of(declared)
    if hint is None:
        value = evaluate(state, frame, statement.value, statement.names[0].name)
    else:
        value = argument(state, frame, statement.value, hint)
    for name, part in unpack(frame, statement.names, value):
        if declared is not None:
            refuse_type(frame, declared)
            part = conform(frame, name.name, declared, hint, part, span)
        if isinstance(declared, syntax.ShapeType) and isinstance(part, Map):
            claim_shape(state, frame, declared, part, f"`{name.name}`", port=False)
        _bind(state, frame, name, part)


def _run_if(state: State, frame: Frame, statement: syntax.If) -> None:
    """Run the branch that is taken; a name is visible afterwards if every branch binds it."""
    taken = (
        statement.then if truth(state, frame, statement.condition) else statement.otherwise or ()
    )
    inner = frame.nested()
    run_body(state, inner, taken)
    frame.names.own.update(
        {k: b for k, b in inner.names.own.items() if k in shared_names(statement)}
    )


def shared_names(statement: syntax.If) -> set[str]:
    """The names that every branch of an `if` binds."""
    if statement.otherwise is None:
        return set()
    branches = []
    for body in (statement.then, statement.otherwise):
        names = {n.name for inner in body for n in bound_names(inner)}
        nested = [shared_names(inner) for inner in body if isinstance(inner, syntax.If)]
        branches.append(names.union(*nested))
    return branches[0] & branches[1]


def _run_append(state: State, frame: Frame, statement: syntax.Append) -> None:
    name = statement.name
    found = frame.names.find(name.name)
    if found is None or not found.variable:
        message = f"`+=` grows a list declared with `var {name.name} = []`"
        refuse(frame, "E1003", message, name.span)
    value = evaluate(state, frame, statement.value, name.name)
    if isinstance(found.value, Failed):
        raise Unknown
    if not isinstance(found.value, tuple) or not isinstance(value, tuple):
        message = f"`+=` adds a list to a list, not {describe(value)}"
        refuse(frame, "E2003", message, statement.value.span, helps=("write `xs += [y]`",))
    found.value = joined(state, frame, found.value, value, statement.value.span)


def _run_input(state: State, frame: Frame, statement: syntax.Input) -> None:
    if any(isinstance(step, Instance) for step in frame.scope):
        refuse(frame, "E4004", "`input` stands in a net, not in a block", statement.span)
    declared = statement.type
    if not isinstance(declared, syntax.ShapeType):
        refuse(frame, "E2003", "an input has a shape, as `f32[N, 3, H, W]`", declared.span)
    dtype = declared.dtype.name if declared.dtype is not None else "f32"
    if dtype not in DTYPES:
        words = ", ".join(sorted(DTYPES))
        assert declared.dtype is not None
        refuse(
            frame, "E2007", f"`{dtype}` is no element type; there are {words}", declared.dtype.span
        )
    shape = tuple(_input_size(state, frame, d, axis) for axis, d in enumerate(declared.dims))
    if not 1 <= len(shape) <= 4:
        refuse(frame, "E3016", "an input has one to four axes", declared.span)
    where = _input_where(state, frame, statement)
    element: DType = dtype  # type: ignore[assignment]
    (value,) = state.builder.apply(
        Input(shape, element, where),
        (),
        frame,
        span=statement.span,
        parts={"shape": declared.span, "name": statement.name.span},
        path=None,
        label=statement.name.name,
    )
    _bind(state, frame, statement.name, value)


def _input_size(state: State, frame: Frame, dim: syntax.Expr | syntax.AnyDims, axis: int) -> Size:
    if isinstance(dim, syntax.AnyDims) or (isinstance(dim, syntax.Name) and dim.name == "_"):
        refuse(frame, "E2011", "every axis of an input has a size or a name", dim.span)
    if isinstance(dim, syntax.Name) and frame.names.find(dim.name) is None:
        entry = frame.module.items.get(dim.name)
        if entry is None or not isinstance(entry[0], syntax.Const):
            if axis == 1:
                message = f"the channels of an input are a known number, not `{dim.name}`"
                refuse(frame, "E2010", message, dim.span)
            frame.dims.setdefault(dim.name, Dim(symbol(dim.name), dim.span, "input"))
            return symbol(dim.name)
    value = evaluate(state, frame, dim)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"a size of an input is a name or a number of at least 1, not {describe(value)}"
        refuse(frame, "E2011", message, dim.span)
    limits = state.limits
    cap, code = (limits.channels, "E2009") if axis == 1 else (limits.image_side, "E2019")
    if value > cap:
        refuse(frame, code, f"{value:,} is too large; the limit is {cap:,}", dim.span)
    return value


def _input_where(state: State, frame: Frame, statement: syntax.Input) -> tuple[SizeCondition, ...]:
    found: list[SizeCondition] = []
    for constraint in statement.where:
        answer = size_conditions(state, frame, constraint)
        if answer is False:
            text = constraint.condition.span.text
            refuse(frame, "E2006", constraint.message or f"`{text}` does not hold", constraint.span)
        found += answer if isinstance(answer, tuple) else ()
    return tuple(found)


def _run_output(state: State, frame: Frame, statement: syntax.Output) -> None:
    if any(isinstance(step, Instance) for step in frame.scope):
        refuse(frame, "E4004", "`output` stands in a net, not in a block", statement.span)
    name = statement.name
    if statement.value is None:
        value = evaluate(state, frame, syntax.Name(name.name, name.span))
    else:
        value = evaluate(state, frame, statement.value, name.name)
    if not isinstance(value, Map):
        message = f"an output is a map, not {describe(value)}"
        refuse(frame, "E2003", message, (statement.value or name).span)
    if isinstance(statement.type, syntax.ShapeType):
        claim_shape(state, frame, statement.type, value, f"`{name.name}`", port=False)
    state.builder.apply(
        Output(name.name, statement.train),
        (value,),
        frame,
        span=name.span,
        parts={},
        path=None,
        label=f"output.{name.name}",
    )
    if statement.value is not None:
        _bind(state, frame, name, value)
    else:
        remember_stage(state, frame, name.name, value)


def _run_weight(state: State, frame: Frame, statement: syntax.WeightStmt) -> None:
    declared = statement.type
    if not isinstance(declared, syntax.ShapeType):
        refuse(frame, "E2003", "a weight has a shape, as `[C]`", declared.span)
    sizes = [_weight_size(state, frame, dim) for dim in declared.dims]
    located = statement.value if isinstance(statement.value, syntax.At) else None
    init = _weight_init(state, frame, located.value if located else statement.value)
    try:
        op = Weight(tuple(sizes), init)
    except RuleError as error:
        refuse(frame, error.code, error.message, statement.span)
    own = (statement.name.name, *map(str, frame.turns))
    path = written_path(state, frame, located.path) if located else join(frame.prefix, *own)
    (value,) = state.builder.apply(
        op,
        (),
        frame,
        span=statement.span,
        parts={f"shape.{i}": dim.span for i, dim in enumerate(declared.dims)},
        path=path,
        label=node_label(frame, statement.name.name),
    )
    _bind(state, frame, statement.name, value)


def _weight_init(state: State, frame: Frame, expr: syntax.Expr | None) -> Initialiser:
    if expr is None:
        return ZEROS
    found = initialiser(state, frame, expr)
    if found is None:
        message = "a weight starts from an initialiser, as `constant(1.0)`"
        refuse(frame, "E2003", message, expr.span)
    return found


def _weight_size(state: State, frame: Frame, dim: syntax.Expr | syntax.AnyDims) -> int:
    value = None if isinstance(dim, syntax.AnyDims) else evaluate(state, frame, dim)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(frame, "E2010", "a weight has known sizes of at least 1", dim.span)
    return value


def _run_layer(state: State, frame: Frame, statement: syntax.Layer) -> None:
    """Declare shared weights: nothing is made until the first use."""
    expr = statement.value
    path = expr.path if isinstance(expr, syntax.At) else None
    inner, args = split_call(expr.value if isinstance(expr, syntax.At) else expr)
    target = callee(state, frame, inner, evaluate)
    if isinstance(target, LayerRef):
        refuse(frame, "E2015", f"`{inner.span.text}` is a layer already", inner.span)
    check_arguments(frame, target, args, inner.span)
    name = callee_name(target)
    full = default_path(frame, name) if path is None else written_path(state, frame, path)
    state.builder.order.reserve(full)
    layer = LayerRef(statement.name.name, target, args, full, frame, statement.span)
    _bind(state, frame, statement.name, layer)


def check_arguments(frame: Frame, target: Callee, args: tuple[syntax.Arg, ...], span: Span) -> None:
    """Match the arguments of a layer where it is declared, not first where it is used.

    Raises:
        SegError: they do not fit what is called.
    """
    sig = signature_of(target)
    if sig is not None:
        try:
            arrange_layer(sig, args, span)
        except SegError as error:
            raise SegError(*(at_user(d, frame.scope) for d in error.diagnostics)) from error


def _run_init(state: State, frame: Frame, statement: syntax.Init) -> None:
    init = initialiser(state, frame, statement.value)
    if init is None:
        message = "`init` sets an initialiser, as `bilinear` or `constant(0.1)`"
        refuse(frame, "E2003", message, statement.value.span)
    glob = str(statement.glob.value)
    state.overrides.append(Override(glob, frame.prefix, init, statement.glob.span, frame.scope))
