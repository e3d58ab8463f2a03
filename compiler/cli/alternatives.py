"""A checkpoint that does not fit a net: does it fit the net with another of its settings?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace

from compiler.cli.options import Choice, read_choice
from compiler.weights.mismatch import MismatchError, is_counter
from segdsl import syntax
from segdsl.analysis.params import Params, params
from segdsl.diagnostics import Help, SegError
from segdsl.elaborate.declared import choice_words
from segdsl.imports import read_text
from segdsl.ir import Const, Graph
from segdsl.library import locate
from segdsl.parser import parse
from segdsl.source import Source

MOST = 12
"""Settings that are tried; each costs an elaboration of the net."""

CLOSE = 20
"""A setting that mends all but one weight in so many is named too."""

Shapes = Mapping[str, tuple[int, ...]]


def with_alternative(
    error: MismatchError, graph: Graph, file: str, args: argparse.Namespace
) -> MismatchError:
    """The same error; if the checkpoint fits with another setting, that is its fix.

    Only parameters of the net with a few values are tried, one at a time: `oneof` and `bool`.
    """
    shapes = _shapes_of_file(error, params(graph))
    best: tuple[int, str] | None = None
    for setting, table in _tables(graph, file, read_choice(args)):
        differing = _differing(shapes, table)
        if CLOSE * differing <= len(table) and (best is None or differing < best[0]):
            best = (differing, setting)
    if best is None or best[0] >= len(error.differences):
        return error
    differing, setting = best
    rest = f" but for {differing} weights" if differing else ""
    (diagnostic,) = error.diagnostics
    note = f"it fits this net with `{setting}`{rest}"
    # The other fixes explain the same differences by renames, classes or missing heads.
    helps = (Help(f"--set {setting}"),)
    diagnostic = replace(diagnostic, notes=(note, *diagnostic.notes), helps=helps)
    return MismatchError(diagnostic, error.differences)


def _shapes_of_file(error: MismatchError, table: Params) -> Shapes:
    """What the file holds, from the net that it was compared with and the differences."""
    shapes = {name: param.shape for name, param in table.items() if not is_counter(name)}
    for one in error.differences:
        if one.found is None:
            shapes.pop(one.name, None)
        else:
            shapes[one.name] = one.found.entry.shape
    return shapes


def _differing(shapes: Shapes, table: Params) -> int:
    own = {name: param.shape for name, param in table.items() if not is_counter(name)}
    return sum(shapes.get(name) != own.get(name) for name in shapes.keys() | own.keys())


def _tables(graph: Graph, file: str, choice: Choice) -> Iterator[tuple[str, Params]]:
    """The weights of the net with other settings, each with the setting as it is typed."""
    now = dict(graph.settings)
    others = [
        (name, value)
        for name, values in _choices(graph, file, choice)
        for value in values
        if value != now.get(name)
    ]
    for name, value in others[:MOST]:
        settings: dict[str, Const] = {**choice.settings, name: value}
        program = replace(choice, net=graph.name, settings=settings).examine(file)
        if program.graph is not None and not program.failed:
            text = str(value).lower() if isinstance(value, bool) else value
            yield f"{name}={text}", params(program.graph)


def _choices(
    graph: Graph, file: str, choice: Choice
) -> Iterator[tuple[str, tuple[str | bool, ...]]]:
    """The parameters of the net that take one of a few values, with these values."""
    try:
        module, _ = parse(Source(file, read_text(locate(file), choice.limits)), choice.limits)
    except SegError:  # a file that was read a moment ago
        return
    for item in module.items:
        if not isinstance(item, syntax.Net) or item.name.name != graph.name:
            continue
        for param in item.params:
            if isinstance(param.type, syntax.NamedType):
                kind = param.type.name.name
                if kind == "oneof":
                    yield param.name.name, choice_words(param.type)
                elif kind == "bool":
                    yield param.name.name, (False, True)
