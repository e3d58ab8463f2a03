"""The static pass over every item: names, arguments and branches, used or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segdsl import syntax
from segdsl.diagnostics import Diagnostic
from segdsl.elaborate.cycles import circles, reaching
from segdsl.elaborate.doctags import check_tags
from segdsl.elaborate.heads import check_alias, check_head
from segdsl.elaborate.survey_bodies import survey_block, survey_const, survey_net
from segdsl.elaborate.survey_state import Survey, Use
from segdsl.imports import Entry, Module
from segdsl.infer import is_library
from segdsl.source import Span


@dataclass(frozen=True)
class Names:
    """What the static pass found.

    Attributes:
        diagnostics: what is wrong, file by file, in the order of the text.
        unfit: nets of the main file that cannot be elaborated: they reach a block that contains
            itself or whose head is wrong.
    """

    diagnostics: tuple[Diagnostic, ...]
    unfit: frozenset[str]


def check_names(module: Module) -> list[Diagnostic]:
    """The diagnostics of `survey`."""
    return list(survey(module).diagnostics)


def survey(module: Module) -> Names:
    """Look at every item of a file and of the files it imports, whether it is used or not.

    Names in value and in call position, the arguments of calls, types, literals, circles and doc
    tags; in every branch. Takes time linear in the text. The standard library is taken to be right,
    unless it is the main file.
    """
    found: list[Diagnostic] = []
    items: dict[int, tuple[Entry, Sequence[Use]]] = {}
    broken: list[Entry] = []
    for file in own_files(module):
        found += check_tags(file.tree.source)
        for item in file.tree.items:
            if isinstance(item, syntax.ImportNames):
                found += [d for _, alias in item.names for d in check_alias(alias)]
            elif not isinstance(item, syntax.ImportFile):
                wrong, uses = _item(file, item)
                items[id(item)] = (item, uses)
                found += wrong
                broken += [item] if check_head(item) else []
    for diagnostic, members in circles(items):
        found.append(diagnostic)
        broken += members
    bad = reaching(items, broken)
    unfit = frozenset(name for name, net in module.nets.items() if id(net) in bad)
    return Names(tuple(found), unfit)


def own_files(main: Module) -> list[Module]:
    """The main file, first, and every file of the user's that it reaches by imports."""
    found: list[Module] = []
    pending = [main]
    while pending:
        module = pending.pop()
        library = is_library(Span(module.tree.source, 0, 0))
        if module in found or (library and module is not main):
            continue
        found.append(module)
        pending += [home for _, home in module.items.values()]
        pending += module.modules.values()
    return found


def _item(module: Module, item: Entry) -> tuple[list[Diagnostic], Sequence[Use]]:
    """What is wrong with one item, and what it refers to."""
    state = Survey(module, in_block=isinstance(item, syntax.Block))
    state.report(*check_head(item))
    match item:
        case syntax.Block():
            survey_block(state, item)
        case syntax.Net():
            survey_net(state, item)
        case syntax.Const():
            survey_const(state, item)
    return state.found, state.uses
