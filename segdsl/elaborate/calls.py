"""Calls: operators, blocks, layers and the functions of the language."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.blocks import instantiate
from segdsl.elaborate.builtins import call_builtin
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.operators import call_operator, call_term
from segdsl.elaborate.paths import written_path
from segdsl.elaborate.signature import Parameter, Signature, arrange_maps, signature_of
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
from segdsl.infer import at_user
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
    """A use of a declared layer: its own arguments and path, the caller's maps."""
    frame = invocation.frame
    if invocation.path is not None:
        message = f"`{layer.name}` has its weight path from its declaration"
        refuse(frame, "E2017", message, invocation.path_span or invocation.span)
    inner = replace(frame, layer=layer)
    maps = _maps(state, layer, invocation)
    piped = invocation.piped
    if isinstance(layer.callee, BuiltinRef) and piped is None:
        piped = maps["x"]
    return dispatch(
        state,
        layer.callee,
        replace(
            invocation,
            frame=inner,
            args_frame=layer.frame,
            args=layer.args,
            piped=piped,
            maps=maps,
            path=layer.path,
            path_span=invocation.callee_span,
            label=invocation.label or layer.name,
        ),
    )


Given = dict[str, tuple[Anything, Span]]


def _maps(state: State, layer: LayerRef, invocation: Invocation) -> Given:
    """The maps of one use of a layer that do not flow in, by the operand's name."""
    frame, piped = invocation.frame, invocation.piped is not None
    sig = signature_of(layer.callee) or _ONE_MAP
    try:
        given = arrange_maps(sig, layer.name, invocation.args, piped, invocation.callee_span)
    except SegError as error:
        raise SegError(*(at_user(d, frame.scope) for d in error.diagnostics)) from error
    return {
        name: (state.evaluate(state, frame, arg.value), arg.value.span)
        for name, arg in given.items()
    }


_ONE_MAP = Signature("", (Parameter("x", True, True, True),))
"""What a function of the language takes that is used as a layer (`activation`)."""
