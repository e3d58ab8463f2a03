"""How many nodes and steps a program makes at least, found before anything is expanded.

Walks the syntax of blocks bottom-up: a sum over statements, a product over loops, once for every
block and what is known of its arguments. What is not known counts nothing, so the figure never
exceeds the truth, and a program beyond its limits is refused at once, however much it would make.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.declared import parameter_hint
from segdsl.elaborate.dims import names_in
from segdsl.elaborate.expressions import split_call
from segdsl.elaborate.known import UNKNOWN, Known, Scope, converted, known
from segdsl.elaborate.lookup import module_callable
from segdsl.elaborate.signature import arrange, block_signature, is_port
from segdsl.elaborate.statements import bound_names
from segdsl.elaborate.values import BlockRef, OperatorRef
from segdsl.imports import Module
from segdsl.limits import Limits
from segdsl.source import Span
from segdsl.stack import DEEP, LEVELS, deeper_than, on_fresh_stack

T = TypeVar("T")

TOP = 2**63 - 1
VISITS = 300_000
"""Expressions and statements that are looked at; what comes after them counts nothing."""

VARIANTS = 16
"""Different arguments for which one block is counted; after them nothing is known of any."""

Chain = tuple[tuple[int, Span], ...]
"""Loops and calls inside one another, outermost first: how often, and where."""


@dataclass(frozen=True)
class Count:
    """A lower bound; `chain` multiplies to most of the nodes, `work` to most of the steps."""

    nodes: int = 0
    steps: int = 0
    chain: Chain = ()
    work: Chain = ()

    def times(self, turns: int, span: Span) -> Count:
        """All of it, so many times."""
        nodes, steps = min(TOP, turns * self.nodes), min(TOP, turns * self.steps)
        factor = (turns, span)
        return Count(nodes, steps, (factor, *self.chain), (factor, *self.work))


NOTHING = Count()
Part = tuple[object, Count, Span]
"""What a statement adds: equal keys mean equal calls, which count together."""


def total(parts: Iterable[Part]) -> Count:
    """The sum; its chains are those of the heaviest groups of equal calls."""
    groups: dict[object, tuple[int, Count, Span]] = {}
    nodes = steps = 0
    for number, (key, count, span) in enumerate(parts):
        nodes, steps = nodes + count.nodes, steps + count.steps
        name = number if key is None else key
        before = groups.get(name)
        groups[name] = (before[0] + 1, count, before[2]) if before else (1, count, span)
    if not groups:
        return NOTHING
    many, most, at = max(groups.values(), key=lambda g: g[0] * g[1].nodes)
    chain = ((many, at), *most.chain)
    many, most, at = max(groups.values(), key=lambda g: g[0] * g[1].steps)
    return Count(min(TOP, nodes), min(TOP, steps), chain, ((many, at), *most.work))


def least(one: Count, other: Count) -> Count:
    """What both make at least."""
    smaller = min(one, other, key=lambda count: count.nodes)
    quicker = min(one, other, key=lambda count: count.steps)
    return Count(smaller.nodes, quicker.steps, smaller.chain, quicker.work)


@dataclass
class Counter:
    """One count over a program, with what it found out already.

    Attributes:
        limits: the caps of the program.
        done: what each block makes, by its identity and what is known of its arguments.
        names: what each block binds.
        variants: for how many arguments each block was counted.
        consts: constants that were asked for.
        callers: the blocks and nets that call each block, by identity.
        visits: expressions and statements that were looked at.
        depth: how deep the walk stands.
        blocks: the blocks inside one another that are counted now.
    """

    limits: Limits
    done: dict[tuple[int, str], Count] = field(default_factory=dict[tuple[int, str], Count])
    names: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    variants: Counts[int] = field(default_factory=Counts)
    consts: dict[tuple[int, str], Known] = field(default_factory=dict[tuple[int, str], Known])
    callers: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    visits: int = 0
    depth: int = 0
    blocks: list[syntax.Block | syntax.Net] = field(
        default_factory=list["syntax.Block | syntax.Net"]
    )

    def item(
        self, item: syntax.Block | syntax.Net, module: Module, given: Mapping[str, Known]
    ) -> Count:
        """What one instance makes with what is known of its arguments."""
        if self.blocks:
            self.callers.setdefault(id(item), set()).add(id(self.blocks[-1]))
        if self.variants[id(item)] >= VARIANTS:
            given = {param.name.name: UNKNOWN for param in item.params}
        scope = Scope(module, self.limits, consts=self.consts)
        self._parameters(scope, item, given)
        values = [scope.names[param.name.name] for param in item.params]
        key = (id(item), repr([None if v is UNKNOWN else (v,) for v in values]))
        if key not in self.done:
            self.done[key] = NOTHING  # a block inside itself ends
            self.variants[id(item)] += 1
            if len(self.blocks) <= self.limits.block_depth:
                self.blocks.append(item)
                self.done[key] = self.body(scope, item.body)
                self.blocks.pop()
        return self.done[key]

    def _parameters(
        self, scope: Scope, item: syntax.Block | syntax.Net, given: Mapping[str, Known]
    ) -> None:
        if id(item) not in self.names:
            self.names[id(item)] = _bound(item.body)
        scope.names.update(dict.fromkeys(self.names[id(item)], UNKNOWN))
        for param in item.params:
            scope.names[param.name.name] = UNKNOWN
            if isinstance(param.type, syntax.ShapeType):
                dims = [d for d in param.type.dims if not isinstance(d, syntax.AnyDims)]
                found = (name.name for dim in dims for name in names_in(dim))
                scope.names.update(dict.fromkeys(found, UNKNOWN))
        for param in item.params:
            name = param.name.name
            value = given.get(name, UNKNOWN)
            if name not in given and param.default is not None:
                value = known(scope, param.default)
            hint = None if is_port(param.type) else parameter_hint(param)
            scope.names[name] = converted(value, hint)

    def _deeper(self, run: Callable[[], T]) -> T:
        """What stands one level deeper, on a new stack wherever this one may be used up."""
        self.depth += 1
        try:
            away = self.depth % LEVELS == 0 and deeper_than(DEEP)
            return on_fresh_stack(run) if away else run()
        finally:
            self.depth -= 1

    def body(self, scope: Scope, body: Sequence[syntax.Stmt]) -> Count:
        """What statements make, one after the other."""
        return self._deeper(lambda: self._body(scope, body))

    def _body(self, scope: Scope, body: Sequence[syntax.Stmt]) -> Count:
        parts: list[Part] = []
        for statement in body:
            self.visits += 1
            if self.visits > VISITS:
                break
            parts += self._statement(scope, statement)
        return total(parts)

    def _statement(self, scope: Scope, statement: syntax.Stmt) -> list[Part]:
        span = statement.span
        match statement:
            case syntax.If(condition, then, otherwise, _):
                count = self._branches(scope, condition, then, otherwise or ())
                return [*self.parts(scope, condition), (None, count, span)]
            case syntax.For(_, iterable, body, _):
                items = known(scope, iterable)
                turns = len(items) if isinstance(items, tuple) else 0
                inner = self.body(scope.inner(), body) if turns else NOTHING
                count = inner.times(turns, iterable.span)
                return [*self.parts(scope, iterable), (None, count, span)]
            case syntax.Bind(names, None, value, _):
                found = self.parts(scope, value)
                if len(names) == 1:
                    scope.names[names[0].name] = known(scope, value)
                return [*found, (None, Count(steps=1), span)]
            case syntax.Run(value, _) | syntax.Var(_, value, _) | syntax.Append(_, value, _):
                return [*self.parts(scope, value), (None, Count(steps=1), span)]
            case syntax.Bind(_, _, value, _) | syntax.Output(_, _, value, _, _):
                return [] if value is None else self.parts(scope, value)
        return []

    def _branches(
        self,
        scope: Scope,
        condition: syntax.Expr,
        then: Sequence[syntax.Stmt],
        otherwise: Sequence[syntax.Stmt],
    ) -> Count:
        truth = known(scope, condition)
        if isinstance(truth, bool):
            return self.body(scope.inner(), then if truth else otherwise)
        return least(self.body(scope.inner(), then), self.body(scope.inner(), otherwise))

    def parts(self, scope: Scope, expr: syntax.Expr) -> list[Part]:
        """What the calls in an expression make."""
        self.visits += 1
        if self.visits > VISITS:
            return []
        return self._deeper(lambda: self._parts(scope, expr))

    def _parts(self, scope: Scope, expr: syntax.Expr) -> list[Part]:
        match expr:
            case syntax.Pipe(source, stages, _):
                return self.parts(scope, source) + self._stages(scope, stages)
            case syntax.Call():
                return self._call(scope, expr, expr.span, piped=False)
            case syntax.At(value, _, span) if isinstance(value, syntax.Call):
                return self._call(scope, value, span, piped=False)
            case syntax.Binary(first, rest, _):
                return self._all(scope, [first, *(e for _, e in rest)])
            case syntax.Choose(condition, then, otherwise, span):
                truth = known(scope, condition)
                if isinstance(truth, bool):
                    return self.parts(scope, then if truth else otherwise)
                both = (total(self.parts(scope, e)) for e in (then, otherwise))
                return [(None, least(*both), span)]
            case syntax.ListExpr(elements, _):
                return [part for e in elements for part in self._element(scope, e)]
            case syntax.Index(value, _, _) | syntax.Attr(value, _, _) | syntax.Unary(_, value, _):
                return self.parts(scope, value)
        return []

    def _all(self, scope: Scope, exprs: Iterable[syntax.Expr]) -> list[Part]:
        return [part for expr in exprs for part in self.parts(scope, expr)]

    def _element(self, scope: Scope, element: syntax.Element) -> list[Part]:
        match element:
            case syntax.Spread(value, _):
                return self.parts(scope, value)
            case syntax.When(condition, body, _):
                if known(scope, condition) is not True:
                    return []
                return self._deeper(lambda: self._element(scope, body))
            case syntax.Each(names, iterable, body, span):
                items = known(scope, iterable)
                if not isinstance(items, tuple):
                    return []
                inner = scope.inner()
                inner.names.update((name.name, UNKNOWN) for name in names)
                one = total(self._deeper(lambda: self._element(inner, body)))
                count = one.times(len(items), span)
                return [*self.parts(scope, iterable), (None, count, span)]
        return self.parts(scope, element)

    def _stages(self, scope: Scope, stages: Sequence[syntax.Stage | syntax.Repeat]) -> list[Part]:
        found: list[Part] = []
        for stage in stages:
            if isinstance(stage, syntax.Stage):
                found += self._call(scope, stage.call, stage.span, piped=True)
                continue
            turns = known(scope, stage.count)
            turns = turns if type(turns) is int and turns > 0 else 0
            inside = stage.stages if turns else ()
            inner = total(self._deeper(partial(self._stages, scope, inside)))
            found.append((None, inner.times(turns, stage.count.span), stage.span))
        return found

    def _call(self, scope: Scope, expr: syntax.Expr, span: Span, *, piped: bool) -> list[Part]:
        callee, args = split_call(expr)
        target = _target(scope, callee)
        found = self._all(scope, [arg.value for arg in args]) if target is not None else []
        if isinstance(target, BlockRef):
            given = _given(scope, target.block, args, span, piped=piped)
            count = NOTHING if given is None else self.item(target.block, target.module, given)
            return [*found, ((id(target.block), repr(given)), count, span)]
        if isinstance(target, OperatorRef) and target.cls.name != "identity":
            return [*found, (None, Count(nodes=1), span)]
        return found


def _bound(body: Sequence[syntax.Stmt]) -> set[str]:
    """Every name that statements bind, in loops and branches too."""
    found: set[str] = set()
    pending = list(body)
    while pending:
        statement = pending.pop()
        found.update(name.name for name in bound_names(statement))
        if isinstance(statement, syntax.For):
            found.update(name.name for name in statement.names)
            pending += statement.body
        elif isinstance(statement, syntax.If):
            pending += [*statement.then, *(statement.otherwise or ())]
        elif isinstance(statement, syntax.Append):
            found.add(statement.name.name)
        found.update(_sizes(statement))
    return found


def _sizes(statement: syntax.Stmt) -> set[str]:
    """Names in a declared shape, which may bind dimension variables."""
    declared = getattr(statement, "type", None)
    if not isinstance(declared, syntax.ShapeType):
        return set()
    dims = [d for d in declared.dims if not isinstance(d, syntax.AnyDims)]
    return {name.name for dim in dims for name in names_in(dim)}


def _target(scope: Scope, callee: syntax.Expr) -> object:
    """The block, operator or function that is called; None where only elaboration knows."""
    if isinstance(callee, syntax.Name):
        if callee.name in scope.names:
            return None
        return module_callable(scope.module, callee.name)
    if isinstance(callee, syntax.Attr) and isinstance(callee.value, syntax.Name):
        module = scope.module.modules.get(callee.value.name)
        entry = module.items.get(callee.name.name) if module is not None else None
        if callee.value.name not in scope.names and entry is not None and module is entry[1]:
            return BlockRef(entry[0], entry[1]) if isinstance(entry[0], syntax.Block) else None
    return None


def _given(
    scope: Scope, block: syntax.Block, args: tuple[syntax.Arg, ...], span: Span, *, piped: bool
) -> dict[str, Known] | None:
    """What is known of the arguments of a call; None if they do not fit the block."""
    try:
        arranged = arrange(block_signature(block), args, piped, span)
    except SegError:
        return None
    given = {name: known(scope, arg.value) for name, arg in arranged.items()}
    if piped and block.params:
        given[block.params[0].name.name] = UNKNOWN
    return given
