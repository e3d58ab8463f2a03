"""The static pass over expressions: every name, every call, in every branch."""

from __future__ import annotations

from typing import Any

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.elaborate.complaints import FACTS, no_such_item
from segdsl.elaborate.convert import (
    NOT_LITERAL,
    Mismatch,
    choices,
    convert,
    literal,
    takes_initialiser,
    wrong_value,
)
from segdsl.elaborate.declared import parameter_hint
from segdsl.elaborate.expressions import split_call
from segdsl.elaborate.foreign import foreign_call, is_foreign, own_name, prefixed
from segdsl.elaborate.initialisers import (
    ambiguous_choice,
    initialiser_problem,
    is_initialiser,
    no_initialiser,
)
from segdsl.elaborate.lookup import module_callable
from segdsl.elaborate.operators import UNITS
from segdsl.elaborate.scopes import LayerMeaning, Meaning, Vague
from segdsl.elaborate.signature import (
    Signature,
    arrange,
    arrange_layer,
    arrange_maps,
    block_signature,
    operator_signature,
    signature_of,
    term_signature,
)
from segdsl.elaborate.survey_state import Survey, Use
from segdsl.elaborate.values import BlockRef, BuiltinRef, OperatorRef, TermRef
from segdsl.ops.base import signature
from segdsl.ops.terms import term_fields
from segdsl.source import Span


def visit(survey: Survey, expr: syntax.Expr) -> None:
    """Look at every name and call of an expression; recursion is as deep as the syntax: 128."""
    match expr:
        case syntax.Name(name, span):
            survey.value(name, span)
        case syntax.ListExpr(elements, _):
            for element in elements:
                _element(survey, element)
        case syntax.Pipe(source, stages, _):
            visit(survey, source)
            _stages(survey, stages)
        case syntax.Call(callee, args, _):
            _call(survey, callee, args, piped=False)
        case syntax.At(value, path, _):
            visit(survey, value)
            visit_path(survey, path)
        case syntax.Attr():
            _attribute(survey, expr)
        case syntax.Index():
            _index(survey, expr)
        case syntax.Choose():
            _choose(survey, expr)
        case syntax.Binary(first, rest, _) | syntax.Compare(first, rest, _):
            for part in (first, *(e for _, e in rest)):
                visit(survey, part)
        case syntax.Logic(_, operands, _):
            for part in operands:
                visit(survey, part)
        case syntax.Unary(_, operand, _):
            visit(survey, operand)
        case syntax.Number() | syntax.PlainValue():
            pass


def visit_path(survey: Survey, path: syntax.Path | None) -> None:
    """The `{…}` of a weight path."""
    pieces = (piece for part in (path.parts if path else ()) for piece in part)
    for piece in pieces:
        if not isinstance(piece, str):
            visit(survey, piece)


def meaning_of(survey: Survey, expr: syntax.Expr) -> Meaning:
    """What a name bound to this expression could be called as."""
    match expr:
        case syntax.Name(name, _):
            seen = survey.scope.find(name)
            if seen is not None:
                return seen.meaning
            known = survey.knows(name) and name not in survey.dims
            return Vague.ANYTHING if known else Vague.VALUE
        case syntax.Choose() | syntax.Attr() | syntax.Index():
            return Vague.ANYTHING
    return Vague.VALUE


def _stages(survey: Survey, stages: tuple[syntax.Stage | syntax.Repeat, ...]) -> None:
    for stage in stages:
        if isinstance(stage, syntax.Repeat):
            _repeat(survey, stage)
        else:
            expr, args = split_call(stage.call)
            _call(survey, expr, args, piped=True)
            visit_path(survey, stage.path)
        if stage.tap is not None:
            survey.bind(stage.tap)


def _repeat(survey: Survey, stage: syntax.Repeat) -> None:
    visit(survey, stage.count)
    with survey.inner() as scope:
        if stage.index is not None:
            survey.introduce(stage.index, Vague.VALUE)
        _stages(survey, stage.stages)
    survey.scope.close_loop(scope)


def _element(survey: Survey, element: syntax.Element) -> None:
    match element:
        case syntax.Spread(value, _):
            visit(survey, value)
        case syntax.When(condition, body, _):
            visit(survey, condition)
            with survey.inner() as scope:
                _element(survey, body)
            survey.scope.close_branches(condition.span.text, scope, None)
        case syntax.Each(names, iterable, body, _):
            visit(survey, iterable)
            with survey.inner() as scope:
                for name in names:
                    survey.introduce(name, Vague.ANYTHING)
                _element(survey, body)
            survey.scope.close_loop(scope)
        case _:
            visit(survey, element)


def _choose(survey: Survey, expr: syntax.Choose) -> None:
    visit(survey, expr.condition)
    with survey.inner() as then:
        visit(survey, expr.then)
    with survey.inner() as otherwise:
        visit(survey, expr.otherwise)
    survey.scope.close_branches(expr.condition.span.text, then, otherwise)


def _index(survey: Survey, expr: syntax.Index) -> None:
    visit(survey, expr.value)
    index = expr.index
    parts = (index.start, index.stop) if isinstance(index, syntax.Slice) else (index,)
    for part in parts:
        if part is not None:
            visit(survey, part)


def _attribute(survey: Survey, expr: syntax.Attr) -> None:
    if _of_module(survey, expr) is None and not _foreign(survey, expr, called=False):
        visit(survey, expr.value)


def _of_module(survey: Survey, expr: syntax.Attr) -> Meaning | None:
    """What `file.Name` is; None if the left side is no imported file."""
    if not isinstance(expr.value, syntax.Name) or survey.scope.find(expr.value.name) is not None:
        return None
    module = survey.module.modules.get(expr.value.name)
    if module is None:
        return None
    entry = module.items.get(expr.name.name)
    if entry is None or entry[1] is not module:
        if expr.name.name not in module.lost:
            survey.report(no_such_item(module, expr.value.name, expr.name))
        return Vague.ANYTHING
    survey.uses.append(Use(entry[0], expr.name.span))
    return BlockRef(entry[0], module) if isinstance(entry[0], syntax.Block) else Vague.ANYTHING


def _call(
    survey: Survey, callee: syntax.Expr, args: tuple[syntax.Arg, ...], *, piped: bool
) -> None:
    if survey.in_check and isinstance(callee, syntax.Name) and callee.name in FACTS:
        _fact(survey, args)
        return
    if _stages_of_sequential(survey, callee, args):
        return
    meaning = _callee(survey, callee, args, piped=piped)
    if survey.in_check and not isinstance(meaning, BuiltinRef | None):
        message = "a `check` asks about maps that are there; it makes none"
        survey.report(Diagnostic("E2011", message, callee.span))
    check_call(survey, meaning, callee.span, args, piped=piped)


def _callee(
    survey: Survey, callee: syntax.Expr, args: tuple[syntax.Arg, ...], *, piped: bool
) -> Meaning | None:
    if isinstance(callee, syntax.Name):
        return survey.callee(callee, args, piped=piped)
    if isinstance(callee, syntax.Attr):
        found = _of_module(survey, callee)
        if found is not None:
            return found
        if _foreign(survey, callee, args, piped=piped):
            return None
    visit(survey, callee)
    return Vague.ANYTHING


def _foreign(
    survey: Survey,
    expr: syntax.Attr,
    args: tuple[syntax.Arg, ...] = (),
    *,
    piped: bool = False,
    called: bool = True,
) -> bool:
    """Whether this is `nn.Conv2d` or the like, and was reported with what it is here."""
    root = prefixed(expr)
    if root is None or survey.knows(root):
        return False
    name = expr.name.name
    if is_foreign(name):
        found = foreign_call(name, expr.span, args, piped=piped, called=called)
    elif module_callable(survey.module, name) is not None:
        found = own_name(name, expr.span)
    else:
        return False
    survey.report(found)
    return True


def _stages_of_sequential(
    survey: Survey, callee: syntax.Expr, args: tuple[syntax.Arg, ...]
) -> bool:
    """`Sequential(…)`: reported, and its arguments read as the stages that they are there."""
    dotted = isinstance(callee, syntax.Attr) and callee.name.name == "Sequential"
    if not dotted and not (isinstance(callee, syntax.Name) and callee.name == "Sequential"):
        return False
    if isinstance(callee, syntax.Name) and survey.knows("Sequential"):
        return False
    if _callee(survey, callee, args, piped=True) is not None:
        return False
    for arg in args:
        stage, own = split_call(arg.value)
        if isinstance(stage, syntax.Name | syntax.Attr):
            _call(survey, stage, own, piped=True)
        else:
            visit(survey, arg.value)
    return True


def _fact(survey: Survey, args: tuple[syntax.Arg, ...]) -> None:
    for arg in args:
        visit(survey, arg.value)


def check_call(
    survey: Survey,
    meaning: Meaning | None,
    span: Span,
    args: tuple[syntax.Arg, ...],
    *,
    piped: bool,
    layer: bool = False,
) -> None:
    """The arguments of a call, or of the declaration of a layer.

    Their names against the signature, and their plain values.
    """
    match meaning:
        case OperatorRef(cls):
            hints = {name: hint for name, (_, hint) in signature(cls).items()}
            units = {name: unit for (operator, name), unit in UNITS.items() if operator == cls.name}
            sig = operator_signature(cls)
            _arguments(survey, sig, args, hints, units, span, piped=piped, layer=layer)
        case TermRef(term):
            hints = term_fields(term)
            units = {name: unit for (callee, name), unit in UNITS.items() if callee == term.name}
            _arguments(survey, term_signature(term), args, hints, units, span, piped=piped)
        case BlockRef(block, _):
            sig = block_signature(block)
            hints = {p.name.name: parameter_hint(p) for p in block.params}
            _arguments(survey, sig, args, hints, {}, span, piped=piped, layer=layer)
        case BuiltinRef(name):
            _builtin(survey, name, args)
        case LayerMeaning():
            _layer(survey, meaning, args, span, piped=piped)
        case _:
            for arg in args:
                _unmatched(survey, arg.value)


def _arguments(
    survey: Survey,
    sig: Signature,
    args: tuple[syntax.Arg, ...],
    hints: dict[str, Any],
    units: dict[str, str],
    span: Span,
    *,
    piped: bool,
    layer: bool = False,
) -> None:
    try:
        arranged = arrange_layer(sig, args, span) if layer else arrange(sig, args, piped, span)
    except SegError as error:
        survey.report(*error.diagnostics)
        named = {arg.name.name: arg for arg in args if arg.name and sig.get(arg.name.name)}
        arranged = {} if any(arg.name is None for arg in args) else named
        for arg in args:
            if arg not in arranged.values():
                _unmatched(survey, arg.value)
    for name, arg in arranged.items():
        check_argument(survey, name, arg.value, hints.get(name), units.get(name, ""))


def check_layer(
    survey: Survey, callee: syntax.Expr, args: tuple[syntax.Arg, ...]
) -> Signature | None:
    """The declaration of a layer: all arguments but the maps.  Answers what it is, if known."""
    meaning = _callee(survey, callee, args, piped=True)
    if isinstance(meaning, LayerMeaning):
        message = f"`{callee.span.text}` is a layer already"
        survey.report(Diagnostic("E2015", message, callee.span))
        return None
    check_call(survey, meaning, callee.span, args, piped=True, layer=True)
    return signature_of(meaning) if isinstance(meaning, OperatorRef | BlockRef) else None


def _unmatched(survey: Survey, expr: syntax.Expr) -> None:
    """An argument that belongs to nothing known: bare words may be choices or initialisers."""
    if isinstance(expr, syntax.Name) and not survey.knows(expr.name):
        return
    if isinstance(expr, syntax.Call) and is_initialiser(expr):
        for arg in expr.args:
            visit(survey, arg.value)
        return
    visit(survey, expr)


def check_argument(survey: Survey, name: str, expr: syntax.Expr, hint: Any, unit: str = "") -> None:
    """One argument of declared type `hint` (None: a map or a block)."""
    words = choices(hint)
    bare = expr.name if isinstance(expr, syntax.Name) else ""
    if bare in words:
        if survey.scope.find(bare) is not None:
            survey.report(ambiguous_choice(bare, expr.span))
        return
    if takes_initialiser(hint) and _initialiser(survey, name, expr):
        return
    if words and bare and not survey.knows(bare):
        _convert(survey, name, bare, expr.span, hint, unit)
        return
    visit(survey, expr)
    value = literal(expr)
    if hint is not None and value is not NOT_LITERAL:
        _convert(survey, name, value, expr.span, hint, unit)


def _convert(survey: Survey, name: str, value: Any, span: Span, hint: Any, unit: str) -> None:
    try:
        convert(value, hint, unit)
    except Mismatch as mismatch:
        survey.report(wrong_value(name, value, mismatch, span))


def _initialiser(survey: Survey, name: str, expr: syntax.Expr) -> bool:
    """Whether the expression is an initialiser, or was reported as a misspelt one."""
    if is_initialiser(expr):
        check_initialiser(survey, expr)
        return True
    word = expr.callee if isinstance(expr, syntax.Call) else expr
    if isinstance(word, syntax.Name) and not survey.knows(word.name):
        survey.report(no_initialiser(name, word.name, word.span))
        return True
    return False


def check_initialiser(survey: Survey, expr: syntax.Expr) -> None:
    """The arguments of an initialiser."""
    name = expr.callee if isinstance(expr, syntax.Call) else expr
    assert isinstance(name, syntax.Name)
    problem = initialiser_problem(expr)
    if survey.scope.find(name.name) is not None:
        survey.report(ambiguous_choice(name.name, name.span, initialiser=True))
    elif problem is not None:
        survey.report(problem)
    for arg in expr.args if isinstance(expr, syntax.Call) else ():
        visit(survey, arg.value)


def _builtin(survey: Survey, name: str, args: tuple[syntax.Arg, ...]) -> None:
    for arg in args:
        if arg.name is not None and name != "activation":
            message = f"`{name}` has no argument `{arg.name.name}`"
            notes = ("its arguments have no names",)
            survey.report(Diagnostic("E2001", message, arg.name.span, notes=notes))
        visit(survey, arg.value)


def _layer(
    survey: Survey, layer: LayerMeaning, args: tuple[syntax.Arg, ...], span: Span, *, piped: bool
) -> None:
    """One use of a layer."""
    if layer.signature is not None:
        try:
            arrange_maps(layer.signature, layer.name, args, piped, span)
        except SegError as error:
            survey.report(*error.diagnostics)
    for arg in args:
        _unmatched(survey, arg.value)
