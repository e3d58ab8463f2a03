"""Write a program for a target: as PyTorch source, to stdout or a file, or as an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import note
from compiler.cli.onnx_file import add_onnx, refuse_early, refuse_onnx_options, write_onnx
from compiler.cli.options import add_program, load_program
from compiler.cli.triton_folder import (
    add_triton,
    refuse_triton_early,
    refuse_triton_options,
    write_triton,
)
from compiler.cli.usage import usage_error
from compiler.files import check_writable, staged, write_atomic
from compiler.pipeline import optimize
from compiler.to_torch.emit import emit
from compiler.together import place_all
from compiler.weights.baking import baked_graph, baked_weights
from compiler.weights.files import safetensors_pieces
from segdsl.diagnostics import Diagnostic
from segdsl.ir import Graph


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    parser.add_argument(
        "--target", choices=["torch", "onnx", "triton"], required=True, help="what to write"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="the file to write (default: stdout)")
    parser.add_argument("--flat", action="store_true", help="one class, blocks dissolved")
    parser.add_argument(
        "--fold", action="store_true", help="for inference: no dropout, batch norms in convolutions"
    )
    add_weights(parser, "a checkpoint: checked, and written into the file or beside the source")
    add_onnx(parser)
    add_triton(parser)


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write what the target asks for."""
    refuse_idle_options(args)
    if args.target == "triton":
        return _triton(args)
    refuse_triton_options(args)
    return _onnx(args) if args.target == "onnx" else _torch(args)


def _triton(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    refuse_onnx_options(args, but=("--size",))
    refuse_triton_early(args)
    program = load_program(args)
    return program.warnings + write_triton(program, args)


def _onnx(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    refuse_early(args)
    program = load_program(args)
    return program.warnings + write_onnx(program, args)


def _torch(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the source, and beside it its arrays if a checkpoint was given."""
    refuse_onnx_options(args)
    to_file = args.output not in (None, "-")
    if args.weights and not to_file:
        raise usage_error("`--weights` needs `-o`: the weights are written beside the source")
    if to_file:
        _refuse_early(args)
    program = load_program(args)
    limited = (str(s) for name, s in program.accepted.items() if str(s) != f"{name} >= 1")
    folded = optimize(program.graph) if args.fold else program.graph
    source = emit(baked_graph(folded), flat=args.flat, accepts=tuple(limited))
    if args.weights:
        return program.warnings + _write_pair(program.graph, folded, source, args)
    if to_file:
        write_atomic(args.output, source)
        note(f"wrote {args.output}")
    else:
        _print_source(source)
    return program.warnings


def _refuse_early(args: argparse.Namespace) -> None:
    """Before any work: outputs that cannot be written, or that are an input."""
    inputs = [name for name in (args.file, args.weights) if name]
    check_writable(args.output, inputs=inputs)
    if args.weights:
        if _weights_file(args) == Path(args.output):
            raise usage_error(f"`-o {args.output}` is where the weights go", "end it in .py")
        check_writable(_weights_file(args), inputs=[*inputs, args.output])


def _weights_file(args: argparse.Namespace) -> Path:
    return Path(args.output).with_suffix(".safetensors")


def _write_pair(
    graph: Graph, folded: Graph, source: str, args: argparse.Namespace
) -> tuple[Diagnostic, ...]:
    """Write the source and its arrays, both or none.

    Killed between the two, it leaves the source without arrays, which nobody can load: an old
    source would load new arrays of equal shapes and compute something else. A checkpoint is one of
    the program, folded or not.
    """
    loaded = load_weights(graph, args)
    arrays = loaded.weights if folded is graph else baked_weights(folded, loaded.weights)
    with staged(args.output) as text, staged(_weights_file(args)) as table:
        text.file.write(source.encode("utf-8"))
        table.file.writelines(safetensors_pieces(arrays))
        place_all([text, table], paired=True)
    note(f"wrote {_weights_file(args)}")
    note(f"wrote {args.output}")
    return loaded.report.warnings


def _print_source(source: str) -> None:
    """The bytes that `-o` would write, whatever the terminal's encoding."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(source)
    else:
        sys.stdout.flush()
        buffer.write(source.encode("utf-8"))
        buffer.flush()
