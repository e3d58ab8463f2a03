"""E1002 and E2001 for words of PyTorch, Keras and Caffe: the call in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, text_helps
from segdsl.foreign import (
    ABSENT,
    CALLS,
    IDLE,
    PREFIXES,
    Foreign,
    advice,
    argument,
    framework,
    idle_value,
    value,
)
from segdsl.ops.base import OPS, signature
from segdsl.source import Span

_CLOSING = re.compile(r"\s*,?\s*\)")
_PATH = re.compile(r"\s*@(?:[\w.]|\{[^{}\n]*\})+")
_APPLIED = re.compile(r"\(\s*([A-Za-z_]\w*)\s*\)")
_EMPTY = re.compile(r"\s*\(\s*\)")
_STAGES = frozenset({"relu", "sigmoid", "tanh", "softmax", "gelu", "silu", "elu"})


def prefixed(expr: syntax.Attr) -> str | None:
    """The first word of `nn.Conv2d` or `tf.keras.layers.Conv2D`, if another framework has it."""
    left = expr.value
    while isinstance(left, syntax.Attr):
        left = left.value
    return left.name if isinstance(left, syntax.Name) and left.name in PREFIXES else None


def is_foreign(name: str) -> bool:
    """Whether another framework calls something so that is called otherwise here."""
    return name in CALLS or name in ABSENT


def own_name(name: str, span: Span) -> Diagnostic:
    """E1002 for `F.relu`: the operator has the same name here, and stands alone."""
    edit = Edit(span, name)
    sure = Help(f"write `{name}`", (edit,), Applicability.CERTAIN)
    message = f"`{span.text}` is PyTorch's name; here it is `{name}`"
    return Diagnostic("E1002", message, span, helps=(sure,))


def foreign_call(
    name: str, span: Span, args: Sequence[syntax.Arg], *, piped: bool, called: bool = True
) -> Diagnostic:
    """E1002 for a call by a foreign name, with the whole call translated where it can be.

    Args:
        name: the name, without what stands before its last dot.
        span: where it stands, with what stands before it.
        args: its arguments.
        piped: whether a map flows into it.
        called: whether it is called at all, and not given to something.
    """
    head = f"`{span.text}` is {framework(name)} name"
    if name in ABSENT:
        helps = text_helps(ABSENT[name][1])
        return Diagnostic("E1002", f"{head}, and no operator here", span, helps=helps)
    call = CALLS[name]
    message = f"{head}; here it is `{call.target}`"
    notes = (call.note,) if call.note else ()
    if not call.target.isidentifier():
        helps = text_helps(f"write `a {call.target} b`")
        return Diagnostic("E1002", message, span, notes=notes, helps=helps)
    whole = _whole(span, args) if called else None
    if call.target not in OPS or whole is None:
        edit = Edit(span, call.target)
        help = Help(f"write `{call.target}`", (edit,), Applicability.LIKELY)
        return Diagnostic("E1002", message, span, notes=notes, helps=(help,))
    made = _Made(call, piped)
    applied = None if piped else _APPLIED.match(span.source.text, whole.end)
    if applied is not None:  # `nn.ReLU()(x)`: a module that is made and used at once
        made.maps.append(applied[1])
        whole = Span(span.source, span.start, applied.end())
    made.read([(a.name.name if a.name else None, a.value.span.text) for a in args])
    edits = (made.edit(whole),) if made.complete else ()
    sure = Applicability.CERTAIN if made.exact else Applicability.LIKELY
    help = Help(f"write `{made.text()}`", edits, sure if edits else Applicability.TEMPLATE)
    return Diagnostic("E1002", message, span, notes=(*notes, *made.notes), helps=(help,))


def _whole(span: Span, args: Sequence[syntax.Arg]) -> Span | None:
    """The place of a call with its brackets, or of the name alone where it has none."""
    if not args:
        empty = _EMPTY.match(span.source.text, span.end)
        return Span(span.source, span.start, empty.end() if empty else span.end)
    closing = _CLOSING.match(span.source.text, args[-1].span.end)
    return Span(span.source, span.start, closing.end()) if closing else None


@dataclass
class _Made:
    """A call while it is translated.

    Attributes:
        exact: whether it means the same as far as the text tells.
        complete: whether every argument was understood.
    """

    call: Foreign
    piped: bool
    exact: bool = True
    complete: bool = True
    maps: list[str] = field(default_factory=list[str])
    given: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    tail: str = ""

    def read(self, args: Sequence[tuple[str | None, str]]) -> None:
        """Translate all arguments, the unnamed ones by their places there."""
        places = self._places(args)
        for name, text in args:
            if name is not None:
                self._named(name, text)
            elif not places:
                self.exact = self.complete = False
                self.maps.append(text)
            else:
                place = places.pop(0)
                if place == "*":
                    self.maps.append(text)
                else:
                    self._named(place, text)
        for name, text in self.call.adds.items():
            self.given.setdefault(name, text)
        if {"scale", "to"} <= set(self.given) and "scale" in self.call.adds:
            del self.given["scale"]
        self._check_same()

    def _places(self, args: Sequence[tuple[str | None, str]]) -> list[str]:
        """What unnamed arguments mean: as there; as here, where too few are given for there."""
        places = list(self.call.order)
        if self.piped and places[:1] == ["*"]:
            places = places[1:]
        needed = self.call.needed - (self.piped and self.call.order[:1] == ("*",))
        named = {name for name, _ in args if name is not None}
        unnamed = len(args) - len(named)
        given = set(places[:unnamed]) | named
        if len(given & set(places[: max(needed, 0)])) >= needed and unnamed <= len(places):
            return places
        self.exact = False
        if places[:1] == ["in_channels"]:
            self.notes += ("input channels are inferred: they are not an argument",)
        fields = [n for n, (f, _) in signature(OPS[self.call.target]).items() if not f.kw_only]
        return fields if self.piped else ["*", *fields]

    def _named(self, name: str, text: str) -> None:
        op = OPS[self.call.target]
        known = [*signature(op), *op.operands]
        ours = self.call.names.get(name) or argument(self.call.target, name, known)
        ours = ours or (name if name in known else None)
        if name == "activation" and ours is None:
            self._activation(text)
        elif name in IDLE:
            self._idle(name, text)
        elif name == "padding_mode" and text.strip('"') == "zeros":
            pass
        elif ours is None:
            self.exact = self.complete = False
            hint = advice(name)
            self.notes += (f"`{name}`: {hint}",) if hint else (f"`{name}` has no like here",)
        elif ours in op.operands:
            self.maps.append(text)
        else:
            self._value(ours, text)

    def _idle(self, name: str, text: str) -> None:
        if self.call.framework == "Keras" or name in ("normalized_shape", "input_shape"):
            self.exact = self.exact and idle_value(name, text)
        note = advice(name).removeprefix("leave it out: ")
        self.notes += (note,) if note not in self.notes else ()

    def _activation(self, text: str) -> None:
        word = text.strip('"').lower()
        if word in ("none", "linear"):
            return
        if word in _STAGES and word in OPS and word != "softmax":
            self.tail = f" -> {word}"
        else:
            self.exact = self.complete = False
        if not self.piped:
            self.complete = False

    def _value(self, ours: str, text: str) -> None:
        translated = value(ours, text)
        if ours == "momentum" and self.call.framework == "Keras":
            translated = _complement(text)
        if translated is None:
            self.exact = self.complete = False
        self.given[ours] = translated or text

    def _check_same(self) -> None:
        """`same` is one thing at stride 1, and another at others and in pools."""
        pad, stride = self.given.get("pad"), self.given.get("stride", "1")
        pool = self.call.target.endswith("_pool")
        if pad == "valid" and pool:
            del self.given["pad"]
        elif pad == "same" and (pool or stride not in ("1", "[1, 1]")):
            self.exact = False
            self.notes += ("Keras's `same` pads after the map first where the sides differ",)
            self.complete = self.complete and not pool

    def edit(self, whole: Span) -> Edit:
        """The call in its place; a stage that follows from it stands behind its weight path."""
        path = _PATH.match(whole.source.text, whole.end) if self.tail else None
        if path is None:
            return Edit(whole, self.text())
        place = Span(whole.source, whole.start, path.end())
        return Edit(place, f"{self.text().removesuffix(self.tail)}{path[0]}{self.tail}")

    def text(self) -> str:
        """The call as it is written here."""
        op = OPS[self.call.target]
        fields = signature(op)
        parts = list(self.maps)
        named = False
        for name, (declared, _) in fields.items():
            if name not in self.given:
                named = True
            elif not _is_default(declared.default, self.given[name]):
                unnamed = not named and not declared.kw_only and (self.piped or self.maps)
                named = named or not unnamed
                parts.append(self.given[name] if unnamed else f"{name}={self.given[name]}")
        return op.name + (f"({', '.join(parts)})" if parts else "") + self.tail


def _is_default(default: object, text: str) -> bool:
    if isinstance(default, bool):
        return text == str(default).lower()
    return text == str(default) if isinstance(default, int | str) else False


def _complement(text: str) -> str | None:
    try:
        return str(1 - Decimal(text))
    except InvalidOperation:
        return None


def foreign_argument(
    target: str, arg: syntax.Arg, args: Sequence[syntax.Arg], known: Sequence[str]
) -> tuple[Help, ...]:
    """What an argument of another framework is here: its name and value, or why it is left out."""
    assert arg.name is not None
    name, text = arg.name.name, arg.value.span.text
    if name in IDLE and name not in known:
        gone = (Edit(_with_comma(arg, args), ""),)
        sure = Applicability.CERTAIN if idle_value(name, text) else Applicability.LIKELY
        silent = idle_value(name, text) or name not in ("data_format", "dtype", "input_shape")
        return (Help(advice(name), gone if silent else (), sure if silent else _TEMPLATE),)
    ours = argument(target, name, known)
    if ours is None:
        return text_helps(advice(name)) if advice(name) else ()
    taken = any(a.name is not None and a.name.name == ours for a in args)
    translated = value(ours, text)
    if translated is None or taken:
        edits: tuple[Edit, ...] = () if taken else (Edit(arg.name.span, ours),)
        sure = Applicability.LIKELY if edits else _TEMPLATE
        return (Help(f"did you mean `{ours}`?", edits, sure),)
    strided = any(a.name is not None and a.name.name in ("stride", "strides") for a in args)
    doubtful = (translated == "same" and strided) or (ours == "axis" and name != "dim")
    sure = Applicability.LIKELY if doubtful else Applicability.CERTAIN
    return (Help(f"write `{ours}={translated}`", (Edit(arg.span, f"{ours}={translated}"),), sure),)


_TEMPLATE = Applicability.TEMPLATE


def _with_comma(arg: syntax.Arg, args: Sequence[syntax.Arg]) -> Span:
    """The place of an argument with the comma that parts it from its neighbour."""
    place = next(i for i, a in enumerate(args) if a is arg)
    source = arg.span.source
    if place:
        return Span(source, args[place - 1].span.end, arg.span.end)
    following = args[1].span.start if len(args) > 1 else arg.span.end
    return Span(source, arg.span.start, following)
