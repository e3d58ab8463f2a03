"""What a name means where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.elaborate.complaints import BUILTINS, no_such_item, unknown_callable, unknown_value
from segdsl.elaborate.foreign import foreign_call, is_foreign, own_name, prefixed
from segdsl.elaborate.frame import Failed, Frame
from segdsl.elaborate.state import State, refuse
from segdsl.elaborate.values import (
    Anything,
    BlockRef,
    BuiltinRef,
    Callee,
    LayerRef,
    OperatorRef,
    TermRef,
    Unknown,
    describe,
)
from segdsl.imports import Module
from segdsl.infer import at_user
from segdsl.ops.base import OPS
from segdsl.ops.terms import TERMS
from segdsl.source import Span

EvaluateExpr = Callable[[State, Frame, syntax.Expr], Anything]

CALLABLE = (OperatorRef, TermRef, BlockRef, LayerRef, BuiltinRef)


def find_callable(frame: Frame, name: str) -> Callee | None:
    """The callable that a name means in call position: local, of the file, or of the language."""
    binding = frame.names.find(name)
    if binding is not None:
        if isinstance(binding.value, Failed):
            raise Unknown
        if isinstance(binding.value, CALLABLE):
            return binding.value
    return module_callable(frame.module, name)


def module_callable(module: Module, name: str) -> Callee | None:
    """A block of the file, a function, an operator or a term of the language."""
    if name in module.items:
        entry, home = module.items[name]
        if isinstance(entry, syntax.Block):
            return BlockRef(entry, home)
    if name in BUILTINS:
        return BuiltinRef(name)
    if name in OPS and not OPS[name].internal:
        return OperatorRef(OPS[name])
    if name in TERMS:
        return TermRef(TERMS[name])
    return None


def callee(state: State, frame: Frame, expr: syntax.Expr, evaluate: EvaluateExpr) -> Callee:
    """What stands in call or stage position.

    Raises:
        SegError: there is no such operation (E1001, E1002), or it cannot be called (E2015).
    """
    if isinstance(expr, syntax.Name):
        found = find_callable(frame, expr.name)
        if found is None:
            no_callable(frame, expr.name, expr.span)
        return found
    if isinstance(expr, syntax.Attr) and isinstance(expr.value, syntax.Name):
        module = frame.module.modules.get(expr.value.name)
        if module is not None and frame.names.find(expr.value.name) is None:
            return _of_module(frame, module, expr)
    if isinstance(expr, syntax.Attr):
        refuse_foreign(frame, expr)
    value = evaluate(state, frame, expr)
    if not isinstance(value, CALLABLE):
        refuse(frame, "E2015", f"{describe(value)} cannot be called", expr.span)
    return value


def _of_module(frame: Frame, module: Module, expr: syntax.Attr) -> Callee:
    found = module.items.get(expr.name.name)
    if found is None or found[1] is not module:
        raise _refusal(frame, no_such_item(module, expr.value.span.text, expr.name))
    if not isinstance(found[0], syntax.Block):
        refuse(frame, "E2015", f"`{expr.span.text}` cannot be called", expr.span)
    return BlockRef(found[0], found[1])


def refuse_foreign(frame: Frame, expr: syntax.Attr) -> None:
    """Refuse `nn.Conv2d` and the like (E1002), unless a file or a name of the user's is called so.

    The static pass has told how the whole call is written here.
    """
    root, name = prefixed(expr), expr.name.name
    if root is None or frame.names.find(root) is not None:
        return
    if root in frame.module.modules or root in frame.module.items:
        return
    if is_foreign(name):
        raise _refusal(frame, foreign_call(name, expr.span, (), piped=False, called=False))
    if module_callable(frame.module, name) is not None:
        raise _refusal(frame, own_name(name, expr.span))


def _refusal(frame: Frame, diagnostic: Diagnostic) -> SegError:
    return SegError(at_user(diagnostic, frame.scope))


def no_callable(frame: Frame, name: str, span: Span) -> NoReturn:
    """Refuse a name in call position that means nothing there, with what was probably meant."""
    if name in frame.module.lost:
        raise Unknown
    visible = frame.names.visible()
    local = {n for n in visible if isinstance(_value(frame, n), CALLABLE)}
    bound = describe(_value(frame, name)) if name in visible else ""
    raise _refusal(frame, unknown_callable(frame.module, name, span, local, bound))


def _value(frame: Frame, name: str) -> Anything:
    binding = frame.names.find(name)
    return None if binding is None or isinstance(binding.value, Failed) else binding.value


def no_value(frame: Frame, name: str, span: Span) -> NoReturn:
    """Refuse a name that is bound to nothing here."""
    if name in frame.module.lost:
        raise Unknown
    known = frame.names.visible() | set(frame.dims)
    raise _refusal(frame, unknown_value(frame.module, name, span, known))
