"""What the receptive fields of a network give away (W7002 to W7004, W7006 to W7009)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from segdsl import syntax
from segdsl.analysis.reach.findings import Finding, findings
from segdsl.analysis.reach.tables import Reach
from segdsl.analysis.reach.wiring import AXES
from segdsl.analysis.sizes import SizeSet, where_text
from segdsl.analysis.strict import strict_sizes
from segdsl.diagnostics import (
    Applicability,
    Diagnostic,
    Edit,
    Help,
    Label,
    Severity,
    text_helps,
)
from segdsl.infer import at_user, is_library
from segdsl.ir import Graph, Instance, Node, Turn
from segdsl.ops.conv import ConvTranspose
from segdsl.ops.ports import Output
from segdsl.source import Span
from segdsl.taps import Sliding
from segdsl.wheres import where_edit

SHOWN = 4
"""Second places that one message shows."""


def field_lints(
    net: syntax.Net,
    graph: Graph,
    accepted: Mapping[str, SizeSet],
    table: Reach,
    at: Mapping[str, int] | None,
) -> list[Diagnostic]:
    """Every finding of the receptive fields as a warning with its place.

    Args:
        net: the text of the network.
        graph: the network.
        accepted: the sizes it accepts.
        table: the fields of its first map.
        at: sizes; with them also what is wrong at these only. None of them where the text fixes
            every size: that a field is wider than such an input is no surprise to its writer.
    """
    found = findings(graph, at, table=table, accepted=accepted)
    narrow = {f.node for f in found if f.kind == "wider_than_input" and "dilation" in f.numbers}
    told = [
        _diagnostic(table, item, at)
        for item in found
        if item.kind != "dropped_pixels"
        and not ("rf" in item.numbers and (item.node in narrow or not at))
    ]
    dropped = [item for item in found if item.kind == "dropped_pixels"]
    told += [_dropped(net, graph, accepted, dropped)] if dropped else []
    return _together(told)


def _diagnostic(table: Reach, found: Finding, at: Mapping[str, int] | None) -> Diagnostic:
    node = table.graph[found.node]
    match found.kind:
        case "gridding":
            made = _gridding(table, found)
        case "wider_than_input":
            made = _too_wide(table.graph, found, at or {})
        case "crop_offset":
            made = _crop_offset(table.graph, found)
        case "misaligned":
            made = _misaligned(table.graph, found)
        case "empty_phase":
            made = _empty_phase(node, found)
        case _:
            made = _unread(table.graph, found)
    return made


def _warning(
    found: Finding,
    node: Node,
    message: str,
    *,
    span: Span | None = None,
    labels: Sequence[Label] = (),
    notes: Sequence[str] = (),
    helps: Sequence[Help] = (),
) -> Diagnostic:
    primary = span or node.span
    apart = tuple(label for label in labels if label.span != primary)[:SHOWN]
    return at_user(
        Diagnostic(
            found.code, message, primary, Severity.WARNING,
            labels=apart, notes=tuple(notes), helps=tuple(helps),
        ),
        node.scope,
    )  # fmt: skip


def _gridding(table: Reach, found: Finding) -> Diagnostic:
    """Holes: told where they open, with the rates on the way to the output."""
    graph = table.graph
    order = {name: i for i, name in enumerate(graph)}
    openers = sorted(found.causes, key=order.__getitem__)
    node = graph[openers[0]]
    dilated = [n for n in _before(table, found.node) if _rate(table, n) > 1]
    rates = list(dict.fromkeys(str(_rate(table, n)) for n in dilated))
    output = graph[found.node].label
    message = f"the receptive field of `{output}` has holes"
    if len(rates) > 1:
        message = f"rates {', '.join(rates[:8])} leave gaps (gridding) in the receptive field"
    missing = found.numbers["missing"]
    assert isinstance(missing, tuple)
    listed = ", ".join(map(str, missing[:6])) + (", …" if len(missing) > 6 else "")
    notes = (
        f"`{output}` reads only {found.numbers['density']} of the pixels inside its field: "
        f"never {listed} from its first",
        "`segdsl rf --gaps` lists them",
    )
    labels = [Label(graph[n].span, f"rate {_rate(table, n)}") for n in dilated]
    labels = [label for label in labels if not is_library(label.span)]
    span = node.parts.get("dilation", node.span)
    labels = [label for label in labels if not _holds(label.span, span)]
    helps = text_helps("rates without a common factor, as 1, 2, 5, fill them")
    if len(rates) < 2:
        helps = text_helps("windows without dilation or stride before it, as wide as it, fill them")
    return _warning(found, node, message, span=span, labels=labels, notes=notes, helps=helps)


def _holds(outer: Span, inner: Span) -> bool:
    """Whether one place lies inside another."""
    same = outer.source is inner.source
    return same and outer.start <= inner.start and inner.end <= outer.end


def _before(table: Reach, last: str) -> list[str]:
    """The nodes that reach `last` by values, in the order of the graph."""
    wanted = {last}
    for node in reversed(list(table.wiring.wires)):
        if node in wanted:
            wired = table.wiring.wires[node]
            tags = zip(wired.operands, wired.tags[0], strict=True)
            wanted.update(v.node for v, tag in tags if tag == "value")
    return [node for node in table.wiring.wires if node in wanted]


def _rate(table: Reach, node: str) -> int:
    """The largest dilation of the windows of a node; 1 where it has none."""
    taps = (t for axis in AXES for t in table.wiring.wires[node].taps[axis])
    windows = [t.window for t in taps if isinstance(t, Sliding)]
    return max((w.dilation for w in windows if w.kernel > 1), default=1)


def _too_wide(graph: Graph, found: Finding, at: Mapping[str, int]) -> Diagnostic:
    node = graph[found.node]
    sizes = " and ".join(f"{name} = {size}" for name, size in at.items()) or "the size of the input"
    if "rf" in found.numbers:
        message = (
            f"from here on the receptive field, {found.numbers['rf']} pixels, is wider than the "
            f"input, {found.numbers['size']}"
        )
        return _warning(found, node, message, notes=("a larger window only adds padding",))
    rate, size, kernel = (found.numbers[word] for word in ("dilation", "size", "kernel"))
    idle = found.numbers["taps"]
    assert isinstance(idle, tuple)
    assert isinstance(kernel, int)
    if len(idle) >= kernel - 1:
        message = f"this rate-{rate} window reads only padding outside one tap"
        more = ", fewer than the rate: it acts as a 1x1 there"
    else:
        message = f"{len(idle)} of the {kernel} taps of this rate-{rate} window read only padding"
        more = f": taps {', '.join(str(tap + 1) for tap in idle)} never meet them"
    notes = (f"for {sizes} the map has {size} pixels{more}",)
    span = node.parts.get("dilation", node.span)
    return _warning(found, node, message, span=span, notes=notes)


def _crop_offset(graph: Graph, found: Finding) -> Diagnostic:
    node = graph[found.node]
    written, derived = found.numbers["written"], found.numbers["derived"]
    message = f"the crop starts at {written}, but its two maps align at {derived}"
    span = node.parts.get("offset", node.span)
    whole = getattr(derived, "denominator", 1) == 1 and int(str(derived)) >= 0
    alone = not any(isinstance(step, Instance | Turn) for step in node.scope)
    helps: tuple[Help, ...] = ()
    if whole:
        text = f"offset={derived}"
        fits = found.axes == AXES and alone and span.text.startswith("offset")
        edits = (Edit(span, text),) if fits else ()
        likely = Applicability.LIKELY if edits else Applicability.TEMPLATE
        helps = (Help(f"`{text}`, or `offset=auto`, which derives it", edits, likely),)
    return _warning(found, node, message, span=span, labels=_operands(graph, found), helps=helps)


def _operands(graph: Graph, found: Finding) -> list[Label]:
    """The operands of the node as the text has them."""
    node = graph[found.node]
    slots = found.numbers.get("slots", (0, 1))
    assert isinstance(slots, tuple)
    words = ("this one", "and this one")
    pairs = zip(slots, words, strict=False)
    return [Label(node.parts[slot], word) for slot, word in pairs if slot in node.parts]


def _misaligned(graph: Graph, found: Finding) -> Diagnostic:
    node = graph[found.node]
    message, *rest = found.message.split("; ")
    notes = [text for text in rest if text.startswith("no crop")]
    helps = text_helps(*(text for text in rest if text not in notes))
    labels = [] if isinstance(node.op, Output) else _operands(graph, found)
    return _warning(found, node, message, labels=labels, notes=notes, helps=helps)


def _empty_phase(node: Node, found: Finding) -> Diagnostic:
    op, axis = node.op, found.axes[0]
    helps: tuple[Help, ...] = ()
    if isinstance(op, ConvTranspose):
        helps = text_helps(f"a kernel of {op.stride[axis]} or more, best a multiple of the stride")
        if op.dilation[axis] > 1:
            helps = text_helps("a dilation that shares no factor with the stride")
    span = node.parts.get("kernel", node.span)
    return _warning(found, node, found.message, span=span, helps=helps)


def _unread(graph: Graph, found: Finding) -> Diagnostic:
    order = {name: i for i, name in enumerate(graph)}
    causes = sorted(found.causes, key=order.__getitem__)
    node = graph[causes[0]] if causes else graph[found.node]
    labels = [Label(graph[name].span, "and here") for name in causes[1:]]
    labels = [label for label in labels if not is_library(label.span)]
    message = found.message.replace(
        "of the pixels", f"of the pixels of `{graph[found.node].label}`", 1
    )
    return _warning(
        found, node, message, labels=labels,
        helps=text_helps("a window as wide as its stride, a pool, or `antialias=true` reads them"),
    )  # fmt: skip


def _dropped(
    net: syntax.Net, graph: Graph, accepted: Mapping[str, SizeSet], found: Sequence[Finding]
) -> Diagnostic:
    """One warning for a network: the first place at which pixels are left over, then the others."""
    first = found[0]
    node = graph[first.node]
    labels = [Label(graph[item.node].span, "and here") for item in found[1:]]
    labels = [label for label in labels if not is_library(label.span)]
    unique = list({label.span: label for label in labels}.values())
    best = strict_sizes(graph, accepted)
    notes = [f"nothing is dropped for {known}" for known in best.values()]
    return _warning(
        first, node, first.message, labels=unique, notes=notes,
        helps=_strict_helps(net, accepted, best),
    )  # fmt: skip


def _strict_helps(
    net: syntax.Net, accepted: Mapping[str, SizeSet], best: Mapping[str, SizeSet]
) -> tuple[Help, ...]:
    """The `where` that lets in only sizes at which nothing is dropped."""
    names = [name for name in accepted if name != "N"]
    texts = [where_text(best.get(name, accepted[name])) for name in names]
    if not best or any(text is None for text in texts):
        return ()
    joined = ", ".join(text for text in texts if text)
    edit = where_edit(net, set(names), joined)
    words = f"accept only these: `where {joined}`"
    return (Help(words, (edit,), Applicability.LIKELY) if edit else Help(words),)


def _together(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """One warning per code and place; a note tells how often it is said of it."""
    groups: dict[tuple[str, Span | None], list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        groups.setdefault((diagnostic.code, diagnostic.span), []).append(diagnostic)
    return list(_merged(groups.values()))


def _merged(groups: Iterable[Sequence[Diagnostic]]) -> Iterator[Diagnostic]:
    for first, *rest in groups:
        if not rest:
            yield first
            continue
        times = f"{len(rest)} more time{'s' if len(rest) > 1 else ''}"
        last = rest[-1].message
        note = f"here {times}" + (f", the last: {last}" if last != first.message else "")
        yield replace(first, notes=(*first.notes, note))
