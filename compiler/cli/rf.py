"""Show the receptive field of every stage: exact, for all sizes, phases and branches."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import note, say
from compiler.cli.options import Loaded, add_program, load_program, parse_size
from compiler.cli.usage import usage_error
from compiler.files import check_writable
from segdsl.diagnostics import Diagnostic
from segdsl.reach_report import as_json, explain, gaps, influence, text
from segdsl.reach_report.collect import Analysis, analyse, reach_report
from segdsl.reach_report.rows import Pixel
from segdsl.reach_report.stages import Stage, chosen, every_value, stages

_PIXEL = re.compile("([0-9]{1,9}),([0-9]{1,9})")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    parser.add_argument("--input", metavar="NAME", help="whose pixels (default: the first map)")
    parser.add_argument("--size", metavar="HxW", help="input height and width, for exact borders")
    parser.add_argument(
        "--at",
        metavar="STAGE",
        action="append",
        default=[],
        help="only this stage: a binding, block instance, output or node; may be repeated",
    )
    parser.add_argument("--all", action="store_true", help="every node")
    parser.add_argument("--pixel", metavar="Y,X", help="the input box of one pixel of each stage")
    parser.add_argument(
        "--gaps", action="store_true", help="the pixels that fields with holes read"
    )
    parser.add_argument(
        "--effective", action="store_true", help="how narrow most of the influence is"
    )
    parser.add_argument(
        "--explain",
        metavar="STAGE",
        action="append",
        default=[],
        help="which operators make this field as large as it is; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="the same figures as JSON")
    parser.add_argument("--plot", metavar="PNG", help="draw the fields as boxes on a picture")
    parser.add_argument("--picture", metavar="PICTURE", help="what to draw them on")
    add_weights(parser, "measure the gradients of `--effective` with this checkpoint")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Print the table on stdout, and draw the picture."""
    at_pixel = _usage(args)
    size = parse_size(args.size) if args.size is not None else None
    program = load_program(args)
    asked = _Asked.of(program, args, size)
    report = reach_report(asked.analysis, asked.rows, at_pixel=at_pixel)
    influences = _influences(asked, args) if args.effective else []
    if args.plot:
        from compiler.cli.rf_plot import write_plot

        write_plot(asked.analysis, report, influences, args, every=bool(args.at or args.explain))
    if args.json:
        more = dict(_more_json(asked, influences, args))
        say(as_json.dumps({**as_json.as_json(report), **more}))
    else:
        say("\n".join([text.as_text(report), *_more_text(asked, influences, args)]))
    return program.warnings


def _usage(args: argparse.Namespace) -> Pixel | None:
    """Refuse options that contradict each other or have no effect; answers `--pixel`.

    Raises:
        UsageError: there is one.
        SegError: the plot cannot be written.
    """
    refuse_idle_options(args)
    if args.all and args.at:
        raise usage_error("`--all` and `--at` contradict each other")
    if args.pixel is not None and args.size is None:
        raise usage_error("`--pixel` needs `--size`: a pixel lies in a map of known size")
    if args.picture and not args.plot:
        raise usage_error("`--picture` has no effect without `--plot`")
    if args.weights and not args.effective:
        raise usage_error("`--weights` has no effect without `--effective`")
    if args.plot:
        if not args.plot.lower().endswith(".png"):
            raise usage_error(f"`--plot {args.plot}`: the picture is written as .png")
        inputs = [name for name in (args.file, args.picture, args.weights) if name]
        check_writable(args.plot, inputs=inputs)
    return None if args.pixel is None else _pixel(args.pixel)


def _pixel(given: str) -> Pixel:
    match = _PIXEL.fullmatch(given)
    if match is None:
        raise usage_error(f"`--pixel {given}` is no pixel", "write row and column, as 32,32")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class _Asked:
    """What is reported of which stages; `measured` are those whose gradients are wanted."""

    analysis: Analysis
    rows: tuple[Stage, ...]
    explained: tuple[Stage, ...]
    measured: tuple[Stage, ...]
    program: Loaded

    @classmethod
    def of(cls, program: Loaded, args: argparse.Namespace, size: tuple[int, int] | None) -> _Asked:
        graph = program.graph
        explained = chosen(graph, args.explain)
        at = chosen(graph, args.at) or (() if args.all else explained)
        rows = at or (every_value(graph) if args.all else stages(graph))
        outputs = {graph.operands(node)[0] for node in graph.outputs}
        measured = at or tuple(stage for stage in rows if stage.value in outputs)
        analysis = analyse(graph, program.accepted, input=args.input, size=size)
        return cls(analysis, rows, explained, measured, program)


def _more_text(
    asked: _Asked, influences: Sequence[influence.Influence], args: argparse.Namespace
) -> Iterator[str]:
    table = asked.analysis.table
    if args.gaps:
        found = [gap for stage in asked.rows for gap in gaps.gaps(table, stage.name, stage.value)]
        yield from gaps.as_text(found)
    if args.effective:
        yield from ["", *influence.as_text(influences)]
    told = explain.explanations(table, asked.explained)
    for item in told:
        both = sum(other.stage == item.stage for other in told) > 1
        yield from ["", *explain.as_text(item, both=both)]


def _more_json(
    asked: _Asked, influences: Sequence[influence.Influence], args: argparse.Namespace
) -> Iterator[tuple[str, object]]:
    """The keys of what was asked for besides the table."""
    table = asked.analysis.table
    if args.gaps:
        found = [gap for stage in asked.rows for gap in gaps.gaps(table, stage.name, stage.value)]
        yield "gaps", [gaps.as_json(gap) for gap in found]
    if args.effective:
        yield "effective", [influence.as_json(row) for row in influences]
    if args.explain:
        told = explain.explanations(table, asked.explained)
        yield "explain", [explain.as_json(item) for item in told]


def _influences(asked: _Asked, args: argparse.Namespace) -> list[influence.Influence]:
    """Uniform weights for all stages; where torch is installed, gradients for those named."""
    gradients = _gradients(asked, args)
    table = asked.analysis.table
    return [influence.influence(table, stage, gradients.get(stage.name)) for stage in asked.rows]


def _gradients(asked: _Asked, args: argparse.Namespace) -> dict[str, influence.Gradients]:
    if find_spec("torch") is None:
        if args.weights:
            raise ModuleNotFoundError(name="torch")  # told as for every missing library
        note("torch is not installed: the influence is that of uniform weights only")
        return {}
    from compiler.effective import INPUTS, fitting_size, measured

    analysis, stages = asked.analysis, asked.measured
    accepted = asked.program.accepted
    size = analysis.size or fitting_size(analysis.table, [s.value for s in stages], accepted)
    if size is None:
        note("no accepted size is small enough to measure gradients at; `--size` chooses one")
        return {}
    weights = load_weights(analysis.graph, args).weights if args.weights else None
    note(f"measuring gradients of {_named(stages)} at {size[0]}x{size[1]}")
    name = args.weights or "initial"
    found: dict[str, influence.Gradients] = {}
    for stage in stages:
        answer = measured(analysis.table, stage.value, accepted, size=size, weights=weights)
        if answer is not None:
            axes = (answer.rows, answer.cols)
            found[stage.name] = influence.Gradients(
                answer.pixel, size, INPUTS, name, axes, answer.sides
            )
    return found


def _named(stages: Sequence[Stage]) -> str:
    shown = ", ".join(stage.name for stage in stages[:4])
    return shown + (f" and {len(stages) - 4} more" if len(stages) > 4 else "")
