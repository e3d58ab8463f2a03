"""Calls: operators, blocks, layers and the functions of the language."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segdsl import syntax
from segdsl.elaborate.blocks import instantiate
from segdsl.elaborate.builtins import call_builtin
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.operators import call_operator, call_term
from segdsl.elaborate.paths import written_path
from segdsl.elaborate.state import Invocation, State, refuse
from segdsl.elaborate.values import (
    Anything,
    BlockRef,
    BuiltinRef,
    Callee,
    LayerRef,
    OperatorRef,
    TermRef,
)
from segdsl.source import Span


@dataclass(frozen=True)
class Target:
    """What is called, and where its name stands."""

    callee: Callee
    span: Span


def call(
    state: State,
    frame: Frame,
    target: Target,
    args: tuple[syntax.Arg, ...],
    span: Span,
    *,
    piped: tuple[Anything, Span] | None = None,
    path: syntax.Path | None = None,
    label: str = "",
) -> Anything:
    """Call something: `piped` is the value that flows in, `path` its written weight path.

    Raises:
        SegError: the call is wrong, or what it calls refuses.
    """
    full = None if path is None else written_path(state, frame, path)
    told = path is not None and not path.parts
    invocation = Invocation(
        frame, frame, args, piped, span, target.span, full, path.span if path else None, label, told
    )
    return dispatch(state, target.callee, invocation)


def dispatch(state: State, callee: Callee, invocation: Invocation) -> Anything:
    """Run an invocation of any callable."""
    match callee:
        case OperatorRef(cls):
            return call_operator(state, cls, invocation)
        case TermRef(term):
            return call_term(state, term, invocation)
        case BlockRef():
            return instantiate(state, callee, invocation)
        case LayerRef():
            return _call_layer(state, callee, invocation)
        case BuiltinRef(name):
            return call_builtin(state, name, invocation, dispatch)


def _call_layer(state: State, layer: LayerRef, invocation: Invocation) -> Anything:
    """A use of a declared layer: its own arguments and path, the caller's map."""
    frame = invocation.frame
    if invocation.path is not None:
        message = f"`{layer.name}` has its weight path from its declaration"
        refuse(frame, "E2017", message, invocation.path_span or invocation.span)
    piped = invocation.piped
    if invocation.args:
        if piped is not None or len(invocation.args) > 1 or invocation.args[0].name is not None:
            message = f"`{layer.name}` is a layer: it takes one map and no arguments"
            refuse(frame, "E2002", message, invocation.args[0].span)
        argument = invocation.args[0]
        piped = (state.evaluate(state, frame, argument.value), argument.span)
    inner = replace(frame, layer=layer)
    return dispatch(
        state,
        layer.callee,
        replace(
            invocation,
            frame=inner,
            args_frame=layer.frame,
            args=layer.args,
            piped=piped,
            path=layer.path,
            path_span=invocation.callee_span,
            label=invocation.label or layer.name,
        ),
    )
