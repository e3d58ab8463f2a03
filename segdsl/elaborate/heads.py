"""The static pass over the heads of items: their names, and the types of parameters and ports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Label, SegError, text_helps
from segdsl.elaborate.complaints import BUILTINS, operator_names
from segdsl.elaborate.declared import PLAIN, choice_words
from segdsl.elaborate.dims import DTYPES
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.signature import is_port
from segdsl.infer import at_user
from segdsl.source import Span
from segdsl.spelling import nearest

TYPES = (*PLAIN, "block", "oneof", "tensor")
"""The types that have a name."""


def check_head(item: syntax.Block | syntax.Net | syntax.Const) -> list[Diagnostic]:
    """What is wrong with an item before its body is read: such an item cannot be elaborated."""
    match item:
        case syntax.Block():
            ports = [*(p.name for p in item.params), *(p.name for p in item.outputs)]
            found = [*_name(item.name, "a block"), *_twice(ports), *_block_ports(item)]
        case syntax.Net():
            names = [p.name for p in item.params]
            found = [*_name(item.name, "a net"), *_twice(names), *_net_params(item)]
        case syntax.Const():
            return list(_const(item))
    return found


def check_alias(alias: syntax.Ident) -> Iterator[Diagnostic]:
    """E1009: an imported block must not be called like an operator."""
    yield from _name(alias, "an import")


def _name(name: syntax.Ident, what: str) -> Iterator[Diagnostic]:
    if name.name in operator_names() | BUILTINS:
        kind = "a function" if name.name in BUILTINS else "an operation"
        message = f"`{name.name}` is {kind} of the language; {what} needs another name"
        yield Diagnostic("E1009", message, name.span)


def _twice(names: Iterable[syntax.Ident]) -> Iterator[Diagnostic]:
    first: dict[str, Span] = {}
    for name in names:
        if name.name in first:
            label = Label(first[name.name], "first used here")
            message = f"`{name.name}` names two parameters or ports"
            yield Diagnostic("E1005", message, name.span, labels=(label,))
        first.setdefault(name.name, name.span)


def _block_ports(block: syntax.Block) -> Iterator[Diagnostic]:
    for param in block.params:
        yield from check_type(param.type)
        if is_port(param.type) and param.default is not None:
            message = f"`{param.name.name}` is a map, and a map has no default"
            yield Diagnostic("E2003", message, param.default.span, helps=_list_help(param.type))
    for port in block.outputs:
        if port.type is not None:
            yield from map_type(port.type)


def map_type(declared: syntax.Type) -> Iterator[Diagnostic]:
    """What is wrong with the type of an output, which is a map."""
    wrong = list(check_type(declared))
    yield from wrong
    if not wrong and not is_port(declared):
        message = f"an output is a map, and `{declared.span.text}` is none"
        yield Diagnostic("E2003", message, declared.span)


def _list_help(declared: syntax.Type) -> tuple[Help, ...]:
    """`[itn]` reads as a shape with one axis: perhaps a list was meant."""
    dim = declared.dims[0] if isinstance(declared, syntax.ShapeType) else None
    guess = nearest(dim.name, TYPES) if isinstance(dim, syntax.Name) else None
    return text_helps(f"did you mean `[{guess}]`?") if guess else ()


def _net_params(net: syntax.Net) -> Iterator[Diagnostic]:
    for param in net.params:
        yield from check_type(param.type)
        if is_port(param.type):
            name = param.name.name
            message = f"`{name}` is a map: a net takes its maps as inputs, not as parameters"
            helps = text_helps(f"write `input {name}: {param.type.span.text}` in its body")
            yield Diagnostic("E2003", message, param.span, helps=helps)


def _const(const: syntax.Const) -> Iterator[Diagnostic]:
    if const.type is None:
        return
    yield from check_type(const.type)
    if is_port(const.type):
        message = f"`{const.name.name}` is a constant: a number, a string or a list, never a map"
        yield Diagnostic("E2003", message, const.value.span)


def check_type(declared: syntax.Type) -> Iterator[Diagnostic]:
    """E1001 for a type that does not exist; E2003 for arguments that it does not take."""
    if isinstance(declared, syntax.NamedType):
        yield from _named(declared)
        return
    if declared.dtype is not None and declared.dtype.name not in DTYPES:
        yield _no_element_type(declared.dtype)
    if len(declared.dims) == 1 and isinstance(declared.dims[0], syntax.ListExpr):
        inner = declared.dims[0].elements
        item = inner[0] if len(inner) == 1 else None
        if not isinstance(item, syntax.Name) or item.name not in PLAIN:
            words = ", ".join(f"`[[{name}]]`" for name in PLAIN)
            message = f"`{declared.span.text}` is no type; lists of lists are {words}"
            yield Diagnostic("E1001", message, declared.span)


def refuse_type(frame: Frame, declared: syntax.Type) -> None:
    """Stop at a type that does not exist.

    Raises:
        SegError: the findings of `check_type`.
    """
    found = [at_user(d, frame.scope) for d in check_type(declared)]
    if found:
        raise SegError(*found)


def _named(declared: syntax.NamedType) -> Iterator[Diagnostic]:
    name = declared.name.name
    if name not in TYPES:
        guess = nearest(name, TYPES)
        helps: tuple[Help, ...] = ()
        if guess:
            edit = Edit(declared.name.span, guess)
            helps = (Help(f"did you mean `{guess}`?", (edit,), Applicability.LIKELY),)
        notes = (f"types are {', '.join(f'`{word}`' for word in TYPES)}, lists and shapes",)
        message = f"there is no type `{name}`"
        yield Diagnostic("E1001", message, declared.name.span, notes=notes, helps=helps)
    elif name == "oneof":
        if not declared.args or len(choice_words(declared)) != len(declared.args):
            helps = text_helps('write `oneof("a", "b")`')
            message = "`oneof` takes the words it allows, as strings"
            yield Diagnostic("E2003", message, declared.span, helps=helps)
    elif declared.args:
        yield Diagnostic("E2002", f"the type `{name}` takes no arguments", declared.span)


def _no_element_type(dtype: syntax.Ident) -> Diagnostic:
    guess = nearest(dtype.name, sorted(DTYPES))
    helps: tuple[Help, ...] = ()
    if guess:
        edit = Edit(dtype.span, guess)
        helps = (Help(f"did you mean `{guess}`?", (edit,), Applicability.LIKELY),)
    words = ", ".join(sorted(DTYPES))
    message = f"`{dtype.name}` is no element type; there are {words}"
    return Diagnostic("E2007", message, dtype.span, helps=helps)
