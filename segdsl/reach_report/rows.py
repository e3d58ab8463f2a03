"""The receptive fields of a network's stages as plain data: one row per stage, two axes per row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segdsl.analysis.reach.support import Range
from segdsl.analysis.reach.tables import AxisReach
from segdsl.analysis.sizes import SizeSet
from segdsl.ir import Const, Value
from segdsl.symbolic import Size

Pixel = tuple[int, int]
"""Row and column."""


@dataclass(frozen=True)
class AxisRow:
    """A stage along one axis.

    Attributes:
        size: its extent as a formula of the input's, shortened for accepted sizes.
        size_at: its extent at the size that was asked for.
        reach: its receptive field. Without a period and with a size, `rf_min` and `rf_max` are
            those of the pixels whose field does not touch the border.
        has_local: whether any pixel is read along value edges only.
        interior: first and last output whose field at this size is the periodic one.
        unused: input pixels that no output of the stage depends on, at this size.
    """

    size: str
    size_at: int | None
    reach: AxisReach
    has_local: bool
    interior: Range | None
    unused: tuple[Range, ...] | None


@dataclass(frozen=True)
class Box:
    """Input pixels: first and last row and column, and how many of that box are in the set."""

    rows: Range
    cols: Range
    support: int


@dataclass(frozen=True)
class PixelRow:
    """The exact input pixels that the pixel `at` of a stage depends on.

    Attributes:
        at: row and column in the stage.
        local: along value edges; None: on none.
        full: along all edges.
    """

    at: Pixel
    local: Box | None
    full: Box | None


@dataclass(frozen=True)
class StageRow:
    """A stage: names, place in the program, both axes.

    `line` is its line in the file of the net (None: nowhere in it), `product` whether its local
    2-D set is the product of the rows and the columns.
    """

    name: str
    value: Value
    op: str
    scope: tuple[str, ...]
    line: int | None
    product: bool
    axes: tuple[AxisRow, AxisRow]
    pixel: PixelRow | None


@dataclass(frozen=True)
class Warned:
    """Something suspicious, found along the way; `kind` is one of `findings.CODES`."""

    kind: str
    stage: str
    message: str
    line: int | None


@dataclass(frozen=True)
class ReachReport:
    """The receptive fields of some stages of a network.

    Attributes:
        input: the input whose pixels are meant.
        size: height and width that exact figures are for; None: only the periodic ones.
        symbols: per axis the size of that input, as declared.
        accepts: per axis the accepted sizes; None where the input states a number.
        strict: per axis those at which no pixel is dropped; None where they are the same.
        stages: one row each, in graph order or as they were asked for.
    """

    net: str
    file: str
    input: str
    settings: Mapping[str, Const]
    size: tuple[int, int] | None
    symbols: tuple[Size, Size]
    accepts: tuple[SizeSet | None, SizeSet | None]
    strict: tuple[SizeSet | None, SizeSet | None]
    stages: tuple[StageRow, ...]
    warnings: tuple[Warned, ...]
