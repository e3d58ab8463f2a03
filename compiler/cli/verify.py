"""Hold the targets against float64 torch, stage by stage; or another file, weights or network."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.cli.checkpoint import add_weights, load_weights, refuse_idle_options
from compiler.cli.console import note, say
from compiler.cli.options import (
    Choice,
    Loaded,
    add_program,
    load_program,
    parse_size,
    read_choice,
    whole_number,
)
from compiler.cli.settings import parse_settings
from compiler.cli.usage import usage_error
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.ir import Graph

if TYPE_CHECKING:
    from compiler.verify.compare import Gate
    from compiler.verify.comparisons import Options
    from compiler.verify.report import Report
    from compiler.weights.table import Weights

_SEEDS = (1 << 63) - 1
_BATCHES = 1 << 20
_ROWS = 1 << 20
_TARGETS = "torch,onnx"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    add_weights(parser, "a checkpoint for the net (default: arrays from --seed)")
    parser.add_argument("--targets", metavar="T,T", help=f"what is compared (default: {_TARGETS})")
    parser.add_argument(
        "--interpret",
        action="store_true",
        help="run the kernels of target triton in Triton's interpreter: on a CPU, slowly",
    )
    _add_runs(parser)
    parser.add_argument("--all", action="store_true", help="every node, not the named stages only")
    parser.add_argument("--worst", metavar="N", help="show the N worst rows of each target")
    parser.add_argument("--json", action="store_true", help="the same figures as JSON")
    _add_others(parser)


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes",
        "--size",
        metavar="HxW,HxW",
        help="input sizes (default: two small ones that the net accepts, one of them odd)",
    )
    parser.add_argument("--batch", metavar="N,N", help="batch sizes (default: 1,2)")
    parser.add_argument("--seed", default="0", help="of the noise and of new arrays (default: 0)")
    parser.add_argument(
        "--init",
        choices=("fixture", "own"),
        help="how arrays are made that are not given: fixture keeps deep nets in a range where "
        "errors show, own is what the program says (default: fixture; with "
        "--against own, as compile makes them)",
    )


def _add_others(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of targets")
    group.add_argument("--against", metavar="ONNX", help="compare with an ONNX file of any maker")
    group.add_argument("--against-weights", metavar="FILE", help="compare with other weights")
    group.add_argument("--against-spec", metavar="FILE", help="compare with another .seg file")
    group.add_argument("--against-net", metavar="NAME", help="the net of that file")
    group.add_argument(
        "--against-set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of that net; may be repeated",
    )
    for kind in ("input", "output"):
        group.add_argument(
            f"--{kind}",
            metavar="OURS=THEIRS",
            action="append",
            default=[],
            help=f"what the other calls an {kind}; may be repeated",
        )
    group.add_argument(
        "--gate",
        choices=("err", "argmax"),
        default="err",
        help="judge numbers, or the class of every pixel, for files of low precision",
    )
    group.add_argument(
        "--agreement", metavar="SHARE", help="of pixels, with --gate argmax (default: 0.9)"
    )


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Print the table on stdout; what departs is an error at its line."""
    _refuse_early(args)
    worst = None if args.worst is None else whole_number("--worst", args.worst, 1, _ROWS)
    options = _options(args)
    targets = (_TARGETS if args.targets is None else args.targets).split(",")
    if not _others(args):
        from compiler.verify.runners import check_targets

        check_targets(targets)
    _interpret(args, targets)
    program = load_program(args)
    loaded = load_weights(program.graph, args) if args.weights else None
    if args.against is not None and loaded is None:
        note(
            "no `--weights`: the file is compared with the arrays that `compile` makes from a seed"
        )
    report = _compared(args, program, loaded.weights if loaded else None, targets, options)
    say(json.dumps(report.as_json(), indent=2) if args.json else report.text(worst))
    for target in report.unjudged:
        note(f"{target}: every output is too faint to be judged, so this proves nothing about them")
    warnings = loaded.report.warnings if loaded else ()
    return program.warnings + warnings + report.diagnostics()


def _interpret(args: argparse.Namespace, targets: Sequence[str]) -> None:
    """Turn the interpreter on, which must be before a kernel is imported.

    Raises:
        UsageError: there is no kernel to interpret.
    """
    if not args.interpret:
        return
    if _others(args) or "triton" not in targets:
        raise usage_error("`--interpret` has no effect without the target `triton` in `--targets`")
    kernels = sys.modules.get("compiler.to_triton.kernels.common")
    if kernels is not None and not kernels.INTERPRETED:
        raise usage_error("`--interpret` comes too late: kernels are compiled in this process")
    os.environ["TRITON_INTERPRET"] = "1"


def _compared(
    args: argparse.Namespace,
    program: Loaded,
    weights: Weights | None,
    targets: Sequence[str],
    options: Options,
) -> Report:
    from compiler.verify import comparisons

    if args.against is not None:
        return comparisons.against_file(program.graph, weights, args.against, options)
    if args.against_spec is not None:
        other = _other_graph(args)
        its = args.against_weights or args.weights
        return comparisons.against_graph(program.graph, weights, other, its, options)
    if args.against_weights is not None:
        return comparisons.against_weights(program.graph, weights, args.against_weights, options)
    return comparisons.against_targets(program.graph, weights, targets, options)


def _other_graph(args: argparse.Namespace) -> Graph:
    own = read_choice(args)
    choice = Choice(args.against_net, parse_settings(args.against_set), own.include, own.limits)
    program = choice.examine(args.against_spec)
    if program.failed or program.graph is None:
        raise SegError(*program.diagnostics)
    return program.graph


def _others(args: argparse.Namespace) -> list[str]:
    """The options given that name something else than targets."""
    given = {
        "--against": args.against,
        "--against-weights": args.against_weights,
        "--against-spec": args.against_spec,
    }
    return [name for name, value in given.items() if value is not None]


def _refuse_early(args: argparse.Namespace) -> None:
    """Before any work: options that contradict each other or would do nothing.

    Raises:
        UsageError: there are some.
    """
    refuse_idle_options(args)
    others = _others(args)
    if "--against" in others and len(others) > 1:
        raise usage_error(f"`{others[0]}` and `{others[1]}` cannot be given together")
    if others and args.targets is not None:
        raise usage_error(f"`--targets` has no effect with `{others[0]}`")
    if others == ["--against-weights"] and not args.weights:
        raise usage_error("`--against-weights` needs `--weights`: what is compared with what?")
    if args.weights and args.init is not None:
        raise usage_error("`--init` has no effect with `--weights`")
    if "--against-spec" not in others:
        _refuse_idle({"--against-net": args.against_net, "--against-set": args.against_set}, "spec")
    if args.worst is not None and args.json:
        raise usage_error("`--worst` has no effect with `--json`, which holds every row")
    if not others or others == ["--against-weights"]:
        idle = {"--input": args.input, "--output": args.output}
        _refuse_idle(idle, "spec` or `--against")
    if args.all and ("--against" in others or args.gate == "argmax"):
        why = "`--against`" if "--against" in others else "`--gate argmax`"
        raise usage_error(f"`--all` has no effect with {why}, which compares outputs")
    if args.agreement is not None and args.gate != "argmax":
        raise usage_error("`--agreement` has no effect without `--gate argmax`")


def _refuse_idle(given: dict[str, object], partner: str) -> None:
    idle = [name for name, value in given.items() if value]
    if idle:
        raise usage_error(f"`{idle[0]}` has no effect without `--against-{partner}`")


def _options(args: argparse.Namespace) -> Options:
    sizes = tuple(map(parse_size, args.sizes.split(","))) if args.sizes is not None else ()
    batches: tuple[int, ...] = ()
    if args.batch is not None:
        batches = tuple(whole_number("--batch", t, 1, _BATCHES) for t in args.batch.split(","))
    seed = whole_number("--seed", args.seed, 0, _SEEDS)
    inputs, outputs = _renames("--input", args.input), _renames("--output", args.output)
    share = _share(args.agreement)
    from compiler.verify.comparisons import Options

    gate = _gate(args.gate, share)
    return Options(
        sizes,
        batches,
        every=args.all,
        seed=seed,
        init=args.init or ("fixture" if args.against is None else "own"),
        gate=gate,
        inputs=inputs,
        outputs=outputs,
    )


def _gate(kind: str, share: float | None) -> Gate:
    from compiler.verify.compare import Gate

    return Gate.argmax(share) if kind == "argmax" else Gate()


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise usage_error(f"`--agreement {text}`: it takes a share above 0, at most 1, as 0.97")
    return share


def _renames(option: str, texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise usage_error(f"`{option} {text}` is not a pair of names", "write it ours=theirs")
        if ours in found:
            raise usage_error(f"`{option}` names `{ours}` twice")
        found[ours] = theirs
    return found
