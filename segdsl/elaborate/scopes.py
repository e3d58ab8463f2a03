"""What the static pass knows of the names of one body: bound, bound later, bound elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from segdsl.elaborate.signature import Signature
from segdsl.elaborate.values import BlockRef, BuiltinRef, OperatorRef, TermRef
from segdsl.source import Span


class Vague(Enum):
    """What a name stands for where it is no known callable."""

    VALUE = "a value"
    """A map, a number or a list: nothing to call."""
    ANYTHING = "anything"
    """Perhaps something to call: a parameter of type `block`, an element of a list."""


@dataclass(frozen=True)
class LayerMeaning:
    """A `layer`: takes the maps of what it is, and nothing else; None is anything."""

    name: str
    signature: Signature | None


Meaning = OperatorRef | TermRef | BlockRef | BuiltinRef | LayerMeaning | Vague


@dataclass(frozen=True)
class Seen:
    """A name that is bound here."""

    span: Span
    meaning: Meaning = Vague.VALUE
    variable: bool = False


@dataclass(frozen=True)
class Gone:
    """A name that was bound in a part that has ended.

    One branch of an `if`, or a loop (`condition` is "").
    """

    span: Span
    condition: str = ""
    taken: bool = True


@dataclass
class Scope:
    """One lexical scope.

    Attributes:
        parent: the scope around it.
        own: names bound so far.
        later: names that statements of this body bind, with the first place.
        gone: names bound in branches and loops that have ended.
    """

    parent: Scope | None = None
    own: dict[str, Seen] = field(default_factory=dict[str, Seen])
    later: dict[str, Span] = field(default_factory=dict[str, Span])
    gone: dict[str, Gone] = field(default_factory=dict[str, Gone])

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, name: str) -> Seen | None:
        """What the name is here."""
        return next((s.own[name] for s in self.chain() if name in s.own), None)

    def lines(self) -> dict[str, int]:
        """All names bound here, with the lines that bind them."""
        scopes = reversed(list(self.chain()))
        return {name: seen.span.line for scope in scopes for name, seen in scope.own.items()}

    def bound_later(self, name: str) -> Span | None:
        """Where a statement that has not ended yet binds the name; asked only of unbound names."""
        return next((s.later[name] for s in self.chain() if name in s.later), None)

    def ended(self, name: str) -> Gone | None:
        """The ended branch or loop that bound the name."""
        return next((s.gone[name] for s in self.chain() if name in s.gone), None)

    def close_loop(self, inner: Scope) -> None:
        """Forget the names of a loop body, but remember that they were there."""
        for name, seen in inner.own.items():
            self.gone.setdefault(name, Gone(seen.span))
        self._inherit(inner)

    def close_branches(self, condition: str, then: Scope, otherwise: Scope | None) -> None:
        """Keep the names that every branch of an `if` binds."""
        other = otherwise.own if otherwise is not None else {}
        for name, seen in then.own.items():
            if name in other:
                self.own[name] = _both(seen, other[name])
            else:
                self.gone[name] = Gone(seen.span, condition, True)
        for name, seen in other.items():
            if name not in then.own:
                self.gone[name] = Gone(seen.span, condition, False)
        for scope in (then, *([otherwise] if otherwise else [])):
            self._inherit(scope)

    def _inherit(self, inner: Scope) -> None:
        for name, gone in inner.gone.items():
            self.gone.setdefault(name, gone)


def _both(a: Seen, b: Seen) -> Seen:
    meaning = a.meaning if a.meaning == b.meaning else Vague.ANYTHING
    return Seen(a.span, meaning, a.variable or b.variable)


def names_of(pairs: Iterable[tuple[str, Span]]) -> dict[str, Span]:
    """Names with the first place that binds each."""
    found: dict[str, Span] = {}
    for name, span in pairs:
        found.setdefault(name, span)
    return found
