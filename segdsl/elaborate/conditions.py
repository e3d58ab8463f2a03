"""`where`: conditions on parameters and channels now, on sizes for every accepted input."""

from __future__ import annotations

from segdsl import syntax
from segdsl.diagnostics import Label
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.state import Claim, State, refuse
from segdsl.elaborate.values import Anything, Ratio, describe
from segdsl.ops.ports import Comparison, SizeCondition
from segdsl.source import Span
from segdsl.symbolic import Formula, symbols

MAX_DIVISOR = 65_536
"""The largest divisor that is looked for."""

FLIPPED = {"==": "==", "!=": "!=", "<=": "<=", ">=": ">=", "<": "<", ">": ">"}


def size_conditions(
    state: State, frame: Frame, constraint: syntax.Constraint
) -> tuple[SizeCondition, ...] | bool:
    """The conditions on sizes that a constraint states, or its truth if it states none.

    Raises:
        SegError: it is outside the supported form (E2011): comparisons of one size with whole
            numbers,
            joined by commas or `and`.
    """
    return _conditions(state, frame, constraint.condition, constraint.message or "")


def _conditions(
    state: State, frame: Frame, expr: syntax.Expr, message: str
) -> tuple[SizeCondition, ...] | bool:
    if isinstance(expr, syntax.Logic) and expr.op == "and":
        parts = [_conditions(state, frame, part, message) for part in expr.operands]
        if False in parts:
            return False
        return tuple(c for part in parts if not isinstance(part, bool) for c in part) or True
    if isinstance(expr, syntax.Compare):
        values = [state.evaluate(state, frame, e) for e in (expr.first, *(e for _, e in expr.rest))]
        if any(isinstance(value, Formula | Ratio) for value in values):
            ops = [op for op, _ in expr.rest]
            return tuple(
                _condition(frame, ops[i], values[i], values[i + 1], expr.span, message)
                for i in range(len(ops))
            )
    value = state.evaluate(state, frame, expr)
    if not isinstance(value, bool):
        refuse(frame, "E2003", f"a condition is true or false, not {describe(value)}", expr.span)
    return value


def _condition(
    frame: Frame, op: str, left: Anything, right: Anything, span: Span, message: str
) -> SizeCondition:
    usable = all(isinstance(v, int | Formula) and not isinstance(v, bool) for v in (left, right))
    if op not in FLIPPED or not usable:
        refuse(
            frame,
            "E2011",
            "a condition on sizes compares them with whole numbers",
            span,
            helps=("write it as `H >= 33`, `H % 16 == 0` or `(H - 1) % 8 == 0`",),
        )
    assert isinstance(left, int | Formula)
    assert isinstance(right, int | Formula)
    if len(symbols(left) | symbols(right)) > 1:
        helps = ("if they are the same size, give them one name: `[N, 3, S, S]`",)
        refuse(frame, "E2011", "a condition speaks of one size at a time", span, helps=helps)
    relation: Comparison = op  # type: ignore[assignment]
    return SizeCondition(left, relation, right, message)


def check_constraints(
    state: State, frame: Frame, constraints: tuple[syntax.Constraint, ...], call: Span
) -> None:
    """Evaluate the `where` of a block instance.

    Raises:
        SegError: a condition on parameters or channels is false (E2006), with the author's message.
    """
    for constraint in constraints:
        answer = size_conditions(state, frame, constraint)
        if answer is False:
            text = constraint.condition.span.text
            values = _values(frame, constraint.condition)
            left = _left_side(state, frame, constraint.condition)
            notes = (f"`{text}` is false{values}{left}",)
            message = constraint.message or f"`{text}` does not hold"
            helps = _divisors(frame, constraint.condition)
            refuse(frame, "E2006", message, call, notes=notes, helps=helps)
        if isinstance(answer, tuple):
            state.claims.extend(_claim(frame, c, constraint, call) for c in answer)


def _divisors(frame: Frame, condition: syntax.Expr) -> tuple[str, ...]:
    """Where `C % reduction == 0` is false: the values of `reduction` next to it that divide C."""
    match condition:
        case syntax.Compare(
            syntax.Binary(syntax.Name(whole, _), (("%", syntax.Name(part, _)),), _),
            (("==", syntax.Number(0, "", _)),),
            _,
        ):
            pass
        case _:
            return ()
    total, given = _whole(frame, whole), _whole(frame, part)
    if total is None or given is None or part in frame.dims:
        return ()
    near = range(1, min(total, MAX_DIVISOR) + 1)
    below = max((d for d in near if total % d == 0 and d < given), default=None)
    above = min((d for d in near if total % d == 0 and d > given), default=None)
    words = [f"`{part}={d}`" for d in (below, above) if d is not None]
    return (f"{whole} divides by {' or '.join(words)}",) if words else ()


def _whole(frame: Frame, name: str) -> int | None:
    """The value of a name that stands for a whole number above 0."""
    binding = frame.names.find(name)
    value = binding.value if binding is not None else None
    if binding is None and name in frame.dims:
        value = frame.dims[name].size
    known = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if known and isinstance(value, int) else None


def _left_side(state: State, frame: Frame, condition: syntax.Expr) -> str:
    """`: `C % reduction` is 8`, where a computed side is compared with another."""
    if not isinstance(condition, syntax.Compare) or not isinstance(condition.first, syntax.Binary):
        return ""
    value = state.evaluate(state, frame, condition.first)
    return f": `{condition.first.span.text}` is {describe(value)}"


def _claim(
    frame: Frame, condition: SizeCondition, constraint: syntax.Constraint, call: Span
) -> Claim:
    text = constraint.condition.span.text
    message = constraint.message or f"`{text}` does not hold for every accepted size"
    labels = (Label(constraint.condition.span, "this is the condition"),)
    return Claim("meets", 0, 0, 1, "E3013", message, call, frame.scope, labels, condition)


def _values(frame: Frame, expr: syntax.Expr) -> str:
    """` with C = 24, reduction = 16`: the names of a condition with their values."""
    names: dict[str, str] = {}
    pending: list[object] = [expr]
    while pending:
        item = pending.pop(0)
        if isinstance(item, syntax.Name):
            binding = frame.names.find(item.name)
            if binding is not None and isinstance(binding.value, int | float | str):
                names[item.name] = str(binding.value)
            elif item.name in frame.dims:
                names[item.name] = str(frame.dims[item.name].size)
        elif isinstance(item, syntax.Compare | syntax.Binary):
            pending += [item.first, *(e for _, e in item.rest)]
        elif isinstance(item, syntax.Logic):
            pending += item.operands
    return " with " + ", ".join(f"{k} = {v}" for k, v in names.items()) if names else ""
