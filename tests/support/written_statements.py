"""The kinds of statements of a random program: operators, loops, layers, choices, blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from segdsl.ops.base import Op
from segdsl.types import Pair
from tests.support.refusals import make
from tests.support.written_calls import stage
from tests.support.written_operators import ENTRIES
from tests.support.written_pool import Live, NoOperandError, Offer, a_map, pick
from tests.support.written_writer import Writer, accepted_types


def operator(writer: Writer, name: str | None = None) -> None:
    """A statement of one operator."""
    chosen = name or writer.draw(st.sampled_from(sorted(ENTRIES)))
    writer.put(ENTRIES[chosen](writer.draw, writer))


KEEPERS = ("relu", "bn", "gelu", "hard_swish", "group_norm", "layer_norm", "scale", "lrn", "tanh")


def keeper(writer: Writer, x: Live) -> Op:
    """An operator that keeps the type of a map."""
    name = writer.draw(st.sampled_from(["conv", *KEEPERS]))
    if name == "conv":
        pair = writer.draw(st.sampled_from([Pair(3, 3), Pair(1, 3), Pair(1, 1)]))
        return make("conv", x.known.channels, pair, pad="same")  # type: ignore[no-any-return]
    return make(name, 1) if name in ("group_norm", "lrn") else make(name)  # type: ignore[no-any-return]


def repeated(writer: Writer) -> None:
    """A pipeline that is repeated: each turn has its own arrays."""
    x, turns = a_map(writer.draw, writer), writer.draw(st.integers(0, 3))
    ops = [keeper(writer, x) for _ in range(writer.draw(st.integers(1, 3)))]
    stages = []
    for op in ops:
        accepted_types(op, [x])
        path = writer.path(Offer(op, (x,)), ".{k}")
        stages.append(stage(writer.draw, op, [], path, {}))
    made = Live(writer.name(), x.known, x.free)
    writer.lines.append(
        f"{made.name} = {x.name} -> repeat {turns} as k {{ {' -> '.join(stages)} }}"
    )
    writer.read.add(x.name)
    writer.live.append(made)


def branches(writer: Writer) -> None:
    """Parallel convolutions that are joined, as in a pyramid of rates."""
    x = a_map(writer.draw, writer)
    rates = writer.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    out, path = writer.draw(st.integers(1, 3)), writer.name("w")
    made = []
    for rate in rates:
        op = make("conv", out, Pair(3, 3), pad="same", dilation=Pair(rate, rate))
        ((known, free),) = accepted_types(op, [x])
        made.append(Live("", known, free))
    ((known, free),) = accepted_types(make("concat"), made)
    result = Live(writer.name(), known, free)
    inside = f"{x.name} -> conv({out}, 3, pad=same, dilation=r) @{path}.{{i}} -> relu"
    writer.lines.append(f"{result.name} = concat([for i, r in enumerate({rates}): {inside}])")
    writer.read.add(x.name)
    writer.live.append(result)


def shared(writer: Writer) -> None:
    """A layer that is called twice, declared anywhere before."""
    draw = writer.draw
    name = draw(st.sampled_from(["conv", "conv_transpose", "bn", "scale", "group_norm", "linear"]))
    offer = ENTRIES[name](draw, writer)
    (x,) = offer.reads
    alike = [
        y for y in writer.live
        if y.known.rank == x.known.rank and y.known.dtype == "f32" and y.known.rank > 1
        and y.known.shape[1] == x.known.shape[1]
    ]  # fmt: skip
    other = pick(draw, alike)
    layer = writer.name("layer")
    for y in (x, other):
        accepted_types(offer.op, [y])
    before = [i for i, line in enumerate(writer.lines) if line[0] not in " }"]
    place = draw(st.sampled_from([*before, len(writer.lines)]))
    declared = f"layer {layer} = {stage(draw, offer.op, [], f' @{layer}', offer.other)}"
    writer.lines.insert(place, declared)
    for y in (x, other):
        (made,) = writer.bind(offer.op, [y])
        writer.lines.append(f"{made.name} = {y.name} -> {layer}")


def chosen(writer: Writer) -> None:
    """A choice at compile time: the parameter `deep` is true."""
    x = a_map(writer.draw, writer)
    op = keeper(writer, x)
    accepted_types(op, [x])
    made = Live(writer.name(), x.known, x.free)
    call = stage(writer.draw, op, [], writer.path(Offer(op, (x,))), {})
    writer.lines += [
        "if deep {", f"  {made.name} = {x.name} -> {call}",
        "} else {", f"  {made.name} = {x.name}", "}",
    ]  # fmt: skip
    writer.read.add(x.name)
    writer.live.append(made)


def block(writer: Writer) -> None:
    """A block of a few statements on one or two maps, called once or twice."""
    draw = writer.draw
    reads = [a_map(draw, writer) for _ in range(draw(st.integers(1, 2)))]
    ports = [Live(f"p{i}", x.known, x.free) for i, x in enumerate(reads)]
    body = Writer(draw, list(ports), "y")
    for _ in range(draw(st.integers(1, 4))):
        body.attempt(operator)
    maps = [x for x in body.live[len(ports) :] if x.known.rank == 4 and x.known.dtype == "f32"]
    if not maps:
        raise NoOperandError
    results = maps[-draw(st.integers(1, 2)) :]
    name = f"Block{len(writer.items) + 1}"
    writer.items.append(_block_text(name, ports, body, results))
    _call_block(writer, name, reads, results)
    alike = [x for x in writer.live if (x.known, x.free) == (reads[0].known, reads[0].free)]
    if draw(st.booleans()):
        _call_block(writer, name, [pick(draw, alike), *reads[1:]], results)


def _block_text(name: str, ports: Sequence[Live], body: Writer, results: Sequence[Live]) -> str:
    takes = ", ".join(f"{x.name}: tensor" for x in ports)
    gives = ", ".join(f"{x.name}: tensor" for x in results)
    inside = "\n".join(f"  {line}" for line in body.lines)
    return f"block {name}({takes}) -> ({gives}) {{\n{inside}\n}}"


def _call_block(writer: Writer, name: str, reads: Sequence[Live], results: Sequence[Live]) -> None:
    made = [Live(writer.name(), x.known, x.free) for x in results]
    names, rest = ", ".join(x.name for x in made), ", ".join(x.name for x in reads[1:])
    call = f"{name}({rest})" if rest else name
    writer.lines.append(f"{names} = {reads[0].name} -> {call} @{writer.name('b')}")
    writer.read |= {x.name for x in reads}
    writer.live += made


STATEMENTS: tuple[Callable[[Writer], None], ...] = (
    *([operator] * 10), repeated, branches, shared, chosen, block, block,
)  # fmt: skip
