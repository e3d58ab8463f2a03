"""Binding names, once each; only a `var` changes."""

from __future__ import annotations

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.complaints import rebound
from segdsl.elaborate.frame import Binding, Frame, join
from segdsl.elaborate.state import State
from segdsl.elaborate.values import Anything, Map
from segdsl.infer import at_user
from segdsl.ir import Instance


def bind(frame: Frame, name: syntax.Ident, value: Anything, *, variable: bool = False) -> None:
    """Bind a name, or change the `var` of that name.

    Raises:
        SegError: the name is bound and no `var` (E1005).
    """
    found = frame.names.find(name.name)
    if found is not None and (variable or not found.variable):
        diagnostic = rebound(name.name, found.span, name.span, variable=found.variable)
        raise SegError(at_user(diagnostic, frame.scope))
    if found is not None:
        found.value = value
    else:
        frame.names.own[name.name] = Binding(value, name.span, variable)


def remember_stage(state: State, frame: Frame, name: str, value: Anything) -> None:
    """Keep a named map of the net itself, so that reports can speak of it."""
    if isinstance(value, Map) and not any(isinstance(s, Instance) for s in frame.scope):
        key = join(name, *map(str, frame.turns))
        state.builder.graph.stages[key] = value.value
