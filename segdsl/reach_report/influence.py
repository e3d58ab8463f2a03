"""Effective receptive fields as a table: how narrow most of the influence is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segdsl.analysis.reach.effective import SHARES, effective
from segdsl.analysis.reach.periodic import Phases
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.reach.wiring import ReachError
from segdsl.ir import Value
from segdsl.reach_report.boxes import widest
from segdsl.reach_report.stages import Stage
from segdsl.reach_report.text import table
from segdsl.types import HEIGHT, WIDTH, Axis


@dataclass(frozen=True)
class Marginal:
    """How influence spreads along one axis.

    Attributes:
        std: its standard deviation, in pixels.
        widths: for each of SHARES the pixels around the middle of the field that hold it.
    """

    std: float
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Gradients:
    """What the gradients of a module say.

    Attributes:
        pixel: row and column of the pixel of the stage whose gradients they are.
        size: height and width of the inputs.
        inputs: how many there were.
        weights: whose: a file, or `initial`.
        axes: the spread over rows and over columns.
        sides: for each of SHARES the side of the square around the middle of the field that holds
            it, in pixels.
    """

    pixel: tuple[int, int]
    size: tuple[int, int]
    inputs: int
    weights: str
    axes: tuple[Marginal, Marginal]
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Influence:
    """A stage with its theoretical fields and how much of them matters.

    `fields` and `uniform` are those of the widest phase along rows and columns, None where the
    local field has no period; `gradients` is None where they were not measured.
    """

    stage: str
    fields: tuple[int | None, int | None]
    uniform: tuple[Marginal | None, Marginal | None]
    gradients: Gradients | None = None


def influence(reach: Reach, stage: Stage, gradients: Gradients | None = None) -> Influence:
    """The uniform-weight profile of a stage, beside gradients that were measured."""
    axes = [_uniform(reach, stage.value, axis) for axis in (HEIGHT, WIDTH)]
    fields = [None if found is None else found[0] for found in axes]
    spreads = [None if found is None else found[1] for found in axes]
    return Influence(stage.name, (fields[0], fields[1]), (spreads[0], spreads[1]), gradients)


def _uniform(reach: Reach, value: Value, axis: Axis) -> tuple[int, Marginal] | None:
    state = reach.line(value, axis).local
    chosen = widest(state) if isinstance(state, Phases) else None
    if chosen is None:
        return None
    phase, span = chosen
    try:
        profile = effective(reach.wiring, value, axis).at(phase)
    except ReachError:  # nothing that an effective field could be told of for all sizes
        return None
    if profile is None:
        return None
    return span.length, Marginal(profile.std, tuple(map(profile.width, SHARES)))


def as_text(rows: Sequence[Influence]) -> list[str]:
    """Two lines per stage and kind where rows and columns differ, one where they do not."""
    head = ("stage", "effective", "field", "std", *(f"{share * 100:.4g} %" for share in SHARES))
    lines = table([head, *(line for row in rows for line in _lines(row))])
    measured = [row.gradients for row in rows if row.gradients is not None]
    if measured:
        first = measured[0]
        sizes = " and ".join(dict.fromkeys(f"{m.size[0]}x{m.size[1]}" for m in measured))
        lines.append(
            f"gradients of {first.inputs} random inputs of {sizes}, {first.weights} weights; "
            "sides of squares around the middle of the field"
        )
    return ["pixels around the middle that hold a share of the influence", *lines]


def _lines(row: Influence) -> Iterator[tuple[str, ...]]:
    name = row.stage
    for kind, axis, spread in _spreads(row):
        field = row.fields[0 if axis != "w" else 1]
        shown = "-" if field is None else str(field)
        figures = (
            ("-",) * (1 + len(SHARES))
            if spread is None
            else (f"{spread.std:.1f}", *map(str, spread.widths))
        )
        yield (name, f"{kind} {axis}".rstrip(), shown, *figures)
        name = ""
    if row.gradients is not None:
        yield ("", "gradients, square", "", "", *map(str, row.gradients.sides))


def _spreads(row: Influence) -> Iterator[tuple[str, str, Marginal | None]]:
    if row.uniform[0] == row.uniform[1]:
        yield "uniform weights", "", row.uniform[0]
    else:
        yield "uniform weights", "h", row.uniform[0]
        yield "uniform weights", "w", row.uniform[1]
    if row.gradients is not None:
        yield "gradients", "h", row.gradients.axes[0]
        yield "gradients", "w", row.gradients.axes[1]


def as_json(row: Influence) -> dict[str, object]:
    """The same as plain data; `widths` and `sides` are for the shares of `SHARES`, in order."""
    found = row.gradients
    return {
        "stage": row.stage,
        "shares": list(SHARES),
        "uniform": {"h": _marginal(row.uniform[0]), "w": _marginal(row.uniform[1])},
        "gradients": None
        if found is None
        else {
            "pixel": list(found.pixel),
            "size": {"h": found.size[0], "w": found.size[1]},
            "inputs": found.inputs,
            "weights": found.weights,
            "h": _marginal(found.axes[0]),
            "w": _marginal(found.axes[1]),
            "sides": list(found.sides),
        },
    }


def _marginal(spread: Marginal | None) -> dict[str, object] | None:
    if spread is None:
        return None
    return {"std": round(spread.std, 3), "widths": list(spread.widths)}
