"""Which argument means what: the signature of anything callable, and the arrangement of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, SegError, text_helps
from segdsl.elaborate.foreign import foreign_argument
from segdsl.elaborate.values import BlockRef, Callee, OperatorRef
from segdsl.ops.base import Op, signature
from segdsl.ops.terms import Term, term_fields
from segdsl.source import Span
from segdsl.spelling import nearest
from segdsl.types import Slot


@dataclass(frozen=True)
class Parameter:
    """One argument: `positional` ones may be unnamed, `operand`s are maps."""

    name: str
    required: bool
    positional: bool
    operand: bool
    type: str = ""


@dataclass(frozen=True)
class Signature:
    """The arguments of an operator or a block, operands first, in order."""

    name: str
    parameters: tuple[Parameter, ...]
    declared: Span | None = None

    @cached_property
    def positional(self) -> tuple[Parameter, ...]:
        """Those that may be unnamed."""
        return tuple(p for p in self.parameters if p.positional)

    @cached_property
    def maps(self) -> Signature:
        """The operands alone: what a use of a layer gives."""
        return replace(self, parameters=tuple(p for p in self.parameters if p.operand))

    @cached_property
    def settings(self) -> Signature:
        """All but the operands: what the declaration of a layer gives."""
        return replace(self, parameters=tuple(p for p in self.parameters if not p.operand))

    def get(self, name: str) -> Parameter | None:
        """The parameter of that name."""
        return next((p for p in self.parameters if p.name == name), None)


_OPERATORS: dict[type[Op], Signature] = {}


def operator_signature(cls: type[Op]) -> Signature:
    """The signature of an operator, from its operands and its fields."""
    if cls not in _OPERATORS:
        _OPERATORS[cls] = _of_operator(cls)
    return _OPERATORS[cls]


def _of_operator(cls: type[Op]) -> Signature:
    first_optional = len(cls.operands) - cls.optional
    operands = [
        Parameter(name, i < first_optional, i < first_optional, True)
        for i, name in enumerate(cls.operands)
    ]
    fields = [
        Parameter(
            name,
            field.default is MISSING and field.default_factory is MISSING,
            not field.kw_only,
            False,
        )
        for name, (field, _) in signature(cls).items()
    ]
    return Signature(cls.name, (*operands, *fields))


def signature_of(callee: Callee) -> Signature | None:
    """The signature of what a layer may be; None for a function of the language."""
    match callee:
        case OperatorRef(cls):
            return operator_signature(cls)
        case BlockRef(block, _):
            return block_signature(block)
    return None


def term_signature(cls: type[Term]) -> Signature:
    """The signature of a pairwise term: its guide is an operand."""
    return Signature(
        cls.name,
        tuple(
            Parameter(field.name, field.default is MISSING, not field.kw_only, hint is Slot)
            for field, hint in zip(fields(cls), term_fields(cls).values(), strict=True)  # type: ignore[arg-type]
        ),
    )


def block_signature(block: syntax.Block) -> Signature:
    """The signature of a block: every parameter may be unnamed."""
    parameters = tuple(
        Parameter(p.name.name, p.default is None, True, is_port(p.type), p.type.span.text)
        for p in block.params
    )
    return Signature(block.name.name, parameters, block.name.span)


VALUE_TYPES = frozenset({"int", "float", "bool", "str", "block", "oneof"})


def is_port(declared: syntax.Type) -> bool:
    """Whether a declared type is a map (or a list of maps), not a compile-time value."""
    if isinstance(declared, syntax.NamedType):
        return declared.name.name == "tensor"
    if declared.dtype is not None or len(declared.dims) != 1:
        return True
    (dim,) = declared.dims
    if isinstance(dim, syntax.ListExpr):
        return False
    return not (isinstance(dim, syntax.Name) and dim.name in VALUE_TYPES)


def arrange(
    sig: Signature, args: tuple[syntax.Arg, ...], piped: bool, span: Span
) -> Mapping[str, syntax.Arg]:
    """Match the arguments of a call to parameters; a piped value takes the first place.

    Raises:
        SegError: too many unnamed (E2002), unknown (E2001), repeated (E2001), missing (E2004), or
            an
            unnamed one after a named one (E2012). All of them at once.
    """
    found: list[Diagnostic] = []
    places = list(sig.positional[1:] if piped and sig.positional else sig.positional)
    taken = {sig.positional[0].name} if piped and sig.positional else set[str]()
    if piped and not (sig.positional and sig.positional[0].operand):
        found.append(
            Diagnostic("E2015", f"`{sig.name}` takes no map, so nothing can flow into it", span)
        )
    unnamed = [arg for arg in args if arg.name is None]
    arranged: dict[str, syntax.Arg] = {}
    named_before = False
    for arg in args:
        if arg.name is None:
            if named_before:
                found.append(
                    Diagnostic("E2012", "an unnamed argument stands after a named one", arg.span)
                )
            elif places:
                arranged[places.pop(0).name] = arg
            else:
                found.append(_too_many(sig, unnamed, piped, arg))
                break
            continue
        named_before = True
        if sig.get(arg.name.name) is None:
            found.append(_unknown(sig, arg, args))
        elif arg.name.name in arranged or arg.name.name in taken:
            found.append(Diagnostic("E2001", f"`{arg.name.name}` is given twice", arg.span))
        else:
            arranged[arg.name.name] = arg
    missing = [
        p for p in sig.parameters if p.required and p.name not in arranged | dict.fromkeys(taken)
    ]
    if missing and not found:
        found.append(_missing(sig, missing, span))
    if found:
        raise SegError(*found)
    return arranged


def arrange_layer(
    sig: Signature, args: tuple[syntax.Arg, ...], span: Span
) -> Mapping[str, syntax.Arg]:
    """Match the arguments that stand in the declaration of a layer: all but the maps.

    Raises:
        SegError: as `arrange`; a map is E2001, and what takes none is E2015.
    """
    if not sig.maps.parameters:
        message = f"`{sig.name}` takes no map, so it is no layer"
        raise SegError(Diagnostic("E2015", message, span))
    early = [a.name for a in args if a.name is not None and sig.maps.get(a.name.name) is not None]
    if early:
        message = "the maps of a layer are given where it is used, not where it is declared"
        raise SegError(*(Diagnostic("E2001", message, name.span) for name in early))
    return arrange(sig.settings, args, False, span)


def arrange_maps(
    sig: Signature, layer: str, args: tuple[syntax.Arg, ...], piped: bool, span: Span
) -> Mapping[str, syntax.Arg]:
    """Match what one use of a layer gives: the maps, by place or by name.

    Raises:
        SegError: as `arrange`.
    """
    maps = replace(sig.maps, name=layer, declared=None)
    try:
        return arrange(maps, args, piped, span)
    except SegError as error:
        names = ", ".join(f"`{p.name}`" for p in maps.parameters)
        note = f"a layer takes maps alone ({names}): all else stands in its declaration"
        raise SegError(*(replace(d, notes=(*d.notes, note)) for d in error.diagnostics)) from error


def _too_many(
    sig: Signature, unnamed: list[syntax.Arg], piped: bool, arg: syntax.Arg
) -> Diagnostic:
    places = [p.name for p in sig.positional[1 if piped else 0 :]]
    words = ", ".join(places)
    message = f"`{sig.name}` takes at most {len(places)} unnamed argument{'s' * (len(places) != 1)}"
    message += f" ({words}), {len(unnamed)} given" if places else f", {len(unnamed)} given"
    notes: tuple[str, ...] = ()
    if sig.name in ("conv", "conv_transpose", "linear"):
        notes = ("the input channels come from the map that flows in",)
    helps: tuple[Help, ...] = ()
    if notes and piped and len(unnamed) == len(places) + 1 > 1:
        first, second = unnamed[0].span, unnamed[1].span
        rest = ", ".join(a.span.text for a in unnamed[1:])
        edit = Edit(Span(first.source, first.start, second.start), "")
        helps = (Help(f"write `{sig.name}({rest})`", (edit,), Applicability.LIKELY),)
    return Diagnostic("E2002", message, arg.span, notes=notes, helps=helps)


def _unknown(sig: Signature, arg: syntax.Arg, args: tuple[syntax.Arg, ...]) -> Diagnostic:
    assert arg.name is not None
    name = arg.name
    known = [p.name for p in sig.parameters]
    helps = foreign_argument(sig.name, arg, args, known)
    guess = None if helps else nearest(name.name, known)
    if guess:
        edit = Edit(name.span, guess)
        helps = (Help(f"did you mean `{guess}`?", (edit,), Applicability.LIKELY),)
    named = [p.name for p in sig.parameters if not p.operand or not p.positional]
    note = f"it takes {', '.join(named)}" if named else "it takes no arguments"
    return Diagnostic(
        "E2001",
        f"`{sig.name}` has no argument `{name.name}`",
        name.span,
        notes=(note,),
        helps=helps,
    )


def _missing(sig: Signature, missing: list[Parameter], span: Span) -> Diagnostic:
    words = ", ".join(
        f"`{p.name}`" + (f" ({p.type})" if p.type and not p.operand else "") for p in missing
    )
    notes: tuple[str, ...] = ()
    if sig.declared is not None:
        notes = (f"declared on line {sig.declared.line} of {sig.declared.source.name}",)
    helps = text_helps(
        "let a map flow in with `->`"
        if missing[0].operand
        else f"add {', '.join(f'`{p.name}=…`' for p in missing)}"
    )
    return Diagnostic("E2004", f"`{sig.name}` needs {words}", span, notes=notes, helps=helps)
