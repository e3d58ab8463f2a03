"""Padding that was forgotten (W7001), and `same` that is not what ported weights expect (W7014)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from segdsl.analysis.reach.wiring import AXES
from segdsl.analysis.sizes import SizeSet
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Severity, text_helps
from segdsl.infer import at_user
from segdsl.ir import Graph, Node, Value
from segdsl.lints.places import literal
from segdsl.ops.conv import Conv
from segdsl.source import Span
from segdsl.symbolic import evaluate, symbols
from segdsl.types import Axis, Feature, Window

PROBED = 256
"""Sizes that are tried for the example that differs most."""


def unpadded_dilation(graph: Graph) -> Iterator[Diagnostic]:
    """W7001: a dilated convolution without a word about its padding.

    Whoever writes `pad=valid` means it.
    """
    for node in graph.nodes():
        op = node.op
        if not isinstance(op, Conv) or "pad" in node.parts or max(op.dilation) == 1:
            continue
        lost = [op.window(axis).extent - 1 for axis in AXES]
        if any(k > 1 and d > 1 for k, d in zip(op.kernel, op.dilation, strict=True)):
            yield at_user(_shrinks(node, op, lost), node.scope)


def _shrinks(node: Node, op: Conv, lost: list[int]) -> Diagnostic:
    height, width = lost
    size = f"{height} pixels" if height == width else f"{height}x{width} pixels"
    rate = f"{op.dilation[0]}" if op.dilation[0] == op.dilation[1] else f"{list(op.dilation)}"
    kernel = f"{op.kernel[0]}x{op.kernel[1]}"
    message = f"this {kernel} conv with dilation {rate} shrinks the map by {size}"
    span = node.parts.get("dilation", node.span)
    helps = text_helps("write `pad=valid` if that is meant")
    if height % 2 == width % 2 == 0:
        pad = f"{height // 2}" if height == width else f"[{height // 2}, {width // 2}]"
        end = Span(span.source, span.end, span.end)
        edits = (Edit(end, ", pad=same"),) if "dilation" in node.parts else ()
        likely = Applicability.LIKELY if edits else Applicability.TEMPLATE
        helps = (Help(f"`pad={pad}` or `pad=same` keeps its size", edits, likely), *helps)
    return Diagnostic("W7001", message, span, Severity.WARNING, helps=helps)


def same_shift(
    graph: Graph, types: Mapping[Value, Feature], accepted: Mapping[str, SizeSet]
) -> Iterator[Diagnostic]:
    """W7014: `pad=same` at a stride, where TensorFlow's SAME would put the taps elsewhere.

    SAME_UPPER pads as much as the map needs, the larger half behind; here `same` is symmetric.
    """
    for node in graph.nodes():
        if getattr(node.op, "pad", None) != "same" or not isinstance(node.op, Conv):
            continue
        (operand,) = graph.operands(node.name)
        for axis in AXES:
            window = node.op.window(axis)
            found = _example(types[operand], axis, window, accepted) if window.stride > 1 else None
            if found is not None:
                yield at_user(_shifted(node, axis, window, *found), node.scope)
                break


def _example(
    x: Feature, axis: Axis, window: Window, accepted: Mapping[str, SizeSet]
) -> tuple[str, int, int] | None:
    """The accepted size at which the taps differ most, the size of the map, the pads of SAME."""
    size = x.spatial(axis)
    if isinstance(size, int):
        other = same_upper(size, window)
        return ("", size, other) if other != window.before else None
    names = symbols(size)
    known = accepted.get(next(iter(names))) if len(names) == 1 else None
    if known is None:
        return None
    start = known.minimum or 1
    tried = (n for n in range(start, start + PROBED) if n in known)
    maps = [(n, evaluate(size, {known.symbol: n})) for n in tried]
    found = [(n, here, same_upper(here, window)) for n, here in maps if here > 0]
    if all(other == window.before for _, _, other in found):
        return None
    n, here, other = max(found, key=lambda item: abs(item[2] - window.before))
    return f"for {known.symbol} = {n}, ", here, other


def same_upper(size: int, window: Window) -> int:
    """Pixels that TensorFlow's SAME and ONNX's SAME_UPPER put before a map."""
    outputs = -(-size // window.stride)
    return max((outputs - 1) * window.stride + window.extent - size, 0) // 2


def _shifted(
    node: Node, axis: Axis, window: Window, when: str, size: int, other: int
) -> Diagnostic:
    ours, noun = window.before, ("high", "wide")[axis]
    pixels = abs(ours - other)
    message = (
        f"`pad=same` with stride {window.stride} reads {pixels} "
        f"pixel{'s' if pixels != 1 else ''} beside TensorFlow's SAME"
    )
    notes = (
        f"{when}on a map {size} {noun} SAME pads {other} before, this pads {ours}",
        "weights that were trained with SAME see another picture; those of PyTorch do not",
    )
    span = node.parts.get("pad", node.span)
    sides = node.op.sides if isinstance(node.op, Conv) else None
    assert sides is not None
    pad = f"{sides.top}" if sides.top == sides.left else f"[{sides.top}, {sides.left}]"
    edits = (Edit(span, f"pad={pad}"),) if _fixed(node, span) else ()
    sure = Applicability.CERTAIN if edits else Applicability.TEMPLATE
    helps = (Help(f"`pad={pad}` says the same without the word", edits, sure),)
    return Diagnostic("W7014", message, span, Severity.WARNING, notes=notes, helps=helps)


def _fixed(node: Node, span: Span) -> bool:
    """Whether kernel and dilation stand in the text as numbers, so that the pad is one too."""
    written = [node.parts[name] for name in ("kernel", "dilation") if name in node.parts]
    return span.text.startswith("pad=") and all(literal(part) for part in written)
