"""`compile --target onnx`: the options of that target, and the file they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.cli.checkpoint import load_weights
from compiler.cli.console import note
from compiler.cli.options import Loaded, parse_size, whole_number
from compiler.cli.usage import usage_error
from compiler.files import check_writable
from segdsl.analysis.shapes import shapes
from segdsl.diagnostics import Diagnostic
from segdsl.imports import read_text
from segdsl.ir import Graph, Value
from segdsl.limits import Limits

_HIGHEST = 999


def add_onnx(parser: argparse.ArgumentParser) -> None:
    """The options that have a meaning for `--target onnx` only."""
    group = parser.add_argument_group("for --target onnx")
    group.add_argument("--opset", metavar="N", help="the opset (default: 18, or what is needed)")
    group.add_argument("--size", metavar="HxW", help="fix height and width (default: both free)")
    group.add_argument("--batch", metavar="N", help="fix the batch size as well")
    group.add_argument("--no-optimize", action="store_true", help="keep batch norms as nodes")
    group.add_argument("--class-names", metavar="TXT", help="a class per line, for the metadata")


def refuse_onnx_options(args: argparse.Namespace) -> None:
    """Refuse the options above for another target.

    Raises:
        UsageError: one is given.
    """
    given = {
        "--opset": args.opset,
        "--size": args.size,
        "--batch": args.batch,
        "--no-optimize": args.no_optimize,
        "--class-names": args.class_names,
    }
    idle = [name for name, value in given.items() if value]
    if idle:
        raise usage_error(f"`{idle[0]}` has no effect with `--target {args.target}`")


def refuse_early(args: argparse.Namespace) -> None:
    """Before any work: an output that cannot be written, options that contradict each other.

    Raises:
        SegError: one of them.
    """
    if args.output in (None, "-"):
        raise usage_error("`--target onnx` needs `-o`: the file is not text")
    if args.flat:
        raise usage_error("`--flat` has no effect with `--target onnx`")
    if args.batch and not args.size:
        raise usage_error("`--batch` needs `--size`")
    inputs = [name for name in (args.file, args.weights, args.class_names) if name]
    check_writable(args.output, inputs=inputs)


def write_onnx(program: Loaded, args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the file; answers what is to be said about its weights."""
    opset = None if args.opset is None else whole_number("--opset", args.opset, 1, _HIGHEST)
    size = None if args.size is None else parse_size(args.size)
    batch = None if args.batch is None else whole_number("--batch", args.batch, 1, Limits().nodes)
    names = _class_names(program.graph, args.class_names) if args.class_names else ()
    from compiler.to_onnx.build import RAISED, Options, build
    from compiler.to_onnx.files import save

    options = Options(opset, size, batch, not args.no_optimize, names, args.weights)
    loaded = load_weights(program.graph, args) if args.weights else None
    model = build(program.graph, loaded.weights if loaded else None, options)
    if loaded is None:
        note("no `--weights`: the arrays are initialised from seed 0")
    if RAISED in model.metadata_props:
        note(f"opset {model.opset_imports['']}, for {model.metadata_props[RAISED]}")
    save(model, args.output)
    note(f"wrote {args.output}")
    return loaded.report.warnings if loaded else ()


def _class_names(graph: Graph, file: str) -> tuple[str, ...]:
    """The lines of a file: as many as an output has channels.

    Raises:
        UsageError: there are more or fewer.
    """
    text = read_text(Path(file), Limits())
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    table = shapes(graph)
    features = [table[Value(name)] for name in graph.outputs]
    channels = {str(feature.shape[1]) for feature in features if feature.rank > 1}
    if str(len(names)) not in channels:
        found = f"the outputs have {', '.join(sorted(channels)) or 'no'} channels"
        raise usage_error(f"`{file}` names {len(names)} classes, but {found}")
    return names
