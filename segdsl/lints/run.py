"""All lints of a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segdsl import syntax
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Diagnostic
from segdsl.elaborate.net import Elaboration
from segdsl.imports import Module
from segdsl.lints.fields import field_lints
from segdsl.lints.names import unused_imports, unused_items, unused_maps
from segdsl.lints.padding import same_shift, unpadded_dilation
from segdsl.lints.paths import default_paths
from segdsl.lints.sizes import strict_where


def lint_texts(files: Sequence[Module]) -> Iterator[Diagnostic]:
    """What the texts alone give away: names that nobody uses.

    `files` are the main file and those of the user's that it imports; what an imported file
    defines, another program may use.
    """
    for number, file in enumerate(files):
        for item in file.tree.items:
            if isinstance(item, syntax.Block | syntax.Net):
                yield from unused_maps(item)
        yield from unused_imports(file.tree)
        if number == 0:
            yield from unused_items(file.tree)


def lint_net(
    program: Elaboration,
    net: syntax.Net,
    files: Sequence[Module],
    accepted: Mapping[str, SizeSet],
    table: Reach | None,
    at: Mapping[str, int] | None = None,
) -> Iterator[Diagnostic]:
    """What the graph of a net gives away, each place once.

    Args:
        program: the net, without errors.
        net: its text.
        files: the files that it was made from.
        accepted: the sizes it accepts.
        table: the receptive fields of its first map; None where no input is a map.
        at: sizes; with them also what is wrong at these only.
    """
    graph = program.graph
    yield from unpadded_dilation(graph)
    yield from same_shift(graph, program.types, accepted)
    bodies = [
        item
        for file in files
        for item in file.tree.items
        if isinstance(item, syntax.Block) or item is net
    ]
    yield from default_paths(graph, bodies)
    yield from strict_where(program, net, accepted)
    if table is not None:
        yield from field_lints(net, graph, accepted, table, at)
