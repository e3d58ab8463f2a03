"""`compile --target onnx`: the options of that target, and the file they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.cli.calibration import pictures_in, write_int8
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
from segdsl.ops.crf import MeanField

_HIGHEST = 999


def add_onnx(parser: argparse.ArgumentParser) -> None:
    """The options that have a meaning for `--target onnx` only."""
    group = parser.add_argument_group("for --target onnx")
    group.add_argument("--opset", metavar="N", help="the opset (default: 18, or what is needed)")
    group.add_argument("--size", metavar="HxW", help="fix height and width (default: both free)")
    group.add_argument("--batch", metavar="N", help="fix the batch size as well")
    group.add_argument("--no-optimize", action="store_true", help="keep batch norms as nodes")
    group.add_argument("--class-names", metavar="TXT", help="a class per line, for the metadata")
    group.add_argument(
        "--argmax", choices=["uint8", "int64"], help="write class labels, as <output>_labels"
    )
    group.add_argument(
        "--preprocess",
        choices=["uint8", "uint8-nhwc"],
        help="the file takes bytes; mean and std as below, or as the program states",
    )
    group.add_argument("--mean", metavar="M,M,M", help="the file subtracts it from values 0 to 1")
    group.add_argument("--std", metavar="S,S,S", help="the file divides what remains by it")
    group.add_argument("--fp16", action="store_true", help="half precision inside, f32 outside")
    group.add_argument("--bf16", action="store_true", help="refused: says why")
    group.add_argument("--unroll", action="store_true", help="iterations of a CRF without a Loop")
    group.add_argument(
        "--allow-dense", action="store_true", help="a CRF over all pairs of pixels at any size"
    )
    group.add_argument(
        "--quantize", metavar="FOLDER", help="int8, with the folder's pictures for calibration"
    )


def refuse_onnx_options(args: argparse.Namespace, *, but: tuple[str, ...] = ()) -> None:
    """Refuse the options above for another target, which may have some of them itself.

    Raises:
        UsageError: one is given.
    """
    given = {
        "--opset": args.opset,
        "--size": args.size,
        "--batch": args.batch,
        "--no-optimize": args.no_optimize,
        "--class-names": args.class_names,
        "--argmax": args.argmax,
        "--preprocess": args.preprocess,
        "--mean": args.mean,
        "--std": args.std,
        "--fp16": args.fp16,
        "--bf16": args.bf16,
        "--unroll": args.unroll,
        "--allow-dense": args.allow_dense,
        "--quantize": args.quantize,
    }
    idle = [n for n, value in given.items() if value not in (None, False) and n not in but]
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
    if args.fold:
        raise usage_error(
            "`--fold` is what `--target onnx` does anyway", "`--no-optimize` does not"
        )
    if args.batch and not args.size:
        raise usage_error("`--batch` needs `--size`")
    if args.fp16 and args.quantize is not None:
        raise usage_error("`--fp16` and `--quantize` exclude each other")
    inputs = [name for name in (args.file, args.weights, args.class_names) if name]
    check_writable(args.output, inputs=inputs)


def write_onnx(program: Loaded, args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the file; answers what is to be said about its weights."""
    opset = None if args.opset is None else whole_number("--opset", args.opset, 1, _HIGHEST)
    size = None if args.size is None else parse_size(args.size)
    batch = None if args.batch is None else whole_number("--batch", args.batch, 1, Limits().nodes)
    names = _class_names(program.graph, args.class_names) if args.class_names else ()
    mean, std = _numbers("--mean", args.mean), _numbers("--std", args.std)
    pictures = None if args.quantize is None else pictures_in(args.quantize)
    from compiler.to_onnx.build import RAISED, Options, build
    from compiler.to_onnx.files import save
    from compiler.to_onnx.half import no_bf16
    from compiler.to_onnx.preprocess import wished

    if args.bf16:
        raise no_bf16()
    _refuse_idle(program.graph, args)
    options = Options(
        opset,
        size,
        batch,
        not args.no_optimize,
        names,
        args.weights,
        wished(program.graph, args.preprocess or "float", mean, std),
        args.argmax,
        args.fp16,
        args.unroll,
        args.allow_dense,
    )
    loaded = load_weights(program.graph, args) if args.weights else None
    model = build(program.graph, loaded.weights if loaded else None, options)
    if loaded is None:
        note("no `--weights`: the arrays are initialised from seed 0")
    if RAISED in model.metadata_props:
        note(f"opset {model.opset_imports['']}, for {model.metadata_props[RAISED]}")
    if any(node.op_type == "DeformConv" for node in model.graph):
        note("DeformConv needs ONNX Runtime 1.25; at opset 18 `deform_conv` is a GridSample")
    if pictures is None:
        *beside, _ = save(model, args.output)
        for path in beside:
            note(f"wrote {path}: the arrays, which must stay beside the model")
    else:
        write_int8(model, program, options, pictures, args.output)
    note(f"wrote {args.output}")
    return loaded.report.warnings if loaded else ()


def _refuse_idle(graph: Graph, args: argparse.Namespace) -> None:
    """Refuse options of an operator that the net does not have."""
    methods = {node.op.method for node in graph.nodes() if isinstance(node.op, MeanField)}
    if args.unroll and not methods:
        raise usage_error("`--unroll` has no effect: this net has no `mean_field`")
    if args.allow_dense and "exact" not in methods:
        raise usage_error(
            "`--allow-dense` has no effect: this net has no `mean_field(method=exact)`"
        )


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise usage_error(f"`{name} {text}` is not a list of numbers", "as 0.485,0.456") from None


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
