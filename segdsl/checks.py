"""Evaluating `check` statements against the finished graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from math import ceil

from segdsl import syntax
from segdsl.analysis.cost import macs
from segdsl.analysis.params import count, params
from segdsl.analysis.reach.facts import CHOICES, NUMBERS, NoValueError, fact
from segdsl.analysis.reach.tables import Reach, reach
from segdsl.analysis.reach.wiring import ReachError
from segdsl.analysis.sizes import Condition, SizeSet, Undecidable, in_words, slope
from segdsl.claims import disproof
from segdsl.diagnostics import Diagnostic, Help, SegError, text_helps
from segdsl.elaborate.arithmetic import as_size, combine, compare_values
from segdsl.elaborate.complaints import FACTS
from segdsl.elaborate.dims import size_of
from segdsl.elaborate.frame import Frame
from segdsl.elaborate.net import Elaboration
from segdsl.elaborate.state import Pending, State, refuse
from segdsl.elaborate.values import Anything, Map, Quantity, Ratio, Unknown, describe
from segdsl.infer import at_user
from segdsl.spelling import nearest
from segdsl.symbolic import Formula, Size, ceil_div, floor_div, substitute, symbols
from segdsl.types import Feature

_SMALL = 5
"""Per cent by which a number may be off and still be the one that was meant."""


def run_checks(
    program: Elaboration,
    accepted: Mapping[str, SizeSet],
    table: Callable[[], Reach] | None = None,
) -> list[Diagnostic]:
    """Evaluate every pending `check`; a false one is E8001 with the true value.

    `table` answers the receptive fields for these sizes, where somebody else needs them too.
    """
    found: list[Diagnostic] = []
    table = table or cache(lambda: reach(program.graph, accepted=accepted))
    for pending in program.checks:
        try:
            answer = _Check(program, accepted, pending, table).run()
        except SegError as error:
            found.extend(error.diagnostics)
            continue
        except Unknown:
            continue
        if answer is not None:
            found.append(at_user(answer, pending.frame.scope))
    return found


class _Check:
    """One `check` with the tables it may ask."""

    def __init__(
        self,
        program: Elaboration,
        accepted: Mapping[str, SizeSet],
        pending: Pending,
        reach: Callable[[], Reach],
    ) -> None:
        self.program = program
        self.reach = reach
        self.accepted = accepted
        self.statement = pending.statement
        self.frame: Frame = pending.frame
        self.state: State = program.state

    def run(self) -> Diagnostic | None:
        condition = self.statement.condition
        if isinstance(condition, syntax.Compare):
            return self._comparison(condition)
        if self._value(condition) is True:
            return None
        return self._false(f"`{condition.span.text}` is not true")

    def _comparison(self, compare: syntax.Compare) -> Diagnostic | None:
        left = compare.first
        for op, right in compare.rest:
            problem = self._compare(left, op, right)
            if problem:
                return problem
            left = right
        return None

    def _compare(self, left: syntax.Expr, op: str, right: syntax.Expr) -> Diagnostic | None:
        a, b = self._sides(left, right)
        if isinstance(a, Feature) or isinstance(b, Feature):
            shape, other = (a, right) if isinstance(a, Feature) else (b, left)
            return self._compare_shape(shape, op, other, left if shape is a else right)
        if isinstance(a, Formula) or isinstance(b, Formula):
            return self._compare_sizes(a, op, b, left)
        a, b = (v.value if isinstance(v, Quantity) else v for v in (a, b))
        if op == "~=":
            return self._near(left, a, b)
        if self.statement.within is not None:
            refuse(self.frame, "E2011", "`within` goes with `~=`", self.statement.span)
        try:
            if compare_values(op, a, b):
                return None
        except TypeError:
            message = f"`{op}` compares numbers, not {describe(a)} and {describe(b)}"
            refuse(self.frame, "E2003", message, left.span.to(right.span))
        wanted = f"{'' if op == '==' else op + ' '}{_shown(b)}{_off(a, b)}"
        near = f"{left.span.text} ~= {right.span.text} within" if op == "==" else ""
        message = f"`{left.span.text}` is {_shown(a)}, not {wanted}"
        return self._false(message, _in_percent(near, a, b))

    def _sides(
        self, left: syntax.Expr, right: syntax.Expr
    ) -> tuple[Anything | Feature, Anything | Feature]:
        """Both values; a list beside a shape holds sizes, which are compared one by one."""
        lists = [isinstance(side, syntax.ListExpr) for side in (left, right)]
        a, b = (() if lists[i] else self._value(side) for i, side in enumerate((left, right)))
        if not isinstance(a, Feature) and not isinstance(b, Feature):
            a = self.state.evaluate(self.state, self.frame, left) if lists[0] else a
            b = self.state.evaluate(self.state, self.frame, right) if lists[1] else b
        return a, b

    def _near(self, left: syntax.Expr, a: Anything, b: Anything) -> Diagnostic | None:
        within = self.statement.within
        if within is None:
            message = "`~=` needs `within`, as `check params ~= 61M within 1%`"
            refuse(self.frame, "E2011", message, self.statement.span)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
        if not numbers:
            refuse(
                self.frame,
                "E2003",
                f"`~=` compares numbers, not {describe(a)} and {describe(b)}",
                left.span,
            )
        assert isinstance(a, int | float)
        assert isinstance(b, int | float)
        if abs(a - b) <= within * abs(b):
            return None
        return self._false(
            f"`{left.span.text}` is {_shown(a)}, not within {within:.4g} of {_shown(b)}{_off(a, b)}"
        )

    def _compare_shape(
        self, shape: Anything | Feature, op: str, other: syntax.Expr, asked: syntax.Expr
    ) -> Diagnostic | None:
        assert isinstance(shape, Feature)
        if op != "==" or not isinstance(other, syntax.ListExpr):
            message = "a shape is compared with `== [N, C, H, W]`"
            refuse(self.frame, "E2011", message, other.span)
        if len(other.elements) != shape.rank:
            return self._false(f"`{asked.span.text}` is {shape}, with {shape.rank} axes")
        for found, dim in zip(shape.shape, other.elements, strict=True):
            if isinstance(dim, syntax.Name) and dim.name == "_":
                continue
            if isinstance(dim, syntax.Spread | syntax.Each | syntax.When):
                refuse(self.frame, "E2011", "a shape is written out, size by size", dim.span)
            declared = size_of(self.state, self.frame, dim)
            if not self._size_holds(found, declared):
                words = "[" + ", ".join(in_words(s, self.accepted) for s in shape.shape) + "]"
                return self._false(f"`{asked.span.text}` is {words}, not {other.span.text}")
        return None

    def _size_holds(self, found: Size, declared: Size | Ratio) -> bool:
        if isinstance(declared, Ratio):
            low = floor_div(declared.numerator, declared.divisor)
            high = ceil_div(declared.numerator, declared.divisor)
            conditions = [Condition(found, ">=", low), Condition(found, "<=", high)]
        else:
            conditions = [Condition(found, "==", declared)]
        return all(disproof(c, self.accepted) is None for c in conditions)

    def _compare_sizes(
        self, a: Anything, op: str, b: Anything, left: syntax.Expr
    ) -> Diagnostic | None:
        x, y = as_size(a), as_size(b)
        if (
            x is None
            or y is None
            or isinstance(x, Ratio)
            or isinstance(y, Ratio)
            or op in ("~=", "in")
        ):
            refuse(self.frame, "E2011", "sizes are compared with sizes", self.statement.span)
        problem = disproof(Condition(x, op, y), self.accepted)
        if problem is None:
            return None
        return self._false(f"`{left.span.text}` is {x}, not {'' if op == '==' else op + ' '}{y}")

    def _value(self, expr: syntax.Expr) -> Anything | Feature:
        name = expr.name if isinstance(expr, syntax.Name) else ""
        if isinstance(expr, syntax.Call) and isinstance(expr.callee, syntax.Name):
            name = expr.callee.name
        if name in FACTS and self.frame.names.find(name) is None:
            return self._fact(name, expr)
        if isinstance(expr, syntax.Attr) and self.frame.names.find("rf") is None:
            asked = _field_asked(expr)
            if asked is not None:
                return self._field(*asked, expr)
        if isinstance(expr, syntax.Binary):
            return self._arithmetic(expr)
        return self.state.evaluate(self.state, self.frame, expr)

    def _arithmetic(self, expr: syntax.Binary) -> Anything:
        """Facts and numbers under `+ - * / // % **`; a check makes no maps."""
        total, start = self._number(expr.first), expr.first.span
        for op, operand in expr.rest:
            right = self._number(operand)
            spans = (start, operand.span)
            total = combine(self.state, self.frame, op, total, right, spans, "")
            start = start.to(operand.span)
        return total

    def _number(self, expr: syntax.Expr) -> Anything:
        value = self._value(expr)
        if isinstance(value, Feature | Map):
            what = "a shape" if isinstance(value, Feature) else describe(value)
            refuse(self.frame, "E2003", f"a `check` computes with numbers, not {what}", expr.span)
        return value

    def _fact(self, name: str, expr: syntax.Expr) -> Anything | Feature:
        args = expr.args if isinstance(expr, syntax.Call) else ()
        graph = self.program.graph
        if name == "params":
            if args:
                refuse(self.frame, "E2002", "`params` takes no arguments", expr.span)
            return count(params(graph, dict(self.program.types)))
        if name == "rf":
            message = f"say what of it: {', '.join(f'`.{word}`' for word in NUMBERS)}"
            refuse(self.frame, "E2011", message, expr.span)
        if name == "macs":
            return sum(macs(graph, {"N": 1, **self._sizes(args, expr, required=True)}).values())
        target, sizes = self._target(name, args, expr)
        if name == "stride":
            return self._stride(target, expr)
        return Feature(tuple(substitute(s, sizes) for s in target.shape), target.dtype)

    def _field(
        self, call: syntax.Call, words: tuple[str, ...], expr: syntax.Attr
    ) -> Anything | Feature:
        """`rf(x).size` and its like, in input pixels."""
        if len(call.args) != 1 or call.args[0].name is not None:
            refuse(self.frame, "E2004", "`rf` needs one map, as `rf(x).size`", call.span)
        value = self.state.evaluate(self.state, self.frame, call.args[0].value)
        if not isinstance(value, Map):
            message = f"`rf` takes a map, not {describe(value)}"
            refuse(self.frame, "E2003", message, call.args[0].span)
        try:
            found = fact(self.reach(), value.value, words)
        except NoValueError as error:
            refuse(self.frame, "E8002", f"`{expr.span.text}` {error}", expr.span)
        except KeyError as error:
            known = (*NUMBERS, *CHOICES)
            message = f"`rf` has no `{error.args[0]}`; it has {', '.join(known)}"
            guess = nearest(error.args[0], list(known))
            helps = (f"did you mean `{guess}`?",) if guess else ()
            refuse(self.frame, "E2001", message, expr.name.span, helps=helps)
        except ReachError as error:
            refuse(self.frame, "E8002", f"`{expr.span.text}` has no value: {error}", expr.span)
        if isinstance(found, Fraction):
            return found.numerator if found.denominator == 1 else float(found)
        return found

    def _target(
        self, name: str, args: tuple[syntax.Arg, ...], expr: syntax.Expr
    ) -> tuple[Feature, dict[str, int]]:
        if not args or args[0].name is not None:
            refuse(self.frame, "E2004", f"`{name}` needs a map, as `{name}(x)`", expr.span)
        value = self.state.evaluate(self.state, self.frame, args[0].value)
        if not isinstance(value, Map):
            refuse(
                self.frame, "E2003", f"`{name}` takes a map, not {describe(value)}", args[0].span
            )
        sizes = self._sizes(args[1:], expr, required=False)
        if sizes and name == "stride":
            refuse(self.frame, "E2001", "`stride` takes a map and nothing else", expr.span)
        return value.feature, sizes

    def _sizes(
        self, args: tuple[syntax.Arg, ...], expr: syntax.Expr, *, required: bool
    ) -> dict[str, int]:
        """`H=572, W=572` of a fact; every symbol of the net must be one that it accepts."""
        sizes: dict[str, int] = {}
        for arg in args:
            value = self.state.evaluate(self.state, self.frame, arg.value)
            if arg.name is None or arg.name.name not in self.accepted:
                known = ", ".join(self.accepted)
                refuse(self.frame, "E2001", f"sizes are named: {known}", arg.span)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                refuse(
                    self.frame,
                    "E2003",
                    f"a size is a whole number, not {describe(value)}",
                    arg.span,
                )
            if value not in self.accepted[arg.name.name]:
                known = str(self.accepted[arg.name.name])
                message = f"{arg.name.name} = {value} is not accepted: this net accepts {known}"
                refuse(self.frame, "E3014", message, arg.span)
            cap = self.state.limits.image_side
            if value > cap:
                message = f"{arg.name.name} = {value:,} is too large; the limit is {cap:,}"
                refuse(self.frame, "E2019", message, arg.span)
            sizes[arg.name.name] = value
        missing = [s for s in self.accepted if s != "N" and s not in sizes]
        if required and missing:
            message = (
                f"`{expr.span.text.split('(')[0]}` needs {', '.join(f'`{s}=…`' for s in missing)}"
            )
            refuse(self.frame, "E2004", message, expr.span)
        return sizes

    def _stride(self, feature: Feature, expr: syntax.Expr) -> Anything:
        """Input pixels per output pixel.

        The inverse of the growth of the size (the jump of the map).
        """
        jumps = set()
        for axis in (2, 3):
            size = feature.shape[axis] if feature.rank == 4 else 1
            try:
                growth, modulus = slope(size)
            except Undecidable:
                growth, modulus = 0, 1
            if len(symbols(size)) != 1 or growth <= 0:
                message = f"`{expr.span.text}` has no value: the map has the fixed size {feature}"
                refuse(self.frame, "E8002", message, expr.span)
            jumps.add(Fraction(modulus, growth))
        if len(jumps) > 1:
            refuse(
                self.frame,
                "E8002",
                f"`{expr.span.text}` differs between height and width",
                expr.span,
            )
        (jump,) = jumps
        return jump.numerator if jump.denominator == 1 else float(jump)

    def _false(self, message: str, near: str = "") -> Diagnostic:
        notes = (self.statement.message,) if self.statement.message else ()
        helps: tuple[Help, ...] = ()
        if "params" in self.statement.condition.span.text:
            notes = (*notes, self._largest())
            helps = text_helps(f"write the true number{near}")
        return Diagnostic("E8001", message, self.statement.condition.span, notes=notes, helps=helps)

    def _largest(self) -> str:
        """The part of the net with most parameters."""
        totals: dict[str, int] = {}
        for path, param in params(self.program.graph, dict(self.program.types)).items():
            part = ".".join(path.split(".")[:2])
            totals[part] = totals.get(part, 0) + (param.count if param.learned else 0)
        if not totals:
            return "this net has no parameters"
        part = max(totals, key=lambda p: totals[p])
        return f"the largest part is `{part}` with {totals[part]:,}"


def _field_asked(expr: syntax.Expr) -> tuple[syntax.Call, tuple[str, ...]] | None:
    """The call and the words of `rf(x).h.size`; None if it is something else."""
    words: list[str] = []
    while isinstance(expr, syntax.Attr):
        words.append(expr.name.name)
        expr = expr.value
    if isinstance(expr, syntax.Call) and isinstance(expr.callee, syntax.Name):
        return (expr, tuple(reversed(words))) if expr.callee.name == "rf" else None
    return None


def _shown(value: Anything | Feature) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value) if isinstance(value, Feature | Formula) else describe(value)


def _in_percent(comparison: str, a: Anything, b: Anything) -> str:
    """`, or …` with the whole percentage that would hold, where it is small enough to be meant."""
    if not comparison or not isinstance(a, int | float) or not isinstance(b, int | float) or not b:
        return ""
    percent = ceil(100 * abs(a - b) / abs(b))
    return f", or `{comparison} {percent}%`" if percent <= _SMALL else ""


def _off(a: Anything | Feature, b: Anything | Feature) -> str:
    if (
        not isinstance(a, int | float)
        or not isinstance(b, int | float)
        or not b
        or isinstance(a, bool)
    ):
        return ""
    share = abs(a - b) / abs(b)
    return f" ({share:.2%} {'less' if a < b else 'more'})" if share >= 0.0001 else ""
