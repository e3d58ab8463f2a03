"""`compile --target triton`: the options of that target, and the folder they ask for."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from compiler.cli.checkpoint import load_weights
from compiler.cli.console import note, say
from compiler.cli.options import Loaded, parse_size
from compiler.cli.usage import usage_error
from segdsl.diagnostics import Diagnostic
from segdsl.report import input_sizes

ARCHES = ("sm_80", "sm_90", "gfx942")

HOW_TO_RUN = (
    "run it with torch and triton 3.6 or newer: kernels need a GPU; on a CPU its plain torch runs, "
    "or, with TRITON_INTERPRET=1 and the policy `all`, the kernels, slowly"
)


def add_triton(parser: argparse.ArgumentParser) -> None:
    """The options that have a meaning for `--target triton` only."""
    group = parser.add_argument_group("for --target triton")
    group.add_argument(
        "--report", action="store_true", help="print which nodes were fused, and why others not"
    )
    group.add_argument(
        "--arch", choices=ARCHES, help="with --report: compile the kernels for this GPU as well"
    )


def refuse_triton_options(args: argparse.Namespace) -> None:
    """Refuse the options above for another target.

    Raises:
        UsageError: one is given.
    """
    given = {"--report": args.report, "--arch": args.arch}
    idle = [name for name, value in given.items() if value]
    if idle:
        raise usage_error(f"`{idle[0]}` has no effect with `--target {args.target}`")


def refuse_triton_early(args: argparse.Namespace) -> None:
    """Before any work: no folder to write, or options that contradict each other.

    Raises:
        SegError: one of them; or `--arch` has no triton that it can compile with (E6013).
        ModuleNotFoundError: `--arch` has no triton at all.
    """
    from compiler.to_triton.folder import check_folder

    if args.output == "-" or (args.output is None and not args.report):
        raise usage_error("`--target triton` writes a folder: name it with `-o`, or ask `--report`")
    for name, given in (("--flat", args.flat), ("--fold", args.fold)):
        if given:
            raise usage_error(f"`{name}` has no effect with `--target triton`")
    if args.arch and not args.report:
        raise usage_error("`--arch` needs `--report`")
    if args.arch:
        from compiler.to_triton.build import check_triton

        check_triton()
    if args.output is None:
        if args.weights:
            raise usage_error("`--weights` needs `-o`: the weights are written into the folder")
    else:
        check_folder(args.output)


def write_triton(program: Loaded, args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the folder and print the report; answers what is to be said about the weights."""
    from compiler.to_triton.folder import write_folder
    from compiler.to_triton.plan import plan
    from compiler.to_triton.prepare import fused_graph, prepare

    size = None
    if args.size is not None:
        size = input_sizes(program.graph, program.accepted, parse_size(args.size), 1)
    loaded = load_weights(program.graph, args) if args.weights else None
    found = plan(fused_graph(program.graph), size)
    if args.report:
        say(str(found))
    if args.output is not None:
        limited = (str(s) for name, s in program.accepted.items() if str(s) != f"{name} >= 1")
        ready = prepare(program.graph, loaded.weights if loaded else None)
        write_folder(args.output, ready, found, tuple(limited))
        if loaded is None:
            note("no `--weights`: the arrays are initialised from seed 0")
        note(f"wrote {args.output}")
        note(HOW_TO_RUN)
    if args.arch:
        _gate(args.arch)
    return loaded.report.warnings if loaded else ()


def _gate(arch: str) -> None:
    """The machine code of every kernel, in a process that does not interpret kernels."""
    say("")
    sys.stdout.flush()
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "compiler.to_triton.gate", "--arch", arch], env=env
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the gate for {arch} ended with {done.returncode}")
