"""Shapes as they are written: dimension variables bind, everything else is a claim."""

from __future__ import annotations

from dataclasses import replace

from segdsl import syntax
from segdsl.diagnostics import Label
from segdsl.elaborate.arithmetic import as_size
from segdsl.elaborate.frame import Dim, Frame
from segdsl.elaborate.state import Claim, State, Subject, refuse
from segdsl.elaborate.values import Map, Ratio, describe
from segdsl.source import Span
from segdsl.symbolic import Formula, Size, substitute, symbol
from segdsl.types import HEIGHT, WIDTH

AXES = ("batch size", "number of channels", "height", "width")
DTYPES = frozenset({"f16", "bf16", "f32", "f64", "u8", "i64", "bool"})
HOLE = "?"
"""The name under which an unbound variable is solved for; no name of the language can be it."""


def bind_bare(
    state: State, frame: Frame, declared: syntax.ShapeType, value: Map, port: str
) -> None:
    """Bind the variables that stand alone in a shape, from the sizes of a value.

    Raises:
        SegError: the value has another number of axes (E3016).
    """
    dims = _aligned(frame, declared, value)
    for axis, dim in dims:
        if isinstance(dim, syntax.Name) and _is_free(frame, dim.name):
            frame.dims[dim.name] = Dim(value.feature.shape[axis], dim.span, port)


def claim_shape(
    state: State, frame: Frame, declared: syntax.ShapeType, value: Map, what: str, *, port: bool
) -> None:
    """Check a value against a declared shape: known sizes now, the others for every accepted size.

    Raises:
        SegError: a known size differs (E3007, E3010 at a port), or the element type does.
    """
    _claim_dtype(frame, declared, value, what)
    for axis, dim in _aligned(frame, declared, value):
        found = value.feature.shape[axis]
        if isinstance(dim, syntax.Name) and (dim.name == "_" or _binds(frame, dim, found, what)):
            continue
        assert not isinstance(dim, syntax.AnyDims)
        if port and _solve(state, frame, dim, found, what):
            continue
        _claim_size(state, frame, dim, found, axis, value, what, port)


def _aligned(
    frame: Frame, declared: syntax.ShapeType, value: Map
) -> list[tuple[int, syntax.Expr | syntax.AnyDims]]:
    """The declared dims with the axes they speak of; `...` stands for any number of axes."""
    dims = declared.dims
    rank = value.feature.rank
    open_at = [i for i, dim in enumerate(dims) if isinstance(dim, syntax.AnyDims)]
    if len(open_at) > 1:
        refuse(frame, "E2011", "a shape has at most one `...`", declared.span)
    if open_at:
        before, after = dims[: open_at[0]], dims[open_at[0] + 1 :]
        if rank >= len(before) + len(after):
            tail = enumerate(after, rank - len(after))
            return [*enumerate(before), *tail]
    elif len(dims) == rank:
        return list(enumerate(dims))
    message = f"this is declared with {len(dims)} axes, but has {rank}: {value.feature}"
    refuse(frame, "E3016", message, declared.span)


def _claim_dtype(frame: Frame, declared: syntax.ShapeType, value: Map, what: str) -> None:
    if declared.dtype is not None and declared.dtype.name != value.feature.dtype:
        message = f"{what} is declared {declared.dtype.name}, but is {value.feature.dtype}"
        refuse(frame, "E3007", message, declared.dtype.span)


def _is_free(frame: Frame, name: str) -> bool:
    """Whether a bare name in a shape is a dimension variable that nothing has bound yet."""
    if name == "_" or name in frame.dims:
        return False
    return frame.names.find(name) is None and not _is_const(frame, name)


def _is_const(frame: Frame, name: str) -> bool:
    entry = frame.module.items.get(name)
    return entry is not None and isinstance(entry[0], syntax.Const)


def _binds(frame: Frame, dim: syntax.Name, found: Size, what: str) -> bool:
    if not _is_free(frame, dim.name):
        return False
    frame.dims[dim.name] = Dim(found, dim.span, what)
    return True


def _solve(state: State, frame: Frame, dim: syntax.Expr, found: Size, what: str) -> bool:
    """Let `2*h`, `h + 1`, `k*h + c` bind `h` where nothing else did."""
    unbound = {
        part.name: part.span
        for part in names_in(dim)
        if part.name not in frame.dims and _is_free(frame, part.name)
    }
    if len(unbound) != 1 or isinstance(dim, syntax.Name):
        return False
    ((name, span),) = unbound.items()
    frame.dims[name] = Dim(symbol(HOLE), span, what)
    form = as_size(state.evaluate(state, frame, dim))
    del frame.dims[name]
    zero = substitute(form, {HOLE: 0}) if isinstance(form, Formula) else None
    slope = (
        substitute(form, {HOLE: 1}) - zero if isinstance(form, Formula) and zero is not None else 0
    )
    if (
        not isinstance(slope, int)
        or zero is None
        or slope <= 0
        or form != symbol(HOLE) * slope + zero
    ):
        refuse(
            frame,
            "E2011",
            f"`{dim.span.text}` cannot bind `{name}`; write `{name}` alone somewhere",
            dim.span,
        )
    rest = (found - zero) % slope
    if rest != 0:
        message = f"{what} has no whole `{name}`"
        claim = Claim("equal", rest, 0, 1, "E3010", message, dim.span, frame.scope)
        state.claims.append(claim)
    frame.dims[name] = Dim((found - zero) // slope, span, what)
    return True


def names_in(expr: syntax.Expr) -> list[syntax.Name]:
    """The names of a written size, in order."""
    match expr:
        case syntax.Name():
            return [expr]
        case syntax.Binary(first, rest, _):
            return [name for part in (first, *(e for _, e in rest)) for name in names_in(part)]
        case syntax.Unary(_, operand, _):
            return names_in(operand)
        case syntax.Call(_, args, _):
            return [name for arg in args for name in names_in(arg.value)]
    return []


def size_of(state: State, frame: Frame, dim: syntax.Expr) -> Size | Ratio:
    """A written size.

    Raises:
        SegError: it is no size.
    """
    value = state.evaluate(state, frame, dim)
    if isinstance(value, float) and not isinstance(dim, syntax.Number):
        value = _exact(frame, value, dim)
    size = as_size(value)
    if size is None:
        refuse(
            frame,
            "E2011",
            f"a size is a whole number or a formula, not {describe(value)}",
            dim.span,
        )
    return size


def _exact(frame: Frame, value: float, dim: syntax.Expr) -> int:
    """`C/2` in a shape: known numbers must divide exactly."""
    if value != int(value):
        message = f"`{dim.span.text}` is {value:g}: sizes divide exactly in a shape"
        refuse(frame, "E3012", message, dim.span, helps=("write `//` to round down",))
    return int(value)


def _claim_size(
    state: State,
    frame: Frame,
    dim: syntax.Expr,
    found: Size,
    axis: int,
    value: Map,
    what: str,
    port: bool,
) -> None:
    declared, rank = size_of(state, frame, dim), value.feature.rank
    if declared == found:  # most claims end here, before any words are made
        return
    noun = AXES[axis] if rank == 4 else f"axis {axis}"
    code = "E3010" if port else "E3007"
    text = dim.span.text
    shown = f"{declared}" if str(declared) == text else f"{text} ({declared})"
    message = f"{what} is declared with {noun} {shown}, but has {found}"
    if isinstance(declared, Ratio):
        if isinstance(found, int) and isinstance(declared.numerator, int):
            _known_ratio(frame, declared, found, message, dim.span)
            return
        over, by = declared.numerator, declared.divisor
        claim = Claim("about", found, over, by, code, message, dim.span, frame.scope)
        state.claims.append(replace(claim, subject=_subject(what, value, axis)))
        return
    if isinstance(found, int) and isinstance(declared, int):
        if found != declared:
            refuse(frame, code, message, dim.span, labels=_bound_labels(frame, dim))
        return
    if found - declared != 0:
        labels = _bound_labels(frame, dim)
        claim = Claim("equal", found, declared, 1, code, message, dim.span, frame.scope, labels)
        state.claims.append(replace(claim, subject=_subject(what, value, axis)))


def _subject(what: str, value: Map, axis: int) -> Subject | None:
    """The height or width of a map; None for other axes."""
    if value.feature.rank != 4 or axis < 2:
        return None
    return Subject(what, value.value, HEIGHT if axis == 2 else WIDTH)


def _known_ratio(frame: Frame, declared: Ratio, found: int, message: str, span: Span) -> None:
    assert isinstance(declared.numerator, int)
    if declared.numerator % declared.divisor:
        refuse(frame, "E3012", f"{declared.numerator} does not divide by {declared.divisor}", span)
    if declared.numerator // declared.divisor != found:
        refuse(frame, "E3007", message, span)


def _bound_labels(frame: Frame, dim: syntax.Expr) -> tuple[Label, ...]:
    return tuple(
        Label(frame.dims[n.name].span, f"`{n.name}` is {frame.dims[n.name].size}, first bound here")
        for n in names_in(dim)
        if n.name in frame.dims and frame.dims[n.name].span != n.span
    )[:1]
