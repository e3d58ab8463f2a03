"""From the rules of the grammar to nodes of the syntax tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from segdsl import syntax
from segdsl.diagnostics import Diagnostic
from segdsl.limits import Limits
from segdsl.parsing import literals
from segdsl.parsing.complaints import too_deep
from segdsl.parsing.scan import Scan
from segdsl.parsing.tokens import Token
from segdsl.source import Source, Span

Kids = list[Any]
ParsePath = Callable[[Token], syntax.Path]

LEVELS = frozenset({
    "call", "index", "attr", "list", "each", "when", "spread", "at", "neg", "negate", "power",
    "term", "arith", "compare", "and_", "or_", "choose", "pipe", "repeat", "slice", "named_type",
    "shape_type", "if_", "for_",
})  # fmt: skip
"""Rules whose node is one level deeper than its children."""


class Builder:
    """Makes the nodes of one source.

    Attributes:
        diagnostics: what a node itself showed to be wrong.
    """

    def __init__(self, source: Source, scan: Scan, limits: Limits, parse_path: ParsePath) -> None:
        self.source = source
        self.scan = scan
        self.limits = limits
        self.diagnostics: list[Diagnostic] = []
        self._parse_path = parse_path
        self._too_deep = False
        self._makers: dict[str, Callable[[Kids, Span], Any]] = {}

    def __call__(self, rule: str, kids: Kids, start: int, end: int, depth: int) -> tuple[Any, int]:
        """The node of a rule and its depth, as `lalr.Build`."""
        span = Span(self.source, start, end)
        if rule in LEVELS:
            depth += 1
            if depth > self.limits.nesting:
                self._report_depth(span, depth)
                return syntax.Name("_", span), 0
        maker = self._makers.get(rule)
        if maker is None:
            maker = self._makers[rule] = getattr(self, "_" + rule.strip("_"))
        return maker(kids, span), depth

    def _report_depth(self, span: Span, depth: int) -> None:
        if not self._too_deep:
            self._too_deep = True
            self.diagnostics.append(too_deep(span, depth, self.limits))

    def _text(self, token: Token) -> str:
        return self.source.text[token.start : token.end]

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def _ident(self, token: Token) -> syntax.Ident:
        return syntax.Ident(self._text(token), self._span(token))

    def _idents(self, tokens: Kids) -> tuple[syntax.Ident, ...]:
        return tuple(map(self._ident, tokens))

    def _optional(self, token: Token | None) -> syntax.Ident | None:
        return None if token is None else self._ident(token)

    def _message(self, token: Token | None) -> str | None:
        return None if token is None else literals.string_value(self._text(token))

    # -- items -------------------------------------------------------------------------------------

    def _start(self, kids: Kids, _: Span) -> syntax.Module:
        edition = kids[0]
        return syntax.Module(self.source, edition, tuple(kids[1:]))

    def _edition(self, kids: Kids, _: Span) -> int | None:
        value, unit = literals.number_value(self._text(kids[0]))
        return value if isinstance(value, int) and not unit else None

    def _import_names(self, kids: Kids, span: Span) -> syntax.ImportNames:
        return syntax.ImportNames(kids[0], tuple(kids[1:]), span)

    def _import_name(self, kids: Kids, _: Span) -> tuple[syntax.Ident, syntax.Ident]:
        name = self._ident(kids[0])
        return name, self._optional(kids[1]) or name

    def _import_file(self, kids: Kids, span: Span) -> syntax.ImportFile:
        return syntax.ImportFile(self._literal(kids[0]), self._ident(kids[1]), span)

    def _literal(self, token: Token) -> syntax.PlainValue:
        return syntax.PlainValue(literals.string_value(self._text(token)), self._span(token))

    def _dotted(self, kids: Kids, _: Span) -> tuple[syntax.Ident, ...]:
        return self._idents(kids)

    def _const(self, kids: Kids, span: Span) -> syntax.Const:
        return syntax.Const(self._ident(kids[0]), kids[1], kids[2], span)

    def _block(self, kids: Kids, span: Span) -> syntax.Block:
        name, params, outputs, where, body = kids
        doc = self.scan.docs.get(span.start, ())
        return syntax.Block(
            self._ident(name), params or (), outputs or (), where or (), body, doc, span
        )

    def _net(self, kids: Kids, span: Span) -> syntax.Net:
        name, params, where, body = kids
        doc = self.scan.docs.get(span.start, ())
        return syntax.Net(self._ident(name), params or (), where or (), body, doc, span)

    def _params(self, kids: Kids, _: Span) -> tuple[syntax.Param, ...]:
        return tuple(kids)

    def _param(self, kids: Kids, span: Span) -> syntax.Param:
        return syntax.Param(self._ident(kids[0]), kids[1], kids[2], span)

    def _returns(self, kids: Kids, _: Span) -> tuple[syntax.Port, ...]:
        return tuple(kids)

    def _port(self, kids: Kids, span: Span) -> syntax.Port:
        return syntax.Port(self._ident(kids[0]), kids[1], span)

    def _where(self, kids: Kids, _: Span) -> tuple[syntax.Constraint, ...]:
        return tuple(kids)

    def _constraint(self, kids: Kids, span: Span) -> syntax.Constraint:
        return syntax.Constraint(kids[0], self._message(kids[1]), span)

    # -- types -------------------------------------------------------------------------------------

    def _named_type(self, kids: Kids, span: Span) -> syntax.NamedType:
        return syntax.NamedType(self._ident(kids[0]), kids[1] or (), span)

    def _shape_type(self, kids: Kids, span: Span) -> syntax.ShapeType:
        return syntax.ShapeType(self._optional(kids[0]), tuple(kids[1:]), span)

    def _any_dims(self, _: Kids, span: Span) -> syntax.AnyDims:
        return syntax.AnyDims(span)

    # -- statements --------------------------------------------------------------------------------

    def _body(self, kids: Kids, _: Span) -> tuple[syntax.Stmt, ...]:
        return tuple(kids)

    def _names(self, kids: Kids, _: Span) -> tuple[syntax.Ident, ...]:
        return self._idents(kids)

    def _input(self, kids: Kids, span: Span) -> syntax.Input:
        return syntax.Input(self._ident(kids[0]), kids[1], kids[2] or (), span)

    def _output(self, kids: Kids, span: Span) -> syntax.Output:
        return syntax.Output(self._ident(kids[0]), kids[1], kids[2], False, span)

    def _train_output(self, kids: Kids, span: Span) -> syntax.Output:
        return syntax.Output(self._ident(kids[0]), kids[1], kids[2], True, span)

    def _post(self, kids: Kids, span: Span) -> syntax.Post:
        return syntax.Post(kids[0], kids[1], span)

    def _weight(self, kids: Kids, span: Span) -> syntax.WeightStmt:
        return syntax.WeightStmt(self._ident(kids[0]), kids[1], kids[2], span)

    def _layer(self, kids: Kids, span: Span) -> syntax.Layer:
        return syntax.Layer(self._ident(kids[0]), kids[1], span)

    def _var(self, kids: Kids, span: Span) -> syntax.Var:
        return syntax.Var(self._ident(kids[0]), kids[1], span)

    def _bind(self, kids: Kids, span: Span) -> syntax.Bind:
        return syntax.Bind(self._idents(kids[:-2]), kids[-2], kids[-1], span)

    def _append(self, kids: Kids, span: Span) -> syntax.Append:
        return syntax.Append(self._ident(kids[0]), kids[1], span)

    def _if(self, kids: Kids, span: Span) -> syntax.If:
        condition, then, otherwise = kids
        if isinstance(otherwise, syntax.If):
            otherwise = (otherwise,)
        return syntax.If(condition, then, otherwise, span)

    def _for(self, kids: Kids, span: Span) -> syntax.For:
        return syntax.For(kids[0], kids[1], kids[2], span)

    def _check(self, kids: Kids, span: Span) -> syntax.Check:
        within = None if kids[1] is None else self._fraction(kids[1])
        return syntax.Check(kids[0], within, self._message(kids[2]), span)

    def _fraction(self, token: Token) -> float:
        value, unit = literals.number_value(self._text(token))
        if unit:
            text = f"`within` takes a percentage, not `{self._text(token)}`"
            self.diagnostics.append(Diagnostic("E2013", text, self._span(token)))
        return value / 100

    def _init(self, kids: Kids, span: Span) -> syntax.Init:
        return syntax.Init(self._literal(kids[0]), kids[1], span)

    def _run(self, kids: Kids, span: Span) -> syntax.Run:
        return syntax.Run(kids[0], span)

    # -- expressions -------------------------------------------------------------------------------

    def _pipe(self, kids: Kids, span: Span) -> syntax.Pipe:
        return syntax.Pipe(kids[0], tuple(kids[1:]), span)

    def _stage(self, kids: Kids, span: Span) -> syntax.Stage:
        path = None if kids[1] is None else self._path(kids[1])
        return syntax.Stage(kids[0], path, self._optional(kids[2]), span)

    def _repeat(self, kids: Kids, span: Span) -> syntax.Repeat:
        count, index, *stages, tap = kids
        return syntax.Repeat(count, self._optional(index), tuple(stages), self._optional(tap), span)

    def _choose(self, kids: Kids, span: Span) -> syntax.Choose:
        then, condition, otherwise = kids
        return syntax.Choose(condition, then, otherwise, span)

    def _or(self, kids: Kids, span: Span) -> syntax.Logic:
        return syntax.Logic("or", tuple(kids), span)

    def _and(self, kids: Kids, span: Span) -> syntax.Logic:
        return syntax.Logic("and", tuple(kids), span)

    def _negate(self, kids: Kids, span: Span) -> syntax.Unary:
        return syntax.Unary("not", kids[0], span)

    def _neg(self, kids: Kids, span: Span) -> syntax.Unary:
        return syntax.Unary("-", kids[0], span)

    def _pairs(self, kids: Kids) -> tuple[tuple[Any, syntax.Expr], ...]:
        return tuple((self._text(kids[i]), kids[i + 1]) for i in range(1, len(kids), 2))

    def _compare(self, kids: Kids, span: Span) -> syntax.Compare:
        return syntax.Compare(kids[0], self._pairs(kids), span)

    def _arith(self, kids: Kids, span: Span) -> syntax.Binary:
        return syntax.Binary(kids[0], self._pairs(kids), span)

    def _term(self, kids: Kids, span: Span) -> syntax.Binary:
        return syntax.Binary(kids[0], self._pairs(kids), span)

    def _power(self, kids: Kids, span: Span) -> syntax.Binary:
        power: Literal["**"] = "**"
        return syntax.Binary(kids[0], ((power, kids[1]),), span)

    def _at(self, kids: Kids, span: Span) -> syntax.At:
        return syntax.At(kids[0], self._path(kids[1]), span)

    def _path(self, token: Token) -> syntax.Path:
        return self._parse_path(token)

    def _call(self, kids: Kids, span: Span) -> syntax.Call:
        return syntax.Call(kids[0], kids[1] or (), span)

    def _args(self, kids: Kids, _: Span) -> tuple[syntax.Arg, ...]:
        return tuple(kids)

    def _arg(self, kids: Kids, span: Span) -> syntax.Arg:
        return syntax.Arg(None, kids[0], span)

    def _kwarg(self, kids: Kids, span: Span) -> syntax.Arg:
        return syntax.Arg(self._ident(kids[0]), kids[1], span)

    def _index(self, kids: Kids, span: Span) -> syntax.Index:
        return syntax.Index(kids[0], kids[1], span)

    def _slice(self, kids: Kids, span: Span) -> syntax.Slice:
        return syntax.Slice(kids[0], kids[1], span)

    def _attr(self, kids: Kids, span: Span) -> syntax.Attr:
        return syntax.Attr(kids[0], self._ident(kids[1]), span)

    def _name(self, kids: Kids, span: Span) -> syntax.Name:
        return syntax.Name(self._text(kids[0]), span)

    def _number(self, kids: Kids, span: Span) -> syntax.Number:
        value, unit = literals.number_value(self._text(kids[0]))
        return syntax.Number(value, unit, span)

    def _string(self, kids: Kids, _: Span) -> syntax.PlainValue:
        return self._literal(kids[0])

    def _true(self, _: Kids, span: Span) -> syntax.PlainValue:
        return syntax.PlainValue(True, span)

    def _false(self, _: Kids, span: Span) -> syntax.PlainValue:
        return syntax.PlainValue(False, span)

    def _none(self, _: Kids, span: Span) -> syntax.PlainValue:
        return syntax.PlainValue(None, span)

    def _list(self, kids: Kids, span: Span) -> syntax.ListExpr:
        return syntax.ListExpr(tuple(kids) if kids != [None] else (), span)

    def _spread(self, kids: Kids, span: Span) -> syntax.Spread:
        return syntax.Spread(kids[0], span)

    def _each(self, kids: Kids, span: Span) -> syntax.Each:
        return syntax.Each(kids[0], kids[1], kids[2], span)

    def _when(self, kids: Kids, span: Span) -> syntax.When:
        return syntax.When(kids[0], kids[1], span)
