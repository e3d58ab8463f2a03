"""What segdsl has to say about a program: data first, drawing in `segdsl.render`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from segdsl.source import Span


class Severity(StrEnum):
    """How bad it is: errors forbid every output, warnings do not."""

    ERROR = "error"
    WARNING = "warning"


class Applicability(StrEnum):
    """How safe an edit is: `certain` ones are applied by `check --fix`."""

    CERTAIN = "certain"
    LIKELY = "likely"
    TEMPLATE = "template"


@dataclass(frozen=True)
class Label:
    """A fact about a second place in the text."""

    span: Span
    text: str


@dataclass(frozen=True)
class Edit:
    """Replace the characters of `span` by `text`."""

    span: Span
    text: str


@dataclass(frozen=True)
class Help:
    """What to do about it, with the edits that do it where they are known."""

    text: str
    edits: tuple[Edit, ...] = ()
    applicability: Applicability = Applicability.TEMPLATE


@dataclass(frozen=True)
class Frame:
    """One block instance or loop turn around the mistake, outermost first in `Diagnostic.stack`.

    `name` is the block; `span` its call; `values` the loop values, as "i = 3".
    """

    name: str
    span: Span
    values: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a stable code, a sentence, a primary span, and what helps to mend it."""

    code: str
    message: str
    span: Span | None
    severity: Severity = Severity.ERROR
    caption: str = ""
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[Help, ...] = ()
    stack: tuple[Frame, ...] = field(default=())


def text_helps(*texts: str) -> tuple[Help, ...]:
    """Helps that hold advice only, without edits."""
    return tuple(Help(text) for text in texts)


class SegError(Exception):
    """A program, a weights file or an argument that segdsl refuses.

    Holds every diagnostic of the run.
    """

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics
