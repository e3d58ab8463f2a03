"""Write freshly initialised weights of a network, from a seed: no torch is needed."""

from __future__ import annotations

import argparse

from compiler.cli.console import note
from compiler.cli.options import add_program, load_program, whole_number
from compiler.files import check_writable
from compiler.weights.init import initialise
from segdsl.analysis.params import count, owners, params
from segdsl.diagnostics import Diagnostic

_SEEDS = (1 << 63) - 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_program(parser)
    parser.add_argument("--seed", default="0", help="equal seeds give equal bytes (default: 0)")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="a .safetensors file")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write every array of the net, by the initialisers that the program names."""
    check_writable(args.output, inputs=[args.file])
    seed = whole_number("--seed", args.seed, 0, _SEEDS)
    program = load_program(args)
    table = params(program.graph)
    weights = initialise(table, seed, owners=owners(program.graph))
    weights.to_safetensors(args.output)
    note(f"wrote {args.output}: {len(weights)} arrays, {count(table):,} parameters")
    return program.warnings
