"""`--weights` and the options that make a published checkpoint fit."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compiler.cli.console import note
from compiler.cli.usage import usage_error
from segdsl.analysis.params import owners, params
from segdsl.ir import Graph

if TYPE_CHECKING:
    from compiler.weights.loading import Loaded, LoadReport

_NAMED = 3


def add_weights(parser: argparse.ArgumentParser, help: str, *, required: bool = False) -> None:
    """`--weights`, `--strip-prefix`, `--key-map`, `--allow-missing`, `--allow-extra`."""
    parser.add_argument("--weights", metavar="WEIGHTS", required=required, help=help)
    parser.add_argument("--strip-prefix", metavar="PREFIX", help="as module.: names lose it")
    parser.add_argument("--key-map", metavar="TOML", help="rules that rename and reshape weights")
    for kind, what in (("missing", "may lack"), ("extra", "may have beyond the net's")):
        parser.add_argument(
            f"--allow-{kind}",
            metavar="GLOB",
            action="append",
            default=[],
            help=f"names that the checkpoint {what}; may be repeated",
        )


def refuse_idle_options(args: argparse.Namespace) -> None:
    """Refuse options about a checkpoint where none is given.

    Raises:
        UsageError: there is one.
    """
    given = {
        "--strip-prefix": args.strip_prefix is not None,
        "--key-map": args.key_map is not None,
        "--allow-missing": args.allow_missing,
        "--allow-extra": args.allow_extra,
    }
    idle = [name for name, value in given.items() if value]
    if idle and not args.weights:
        raise usage_error(f"`{idle[0]}` has no effect without `--weights`")


def load_weights(graph: Graph, args: argparse.Namespace, file: str | None = None) -> Loaded:
    """The arrays of `--weights` for the graph; says on stderr what was not taken as it stood.

    `file` is the program that the graph is from, FILE unless given.

    Raises:
        SegError: the file is not usable, or does not fit.
    """
    from compiler.weights.loading import load_with_report
    from compiler.weights.mismatch import MismatchError

    try:
        loaded = load_with_report(
            args.weights,
            params(graph),
            strip_prefix=args.strip_prefix,
            key_map=args.key_map,
            allow_missing=args.allow_missing,
            allow_extra=args.allow_extra,
            owners=owners(graph),
        )
    except MismatchError as error:
        from compiler.cli.alternatives import with_alternative

        raise with_alternative(error, graph, args.file if file is None else file, args) from None
    for line in _report(loaded.report):
        note(f"{args.weights}: {line}")
    return loaded


def _report(report: LoadReport) -> Iterator[str]:
    if report.opened:
        yield f"opened {' / '.join(report.opened)}"
    parts: list[tuple[str, Sequence[str]]] = [
        ("left aside, no tensors", [name for name, _ in report.ignored]),
        ("lost the prefix", report.stripped),
        ("renamed", [f"{old} to {new}" for old, new in report.renamed]),
        ("dropped by the key map", report.dropped),
        ("rules of the key map without effect", [str(rule) for rule in report.unused_rules]),
        ("not in the net, as allowed", report.extra),
        ("not in the file, initialised", report.filled),
        ("converted", [f"{path} from {old} to {new}" for path, old, new in report.converted]),
    ]
    yield from (f"{what}: {_some(names)}" for what, names in parts if names)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
