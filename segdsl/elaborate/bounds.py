"""Refusing programs for what they would make, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, text_helps
from segdsl.elaborate.counting import NOTHING, TOP, Chain, Count, Counter
from segdsl.elaborate.known import Known
from segdsl.elaborate.net import Setting, frozen
from segdsl.imports import Module
from segdsl.limits import Limits
from segdsl.stack import NoRoomError

SHOWN = 3
"""Factors of a long product that are written out at each end."""


@dataclass
class Bounds:
    """What is refused.

    Attributes:
        diagnostics: why, with the largest factor as the place.
        unfit: nets of the main file that are not expanded.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    unfit: set[str] = field(default_factory=set[str])


def bounds(
    files: Sequence[Module],
    nets: Sequence[syntax.Net],
    settings: Mapping[str, Setting],
    limits: Limits,
) -> Bounds:
    """Count what the nets and every block of the files make at least, used or not.

    A block is told of only where nothing that calls it is refused itself.
    """
    found = Bounds()
    counter = Counter(limits)
    given: dict[str, Known] = {name: frozen(value) for name, value in settings.items()}
    large: dict[int, tuple[syntax.Net | syntax.Block, Count]] = {}
    for net in nets:
        count = _counted(counter, net, files[0], given)
        if _exceeds(count, limits):
            large[id(net)] = (net, count)
            found.unfit.add(net.name.name)
    for file in files:
        for block in file.tree.items:
            if isinstance(block, syntax.Block):
                count = _counted(counter, block, file, {})
                if _exceeds(count, limits):
                    large[id(block)] = (block, count)
    for key, (item, count) in large.items():
        if not counter.callers.get(key, set()) & (large.keys() - {key}):
            found.diagnostics.append(_refusal(item, count, limits))
    return found


def _counted(
    counter: Counter,
    item: syntax.Net | syntax.Block,
    file: Module,
    given: Mapping[str, Known],
) -> Count:
    """What it makes; nothing where the stack ends, which elaboration tells of."""
    try:
        return counter.item(item, file, given)
    except NoRoomError:
        counter.blocks.clear()
        return NOTHING


def _exceeds(count: Count, limits: Limits) -> bool:
    return count.nodes > limits.nodes or count.steps > limits.steps


def _refusal(item: syntax.Net | syntax.Block, count: Count, limits: Limits) -> Diagnostic:
    chain = count.chain if count.nodes > limits.nodes else count.work
    times, span = max(chain, key=lambda factor: factor[0])
    if times > limits.list_length:
        message = f"this loop has {times:,} turns; the limit is {limits.list_length:,}"
        return Diagnostic("E4005", message, span)
    kind = "net" if isinstance(item, syntax.Net) else "block"
    name = f"{kind} `{item.name.name}`"
    if count.nodes > limits.nodes:
        message = f"{name} has {_many(count.nodes)} nodes; the limit is {limits.nodes:,}"
        helps = text_helps("raise the limit with `--max-nodes`")
        return Diagnostic("E4003", message, span, notes=_product(chain), helps=helps)
    message = f"{name} takes {_many(count.steps)} compile-time steps; the limit is {limits.steps:,}"
    return Diagnostic("E4006", message, span, notes=_product(chain))


def _many(number: int) -> str:
    return f"at least {number:,}" if number < TOP else f"more than {TOP:,}"


def _product(chain: Chain) -> tuple[str, ...]:
    """The loops and repeated calls that make most of it, multiplied."""
    factors = [times for times, _ in chain if times > 1]
    if not factors:
        return ()
    whole = 1
    for factor in factors:
        whole = min(TOP, whole * factor)
    words = [f"{factor:,}" for factor in factors]
    if len(words) > 2 * SHOWN + 1:
        words = [*words[:SHOWN], "…", *words[-SHOWN:]]
    many = f", {len(factors)} factors" if len(factors) > 2 * SHOWN + 1 else ""
    product = f"{whole:,}" if whole < TOP else f"more than {TOP:,}"
    return (f"loops and repeated calls multiply: {' x '.join(words)} = {product}{many}",)
