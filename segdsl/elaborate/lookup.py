"""What a name means where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from segdsl import syntax
from segdsl.diagnostics import Applicability, Edit, Help
from segdsl.elaborate.frame import Failed, Frame
from segdsl.elaborate.state import State, refuse
from segdsl.elaborate.values import (
    Anything,
    BlockRef,
    BuiltinRef,
    Callee,
    LayerRef,
    OperatorRef,
    Unknown,
    describe,
)
from segdsl.imports import Module
from segdsl.ops.base import OPS
from segdsl.source import Span
from segdsl.spelling import FOREIGN_CALLABLES, foreign_framework, nearest
from segdsl.types import INITIALISERS

BUILTINS = frozenset(
    "len range enumerate reversed zip sum min max abs int float str ceil floor activation".split()
)
"""Compile-time functions of the language; `sum`, `max` and `min` also join lists of maps."""

EvaluateExpr = Callable[[State, Frame, syntax.Expr], Anything]

CALLABLE = (OperatorRef, BlockRef, LayerRef, BuiltinRef)


def callable_names(module: Module) -> set[str]:
    """Everything that a call in this file may name, apart from local layers and parameters."""
    operators = {name for name, cls in OPS.items() if not cls.internal}
    blocks = {name for name, (entry, _) in module.items.items() if isinstance(entry, syntax.Block)}
    return operators | blocks | BUILTINS


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
    """A block of the file, a function or an operator of the language."""
    if name in module.items:
        entry, home = module.items[name]
        if isinstance(entry, syntax.Block):
            return BlockRef(entry, home)
    if name in BUILTINS:
        return BuiltinRef(name)
    if name in OPS and not OPS[name].internal:
        return OperatorRef(OPS[name])
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
    value = evaluate(state, frame, expr)
    if not isinstance(value, CALLABLE):
        refuse(frame, "E2015", f"{describe(value)} cannot be called", expr.span)
    return value


def _of_module(frame: Frame, module: Module, expr: syntax.Attr) -> Callee:
    found = module.items.get(expr.name.name)
    if found is None or not isinstance(found[0], syntax.Block) or found[1] is not module:
        blocks = [n for n, (e, home) in module.items.items() if isinstance(e, syntax.Block) and home is module]
        guess = nearest(expr.name.name, blocks)
        helps = (f"did you mean `{guess}`?",) if guess else ()
        message = f"`{expr.value.span.text}` has no block `{expr.name.name}`"
        refuse(frame, "E1001", message, expr.name.span, helps=helps)
    return BlockRef(found[0], found[1])


def no_callable(frame: Frame, name: str, span: Span) -> NoReturn:
    """Refuse a name in call position that means nothing there, with what was probably meant."""
    translated = FOREIGN_CALLABLES.get(name)
    if translated is not None:
        message = f"`{name}` is {foreign_framework(name)} name; here it is `{translated}`"
        help = Help(f"write `{translated}`", (Edit(span, translated),), Applicability.LIKELY)
        notes: tuple[str, ...] = ("input channels are inferred",) if translated in ("conv", "linear") else ()
        refuse(frame, "E1002", message, span, helps=(help,), notes=notes)
    known = callable_names(frame.module) | {
        n for n in frame.names.visible() if isinstance(_value(frame, n), CALLABLE)
    }
    notes = ()
    if frame.names.find(name) is not None:
        notes = (f"`{name}` is bound here, but it is {describe(_value(frame, name))}",)
    if name in INITIALISERS:
        notes = ("it is an initialiser; they stand behind `init=`, `bias_init=` or `init \"…\" =`",)
    message = f"there is no operation or block `{name}`"
    refuse(frame, "E1001", message, span, notes=notes, helps=_guess(name, known, span))


def _value(frame: Frame, name: str) -> Anything:
    binding = frame.names.find(name)
    return None if binding is None or isinstance(binding.value, Failed) else binding.value


def _guess(name: str, known: Iterable[str], span: Span) -> tuple[Help, ...]:
    guess = nearest(name, list(known))
    if guess is None:
        return ()
    return (Help(f"did you mean `{guess}`?", (Edit(span, guess),), Applicability.LIKELY),)


def no_value(frame: Frame, name: str, span: Span) -> NoReturn:
    """Refuse a name that is bound to nothing here."""
    known = frame.names.visible() | set(frame.dims) | set(frame.module.items) | set(frame.module.modules)
    refuse(frame, "E1003", f"`{name}` is not bound here", span, helps=_guess(name, known, span))
