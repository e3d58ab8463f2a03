"""Initialisers as they are written: `zeros`, `constant(0.1)`."""

from __future__ import annotations

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, text_helps
from segdsl.source import Span
from segdsl.spelling import nearest
from segdsl.types import INITIALISERS

DEFAULTED = frozenset({"trunc_normal", "normal"})
"""Initialisers whose number has a default."""


def is_initialiser(expr: syntax.Expr) -> bool:
    """Whether the expression is an initialiser by its name."""
    name = expr.callee if isinstance(expr, syntax.Call) else expr
    return isinstance(name, syntax.Name) and name.name in INITIALISERS


def initialiser_problem(expr: syntax.Expr) -> Diagnostic | None:
    """What is wrong with the arguments of an initialiser, as far as their number and names go."""
    name = expr.callee if isinstance(expr, syntax.Call) else expr
    assert isinstance(name, syntax.Name)
    takes = INITIALISERS[name.name]
    args = expr.args if isinstance(expr, syntax.Call) else ()
    if takes is None:
        message = f"`{name.name}` takes no argument"
        return Diagnostic("E2002", message, args[0].span) if args else None
    if not args:
        message = f"`{name.name}` needs its number, as `{name.name}({takes})`"
        return None if name.name in DEFAULTED else Diagnostic("E2004", message, expr.span)
    unknown = args[0].name is not None and args[0].name.name != takes
    if len(args) > 1 or unknown:
        wrong = args[0] if unknown else args[1]
        message = f"`{name.name}` takes one number, `{takes}`"
        return Diagnostic("E2001" if wrong.name else "E2002", message, wrong.span)
    return None


def ambiguous_choice(word: str, span: Span, *, initialiser: bool = False) -> Diagnostic:
    """E2014: a bare word is a choice of the argument (or an initialiser) and a name in scope."""
    message = f"`{word}` is a choice here, but also a name in scope"
    edit = Edit(span, f'"{word}"')
    helps: tuple[Help, ...] = (
        Help(f'write "{word}" for the choice', (edit,), Applicability.LIKELY),
    )
    if initialiser:
        message = f"`{word}` is an initialiser here, but also a name in scope"
        helps = text_helps(f"give the other `{word}` another name")
    return Diagnostic("E2014", message, span, helps=helps)


def no_initialiser(argument: str, word: str, span: Span) -> Diagnostic:
    """E2007: a word where an initialiser must stand."""
    guess = nearest(word, list(INITIALISERS))
    helps: tuple[Help, ...] = ()
    if guess:
        help = Help(f"did you mean `{guess}`?", (Edit(span, guess),), Applicability.LIKELY)
        helps = (help,)
    notes = (f"there are {', '.join(INITIALISERS)}",)
    message = f"`{argument}` takes an initialiser; there is no `{word}`"
    return Diagnostic("E2007", message, span, notes=notes, helps=helps)
