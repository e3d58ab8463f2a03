"""What the elaborator carries from statement to statement, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn, Protocol, TypeVar

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, Help, Label, SegError, text_helps
from segdsl.elaborate.builder import Builder
from segdsl.elaborate.frame import Failed, Frame
from segdsl.elaborate.values import Anything
from segdsl.imports import Module
from segdsl.infer import at_user
from segdsl.ir import Scope, Value
from segdsl.limits import Limits
from segdsl.ops.ports import SizeCondition
from segdsl.source import Span
from segdsl.stack import DEEP, LEVELS, NoRoomError, deeper_than, on_fresh_stack
from segdsl.symbolic import Size
from segdsl.types import Axis, Initialiser


@dataclass(frozen=True)
class Subject:
    """What a claim about a height (axis 0) or width (axis 1) speaks of, in words and as a value."""

    what: str
    value: Value
    axis: Axis


@dataclass(frozen=True)
class Claim:
    """A declared size beside the inferred one; must hold for every accepted input size.

    `about` (`H/8`): floor(right/divisor) <= found <= ceil(right/divisor). `meets`: a size
    condition.
    """

    relation: Literal["equal", "about", "meets"]
    found: Size
    declared: Size
    divisor: int
    code: str
    message: str
    span: Span
    scope: Scope
    labels: tuple[Label, ...] = ()
    condition: SizeCondition | None = None
    subject: Subject | None = None


@dataclass(frozen=True)
class Pending:
    """A `check` that waits for the finished graph, with the frame in which it stands."""

    statement: syntax.Check
    frame: Frame


@dataclass(frozen=True)
class Override:
    """An `init "glob" = initialiser`."""

    glob: str
    prefix: str
    init: Initialiser
    span: Span
    scope: Scope


@dataclass(frozen=True)
class Invocation:
    """One call, before its arguments are matched.

    Attributes:
        frame: where it happens.
        args_frame: where its arguments are evaluated (a layer's are those of its declaration).
        args: its arguments.
        piped: the value that flows in, and where that stands.
        span: the whole call.
        callee_span: the name of what is called.
        path: the full weight path, if one was written.
        path_span: where it was written.
        label: the writer's word for the result.
        transparent: the path was `@.`, which adds no level.
        maps: for a layer, the further maps of this use by the operand's name; else None.
    """

    frame: Frame
    args_frame: Frame
    args: tuple[syntax.Arg, ...]
    piped: tuple[Anything, Span] | None
    span: Span
    callee_span: Span
    path: str | None
    path_span: Span | None
    label: str
    transparent: bool = False
    maps: Mapping[str, tuple[Anything, Span]] | None = None


class Evaluate(Protocol):
    """The value of an expression; `label` names the node of its outermost operation."""

    def __call__(
        self, state: State, frame: Frame, expr: syntax.Expr, label: str = ""
    ) -> Anything: ...


T = TypeVar("T")

THREAD = 50
"""Steps that a new stack costs: it takes as long."""

RunBody = Callable[["State", Frame, tuple[syntax.Stmt, ...]], None]


@dataclass
class State:
    """One elaboration.

    Attributes:
        builder: the growing graph.
        limits: the caps of this program.
        diagnostics: every finding so far.
        claims, checks, overrides: what is decided when the graph is finished.
        steps: compile-time evaluations so far.
        depth: how deep evaluation is nested now.
    """

    builder: Builder
    limits: Limits
    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    claims: list[Claim] = field(default_factory=list[Claim])
    checks: list[Pending] = field(default_factory=list[Pending])
    overrides: list[Override] = field(default_factory=list[Override])
    steps: int = 0
    depth: int = 0
    consts: dict[tuple[Module, str], Anything | Failed] = field(
        default_factory=dict[tuple[Module, str], "Anything | Failed"]
    )
    counts: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    evaluate: Evaluate = field(init=False)
    """The evaluator of expressions and the runner of bodies stand above calls, which need them."""
    run_body: RunBody = field(init=False)

    def report_all(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep findings that stopped nothing."""
        found = tuple(diagnostics)
        if found:
            self.report(SegError(*found))

    def report(self, error: SegError) -> None:
        """Keep the findings of a statement that failed; the same finding at the same place once."""
        known = {(d.code, d.span) for d in self.diagnostics}
        self.diagnostics.extend(d for d in error.diagnostics if (d.code, d.span) not in known)


def deeper(state: State, frame: Frame, span: Span, run: Callable[[], T]) -> T:
    """What stands one level deeper, on a new stack wherever this one may be used up.

    Raises:
        SegError: E0021, it stands inside too many others; or what it raises itself.
    """
    state.depth += 1
    try:
        cap = state.limits.evaluation_depth
        if state.depth > cap:
            refuse(frame, "E0021", f"this is evaluated more than {cap:,} levels deep", span)
        if state.depth % LEVELS == 0 and deeper_than(DEEP):
            state.steps += THREAD
            return on_fresh_stack(run)
        return run()
    except NoRoomError:
        message = "this nests deeper than the stack, and the system gives no thread for another"
        refuse(frame, "E0021", message, span)
    finally:
        state.depth -= 1


def refuse(
    frame: Frame,
    code: str,
    message: str,
    span: Span,
    *,
    labels: tuple[Label, ...] = (),
    notes: tuple[str, ...] = (),
    helps: tuple[str | Help, ...] = (),
) -> NoReturn:
    """Stop the statement with a diagnostic at `span`.

    Raises:
        SegError: always.
    """
    ready = tuple(h if isinstance(h, Help) else text_helps(h)[0] for h in helps if h)
    diagnostic = Diagnostic(code, message, span, labels=labels, notes=notes, helps=ready)
    raise SegError(at_user(diagnostic, frame.scope))
