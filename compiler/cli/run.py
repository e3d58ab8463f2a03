"""Segment a picture: the mask gets the picture's size, whatever sizes the network accepts."""

from __future__ import annotations

import argparse

from compiler.cli.checkpoint import add_weights, load_weights
from compiler.cli.console import note
from compiler.cli.options import add_program, load_program
from compiler.cli.usage import usage_error
from segdsl.diagnostics import Diagnostic


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    parser.add_argument("picture", metavar="PICTURE", help="a picture, or an array in a .npy file")
    add_weights(parser, "a safetensors file or a checkpoint for the net", required=True)
    parser.add_argument("-o", "--output", metavar="MASK", required=True, help="a .png file")
    parser.add_argument("--overlay", metavar="PNG", help="also write the picture under the mask")
    parser.add_argument("--head", metavar="NAME", help="the output to use (default: the first)")
    parser.add_argument("--mean", metavar="M,M,M", help="subtracted from values 0 to 1, by channel")
    parser.add_argument("--std", metavar="S,S,S", help="divides what remains, by channel")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the mask, and say what was done to the picture."""
    from compiler.run.files import check_outputs
    from compiler.run.files import run as run_on_files
    from compiler.run.prepare import Normalisation

    check_outputs(args.output, args.overlay, inputs=[args.picture, args.weights, args.file])
    mean, std = _numbers("--mean", args.mean, 0.0), _numbers("--std", args.std, 1.0)
    program = load_program(args)
    loaded = load_weights(program.graph, args)
    report = run_on_files(
        program.graph,
        loaded.weights,
        args.picture,
        args.output,
        overlay=args.overlay,
        output=args.head,
        normalisation=Normalisation(mean, std),
        accepted=program.accepted,
    )
    for line in report.lines:
        note(line)
    for path in report.written:
        note(f"wrote {path}")
    return program.warnings + loaded.report.warnings


def _numbers(name: str, text: str | None, default: float) -> tuple[float, ...]:
    if text is None:
        return (default,)
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise usage_error(f"`{name} {text}` is not a list of numbers", "as 0.485,0.456") from None
