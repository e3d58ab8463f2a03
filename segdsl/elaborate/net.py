"""Elaborating one net of a program: parameters in, graph and open conditions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.elaborate.builder import Builder, Need
from segdsl.elaborate.conditions import check_constraints
from segdsl.elaborate.convert import Mismatch, convert
from segdsl.elaborate.declared import conform, parameter_hint
from segdsl.elaborate.expressions import constant, evaluate
from segdsl.elaborate.frame import Binding, Frame, Statement
from segdsl.elaborate.misfits import misfits
from segdsl.elaborate.operators import argument
from segdsl.elaborate.state import Claim, Override, Pending, State
from segdsl.elaborate.statements import run_body
from segdsl.elaborate.values import Anything, Unknown, as_const
from segdsl.imports import Module
from segdsl.infer import at_user
from segdsl.ir import Const, Graph, Node, Value
from segdsl.limits import Limits
from segdsl.spelling import nearest
from segdsl.types import Feature

Setting = int | float | bool | str | None | Sequence["Setting"]
"""A value for a net's parameter, from the command line or Python."""


@dataclass(frozen=True)
class Elaboration:
    """A net as a graph, with what remains to be proved about its sizes.

    Attributes:
        graph: the network; complete only if `diagnostics` holds no error.
        types: the type of every value, as formulas.
        needs: conditions on sizes from operators.
        claims: declared sizes and conditions.
        checks: the author's `check` statements; empty where parameters were set from outside.
        unchecked: how many `check`s of the net were not evaluated because of that.
        state: for the evaluation of checks.
    """

    graph: Graph
    types: Mapping[Value, Feature]
    needs: tuple[Need, ...]
    claims: tuple[Claim, ...]
    checks: tuple[Pending, ...]
    unchecked: int
    diagnostics: tuple[Diagnostic, ...]
    state: State


def elaborate(
    module: Module, net: syntax.Net, settings: Mapping[str, Setting], limits: Limits
) -> Elaboration:
    """Run the body of a net with its parameters set.

    Wrong settings are E2008; everything wrong in the program is in `diagnostics`.
    """
    graph = Graph(net.name.name)
    graph.source = module.tree.source.name
    graph.doc = net.doc
    state = State(Builder(graph, limits), limits)
    state.evaluate = evaluate
    state.run_body = run_body
    frame = Frame(module)
    _check_settings(state, net, settings)
    try:
        _constants(state, module)
        _parameters(state, frame, net, settings)
        check_constraints(state, frame, net.where, net.name.span)
        run_body(state, frame, net.body)
        _apply_overrides(state)
        graph.path_order = state.builder.order.found()
        state.report_all(misfits(state.builder))
    except SegError as error:
        state.report(error)
    except Unknown:
        pass
    if not module.lost:  # an output may be among what was left out for its mistakes
        _check_outputs(state, net)
    changed = bool(settings)
    own = [p for p in state.checks if not p.frame.scope]
    checks = [p for p in state.checks if p.frame.scope or not changed]
    return Elaboration(
        graph,
        state.builder.types,
        tuple(state.builder.needs.values()),
        tuple(state.claims),
        tuple(checks),
        len(own) if changed else 0,
        tuple(state.diagnostics),
        state,
    )


def _constants(state: State, module: Module) -> None:
    """Compute every constant of the file, used or not: a wrong one is an error."""
    for item in module.tree.items:
        if isinstance(item, syntax.Const):
            try:
                constant(state, item, module)
            except SegError as error:
                state.report(error)
            except Unknown:
                continue


def _check_outputs(state: State, net: syntax.Net) -> None:
    declared = any(
        True for s in _statements(net.body) if isinstance(s, syntax.Output) and not s.train
    )
    if state.diagnostics and declared:
        return
    if not any(not _is_train(state, name) for name in state.builder.graph.outputs):
        message = f"net `{net.name.name}` has no `output`"
        helps = text_helps("write `output mask = x`")
        state.report(SegError(Diagnostic("E4001", message, net.name.span, helps=helps)))


def _is_train(state: State, name: str) -> bool:
    return bool(getattr(state.builder.graph[name].op, "train", False))


def _statements(body: tuple[syntax.Stmt, ...]) -> list[syntax.Stmt]:
    found: list[syntax.Stmt] = []
    pending = list(body)
    while pending:
        statement = pending.pop()
        found.append(statement)
        if isinstance(statement, syntax.If):
            pending += [*statement.then, *(statement.otherwise or ())]
        elif isinstance(statement, syntax.For):
            pending += statement.body
    return found


def _check_settings(state: State, net: syntax.Net, settings: Mapping[str, Setting]) -> None:
    known = [p.name.name for p in net.params]
    for name in settings:
        if name not in known:
            guess = nearest(name, known)
            helps = text_helps(f"did you mean `{guess}`?") if guess else ()
            notes = (f"it has {', '.join(known)}" if known else "it has none",)
            message = f"`{net.name.name}` has no parameter `{name}`"
            state.report(
                SegError(Diagnostic("E2008", message, net.name.span, notes=notes, helps=helps))
            )


def _parameters(
    state: State, frame: Frame, net: syntax.Net, settings: Mapping[str, Setting]
) -> None:
    for param in net.params:
        name = param.name.name
        if name in settings:
            value = _setting(net, param, settings[name])
        elif param.default is None:
            message = f"`{net.name.name}` needs a value for `{name}`"
            helps = text_helps(f"`--set {name}=…`, or `segdsl.load(…, {name}=…)` in Python")
            raise SegError(Diagnostic("E2004", message, param.name.span, helps=helps))
        else:
            frame.statement = Statement(name)
            value = _default(state, frame, param)
        frame.names.own[name] = Binding(value, param.name.span)
        state.builder.graph.settings[name] = as_const(value)


def _default(state: State, frame: Frame, param: syntax.Param) -> Anything:
    assert param.default is not None
    hint = parameter_hint(param)
    value = argument(state, frame, param.default, hint)
    return conform(frame, param.name.name, param.type, hint, value, param.default.span)


def _setting(net: syntax.Net, param: syntax.Param, value: Setting) -> Anything:
    hint = parameter_hint(param)
    name = param.name.name
    if hint is None:
        message = f"`{name}` of `{net.name.name}` is a block; it cannot be set from outside"
        raise SegError(Diagnostic("E2008", message, param.name.span))
    try:
        converted: Anything = convert(frozen(value), hint)
    except Mismatch as mismatch:
        message = (
            f"parameter `{name}` of `{net.name.name}` must be {mismatch.expected}; `{value}` is not"
        )
        raise SegError(Diagnostic("E2008", message, param.name.span)) from mismatch
    return converted


def frozen(value: Setting) -> Const:
    """A setting with its lists as tuples."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return tuple(frozen(item) for item in value)


def _apply_overrides(state: State) -> None:
    """Apply `init "glob" = …` in order; one that matches nothing is an error."""
    for override in state.overrides:
        hits = [
            _override(state, state.builder.graph[name], override)
            for name in state.builder.graph
            if state.builder.graph[name].path is not None
        ]
        if not any(hits):
            paths = sorted(state.builder.tensors)
            guess = nearest(override.glob, paths)
            helps = text_helps(f"did you mean `{guess}`?") if guess else ()
            message = f'no weight is called "{override.glob}"'
            diagnostic = Diagnostic("E5006", message, override.span, helps=helps)
            state.report(SegError(at_user(diagnostic, override.scope)))


FIELDS = {"weight": "init", "scale": "init", "": "init", "bias": "bias_init"}
"""The field of an operator that says how each of its tensors starts."""


def _override(state: State, node: Node, override: Override) -> bool:
    graph = state.builder.graph
    inputs = tuple(state.builder.types[v] for v in graph.operands(node.name))
    prefix = f"{override.prefix}." if override.prefix else ""
    op, hit = node.op, False
    for tensor in op.params(*inputs):
        full = ".".join(part for part in (node.path, tensor) if part)
        field = FIELDS.get(tensor)
        if not fnmatchcase(full, prefix + override.glob) or field is None or not hasattr(op, field):
            continue
        op, hit = replace(op, **{field: override.init}), True  # type: ignore[type-var]
    if hit:
        state.builder.with_op(node.name, op)
    return hit
