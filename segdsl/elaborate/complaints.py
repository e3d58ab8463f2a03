"""What is said about names, the same from the static pass and from elaboration."""

from __future__ import annotations

from collections.abc import Iterable

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Label, text_helps
from segdsl.elaborate.foreign import foreign_call, is_foreign
from segdsl.imports import STANDARD, Module
from segdsl.ops.base import OPS
from segdsl.ops.terms import TERMS
from segdsl.source import Span
from segdsl.spelling import nearest
from segdsl.types import INITIALISERS

BUILTINS = frozenset(
    [
        "len",
        "range",
        "enumerate",
        "reversed",
        "zip",
        "sum",
        "min",
        "max",
        "abs",
        "int",
        "float",
        "str",
        "ceil",
        "floor",
        "activation",
    ]
)
"""Compile-time functions of the language; `sum`, `max` and `min` also join lists of maps."""


FACTS = frozenset({"params", "macs", "shape", "stride", "rf"})
"""What a `check` can ask of the graph, beside everything that is known while elaborating."""


def operator_names() -> set[str]:
    """The operators that a program may name."""
    return {name for name, cls in OPS.items() if not cls.internal}


def callable_names(module: Module) -> set[str]:
    """Everything that a call in this file may name, apart from local layers and parameters."""
    items = module.items.items()
    blocks = {name for name, (entry, _) in items if isinstance(entry, syntax.Block)}
    return operator_names() | blocks | BUILTINS | set(TERMS) | set(STANDARD)


def guess_help(
    name: str, known: Iterable[str], span: Span, lines: dict[str, int] | None = None
) -> tuple[Help, ...]:
    """`did you mean …?` with its edit; `lines` says where the known names are bound."""
    guess = nearest(name, list(known))
    if guess is None:
        return ()
    line = (lines or {}).get(guess)
    place = f" (line {line})" if line else ""
    edit = Edit(span, guess)
    return (Help(f"did you mean `{guess}`{place}?", (edit,), Applicability.LIKELY),)


def unknown_callable(
    module: Module,
    name: str,
    span: Span,
    local: Iterable[str] = (),
    bound: str = "",
    args: tuple[syntax.Arg, ...] = (),
    *,
    piped: bool = False,
) -> Diagnostic:
    """E1001 or E1002: nothing can be called by this name.

    Args:
        module: the file in which it stands.
        name: the name.
        span: where it stands.
        local: names of layers and blocks that are bound here.
        bound: what the name is here, if it is bound as something that cannot be called.
        args: the arguments of the call, for the translation of a foreign one.
        piped: whether a map flows into the call.
    """
    if is_foreign(name):
        return foreign_call(name, span, args, piped=piped)
    entry = module.items.get(name)
    if entry is not None and isinstance(entry[0], syntax.Net):
        return Diagnostic(
            "E1001",
            f"`{name}` is a net, not a block: it cannot be called",
            span,
            labels=(Label(entry[0].name.span, "defined here"),),
            helps=text_helps("write the part that both need as a `block`, and call that"),
        )
    notes: tuple[str, ...] = ()
    if name in FACTS:
        notes = (f"a `check` can ask for {', '.join(sorted(FACTS))}; nothing else can",)
    elif bound:
        notes = (f"`{name}` is bound here, but it is {bound}",)
    elif name in INITIALISERS:
        notes = ('it is an initialiser: they stand behind `init=`, `bias_init=` or `init "…" =`',)
    helps = guess_help(name, callable_names(module) | set(local), span)
    message = f"there is no operation or block `{name}`"
    return Diagnostic("E1001", message, span, notes=notes, helps=helps)


def unknown_value(
    module: Module, name: str, span: Span, known: Iterable[str], lines: dict[str, int] | None = None
) -> Diagnostic:
    """E1003: the name is bound to nothing where a value is needed."""
    if name in module.modules:
        note = f"`{name}` is an imported file: name something of it, as `{name}.Block`"
        return Diagnostic("E1003", f"`{name}` is not a value", span, notes=(note,))
    entry = module.items.get(name)
    if entry is not None and isinstance(entry[0], syntax.Net):
        label = Label(entry[0].name.span, "a net, defined here")
        return Diagnostic("E1003", f"`{name}` is a net, not a value", span, labels=(label,))
    everything = set(known) | set(module.items) | set(module.modules)
    helps = guess_help(name, everything, span, lines)
    return Diagnostic("E1003", f"`{name}` is not bound here", span, helps=helps)


def no_such_item(module: Module, alias: str, name: syntax.Ident) -> Diagnostic:
    """E1001: an imported file has nothing of that name."""
    own = sorted(n for n, (_, home) in module.items.items() if home is module)
    notes = (f"it defines {', '.join(own) or 'nothing'}",)
    helps = guess_help(name.name, own, name.span)
    message = f"`{alias}` has no block or constant `{name.name}`"
    return Diagnostic("E1001", message, name.span, notes=notes, helps=helps)


def rebound(name: str, first: Span, span: Span, *, variable: bool = False) -> Diagnostic:
    """E1005: the name is bound already, and may not change."""
    label = Label(first, "first bound here")
    message = f"`{name}` is already bound on line {first.line}"
    helps = text_helps("take a new name")
    if first.source.line(first.line).lstrip().startswith(f"{name} ="):
        helps = text_helps(f"take a new name, or declare `var {name}` there")
    if variable:
        helps = text_helps(f"write `{name} = …` to change it; `var` stands where it begins")
    return Diagnostic("E1005", message, span, labels=(label,), helps=helps)


def used_early(name: str, first: Span, span: Span) -> Diagnostic:
    """E1004: a later statement binds the name."""
    message = f"`{name}` is used before line {first.line} binds it"
    notes = ("statements run from top to bottom",)
    if first.line == span.line:
        message = f"`{name}` is used in the statement that binds it"
        notes = ("a name has its value only after its own statement",)
    return Diagnostic("E1004", message, span, labels=(Label(first, "bound here"),), notes=notes)


def bound_in_branch(name: str, first: Span, condition: str, taken: bool, span: Span) -> Diagnostic:
    """E1006: only one branch of an `if` binds the name."""
    when = "true" if taken else "false"
    branch = "`else` branch" if taken else "first branch"
    return Diagnostic(
        "E1006",
        f"`{name}` exists only when `{condition}` is {when}",
        span,
        labels=(Label(first, "bound here, in one branch"),),
        helps=text_helps(f"bind it in the {branch} too, or use it inside the branch that binds it"),
    )


def bound_in_loop(name: str, first: Span, span: Span) -> Diagnostic:
    """E1003: the name was bound in a loop, and ended with its turn."""
    return Diagnostic(
        "E1003",
        f"`{name}` is not bound here",
        span,
        labels=(Label(first, "bound inside the loop, and gone with its turn"),),
        helps=text_helps(f"declare `var {name} = …` before the loop, and change it inside"),
    )


def never_bound(block: str, port: syntax.Ident) -> Diagnostic:
    """E1003: a block does not bind one of its outputs."""
    message = f"`{block}` never binds its output `{port.name}`"
    helps = text_helps(f"write `{port.name} = …` in its body")
    return Diagnostic("E1003", message, port.span, helps=helps)
