"""What the static pass carries through one item: its file, names, findings and references."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from segdsl import syntax
from segdsl.diagnostics import Diagnostic
from segdsl.elaborate.complaints import (
    BUILTINS,
    FACTS,
    bound_in_branch,
    bound_in_loop,
    operator_names,
    rebound,
    unknown_callable,
    unknown_value,
    used_early,
)
from segdsl.elaborate.lookup import module_callable
from segdsl.elaborate.scopes import Meaning, Scope, Seen, Vague
from segdsl.elaborate.values import BlockRef, LayerRef
from segdsl.imports import Entry, Module
from segdsl.source import Span


@dataclass(frozen=True, eq=False)
class Use:
    """A block or constant that an item refers to, and where."""

    target: Entry
    span: Span


@dataclass
class Survey:
    """One item under the static pass.

    Attributes:
        module: the file the item stands in.
        in_block: whether it is a block.
        found: what is wrong, in the order of the text.
        uses: blocks and constants that the item refers to.
        scope: the names that are visible now.
        dims: dimension variables of the item.
        in_check: whether the expression under way belongs to a `check`.
    """

    module: Module
    in_block: bool = False
    found: list[Diagnostic] = field(default_factory=list[Diagnostic])
    uses: list[Use] = field(default_factory=list[Use])
    scope: Scope = field(default_factory=Scope)
    dims: dict[str, Span] = field(default_factory=dict[str, Span])
    in_check: bool = False

    def report(self, *diagnostics: Diagnostic) -> None:
        """Keep findings."""
        self.found.extend(diagnostics)

    @contextmanager
    def inner(self, later: dict[str, Span] | None = None) -> Iterator[Scope]:
        """A scope inside the present one; its names end with it."""
        outer = self.scope
        self.scope = Scope(outer, later=later or {})
        try:
            yield self.scope
        finally:
            self.scope = outer

    def bind(
        self, name: syntax.Ident, meaning: Meaning = Vague.VALUE, *, variable: bool = False
    ) -> None:
        """Bind a name, or change the `var` of that name; E1005 if it is bound and no `var`."""
        before = self.scope.find(name.name)
        if before is None:
            self.scope.own[name.name] = Seen(name.span, meaning, variable)
        elif variable or not before.variable:
            self.report(rebound(name.name, before.span, name.span, variable=before.variable))

    def introduce(self, name: syntax.Ident, meaning: Meaning) -> None:
        """Bind a name that a loop, a parameter or a layer introduces as something to call."""
        if name.name in operator_names() and meaning is not Vague.VALUE:
            message = f"`{name.name}` is an operation of the language; this needs another name"
            self.report(Diagnostic("E1009", message, name.span))
        self.bind(name, meaning)

    def size(self, name: str, span: Span) -> None:
        """A dimension variable."""
        self.dims.setdefault(name, span)

    def is_free(self, name: str) -> bool:
        """Whether a bare name in a shape would bind a dimension variable."""
        if name == "_" or name in self.dims or self.scope.find(name) is not None:
            return False
        entry = self.module.items.get(name)
        return entry is None or not isinstance(entry[0], syntax.Const)

    def knows(self, name: str) -> bool:
        """Whether a name means something in value position."""
        if self.scope.find(name) is not None or name in self.dims or name in self.module.lost:
            return True
        if self.in_check and name in FACTS | {"_"}:
            return True
        entry = self.module.items.get(name)
        if entry is not None and not isinstance(entry[0], syntax.Net):
            return True
        return module_callable(self.module, name) is not None

    def value(self, name: str, span: Span) -> None:
        """A name in value position."""
        if self.scope.find(name) is None and name not in self.dims:
            entry = self.module.items.get(name)
            if entry is not None and not isinstance(entry[0], syntax.Net):
                self.uses.append(Use(entry[0], span))
        if not self.knows(name):
            self.report(self._unbound(name, span))

    def _unbound(self, name: str, span: Span) -> Diagnostic:
        return self._elsewhere(name, span) or unknown_value(
            self.module, name, span, [*self.scope.lines(), *self.dims], self.scope.lines()
        )

    def _elsewhere(self, name: str, span: Span) -> Diagnostic | None:
        gone = self.scope.ended(name)
        if gone is not None and gone.condition:
            return bound_in_branch(name, gone.span, gone.condition, gone.taken, span)
        later = self.scope.bound_later(name)
        if later is not None:
            return used_early(name, later, span)
        return bound_in_loop(name, gone.span, span) if gone is not None else None

    def callee(
        self, name: syntax.Name, args: tuple[syntax.Arg, ...], *, piped: bool
    ) -> Meaning | None:
        """What a name means in call position; None after a complaint."""
        seen = self.scope.find(name.name)
        if seen is not None and seen.meaning is not Vague.VALUE:
            return seen.meaning
        found = module_callable(self.module, name.name)
        if isinstance(found, BlockRef):
            self.uses.append(Use(found.block, name.span))
            if name.name in operator_names() | BUILTINS:
                return Vague.ANYTHING  # the block is refused for its name
        if found is not None and not isinstance(found, LayerRef):
            return found
        if name.name in self.module.lost:
            return Vague.ANYTHING
        self.report(self._no_callable(name, seen, args, piped=piped))
        return None

    def _no_callable(
        self,
        name: syntax.Name,
        seen: Seen | None,
        args: tuple[syntax.Arg, ...],
        *,
        piped: bool,
    ) -> Diagnostic:
        if seen is None:
            elsewhere = self._elsewhere(name.name, name.span)
            if elsewhere is not None:
                return elsewhere
        scopes = list(self.scope.chain())
        local = {n for s in scopes for n, it in s.own.items() if it.meaning is not Vague.VALUE}
        bound = f"a value, bound on line {seen.span.line}" if seen is not None else ""
        return unknown_callable(self.module, name.name, name.span, local, bound, args, piped=piped)
