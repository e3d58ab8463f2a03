"""Who reads what along each axis: the taps of every operand, on one class of input sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import lcm

from segdsl.analysis.shapes import Shapes, shapes
from segdsl.analysis.sizes import SizeSet, Undecidable, period, probes, sizes
from segdsl.infer import infer
from segdsl.ir import Graph, Instance, Node, Value
from segdsl.ops.base import Op
from segdsl.symbolic import Size, substitute, symbol, symbols
from segdsl.taps import Corners, Shifted, Sliding, Tag, Taps, Whole
from segdsl.types import HEIGHT, WIDTH, Axis, Feature

AXES: tuple[Axis, Axis] = (HEIGHT, WIDTH)

_MOVED = Whole(tag="attend")


class ReachError(ValueError):
    """The question has no answer: no such input or value, a pixel outside, a refused size."""


@dataclass(frozen=True)
class SizeClass:
    """The sizes of one symbol for which a table holds: `symbol % modulus == residue`.

    `certain` where the net accepts no others.
    """

    symbol: str
    modulus: int
    residue: int
    certain: bool

    def __str__(self) -> str:
        return f"{self.symbol} % {self.modulus} == {self.residue}"


@dataclass(frozen=True)
class Wire:
    """A node with what it reads.

    `taps` holds one tuple per axis with the taps of each slot; `tags` the kind of each dependence
    as it is for unknown sizes; `rests` the size classes that the taps rest on, per axis. `owner` is
    what the innermost block with a gate is called where this node applies one ("" elsewhere).
    """

    operands: tuple[Value, ...]
    taps: tuple[tuple[Taps, ...], tuple[Taps, ...]]
    tags: tuple[tuple[Tag, ...], tuple[Tag, ...]]
    rests: tuple[str | None, str | None] = (None, None)
    owner: str = ""


@dataclass(frozen=True)
class Wiring:
    """A graph, the input that pixels belong to, and the wires of all nodes in order."""

    graph: Graph
    input: str
    types: Shapes
    wires: Mapping[str, Wire]

    def extent(self, node: str, axis: Axis) -> Size:
        """Positions of a node's results along an axis; what is no map has one."""
        return extent(self.types[Value(node)], axis)


def extent(feature: Feature, axis: Axis) -> Size:
    """Height or width of a map; what is no map counts as one position."""
    return feature.spatial(axis) if feature.rank == 4 else 1


@lru_cache(maxsize=16384)
def taps_of(op: Op, axis: Axis, inputs: tuple[Feature, ...]) -> tuple[Taps, ...]:
    """The taps of every operand along an axis.

    Where an axis of one pixel is moved, as in `flatten` after a global pool, that pixel is read.
    """
    found = [op.taps(slot, axis, *inputs) for slot in range(len(inputs))]
    return tuple(
        Sliding() if taps == _MOVED and extent(x, axis) == 1 else taps
        for taps, x in zip(found, inputs, strict=True)
    )


def chosen_input(graph: Graph, name: str | None = None) -> str:
    """The input whose pixels are meant: the one named, else the first that is a map.

    Raises:
        ReachError: there is none, or it is no map.
    """
    maps = [n for n in graph.inputs if infer(graph[n].op, ())[0].rank == 4]
    if not maps:
        raise ReachError(f"`{graph.name}` has no input with height and width")
    if name is None:
        return maps[0]
    if name not in maps:
        raise ReachError(f"`{graph.name}` has no map `{name}` as input; it has {', '.join(maps)}")
    return name


def accepted_sizes(graph: Graph) -> dict[str, SizeSet]:
    """The accepted sizes by symbol; empty where they cannot be computed."""
    try:
        return sizes(graph)
    except Undecidable:
        return {}


def wire(
    graph: Graph,
    input: str | None = None,
    at: Mapping[str, int] | None = None,
    accepted: Mapping[str, SizeSet] | None = None,
) -> Wiring:
    """The wiring for unknown sizes.

    Taps that depend on sizes are taken for one class of sizes: that of `at`, else the multiples
    that are accepted, else the smallest accepted residue.
    """
    name = chosen_input(graph, input)
    wires, plain = _wires(graph)
    operands = {node: wired.operands for node, wired in wires.items()}
    open_nodes = [n for n, w in wires.items() if any(map(_depends_on_size, w.taps[0] + w.taps[1]))]
    if not open_nodes:
        return Wiring(graph, name, plain, wires)
    known = accepted_sizes(graph) if accepted is None else accepted
    classes = _classes(open_nodes, operands, plain, known, at or {})
    turns: dict[str, Size] = {n: symbol(n) * c.modulus + c.residue for n, c in classes.items()}
    for node in open_nodes:
        inputs = [plain[v] for v in operands[node]]
        narrowed = tuple(_on_class(feature, turns) for feature in inputs)
        words = _named([*inputs, plain[Value(node)]], classes)
        wires[node] = _narrowed(graph[node].op, wires[node], narrowed, words)
    return Wiring(graph, name, plain, wires)


def _wires(graph: Graph) -> tuple[dict[str, Wire], Shapes]:
    """All wires for unknown sizes, and the types of all values; one walk."""
    wires: dict[str, Wire] = {}
    types: Shapes = {}
    for node in graph.nodes():
        operands = graph.operands(node.name)
        found = _wire(node.op, operands, types)
        gated = any("gate" in tags for tags in found.tags)
        wires[node.name] = replace(found, owner=_owner(node)) if gated else found
        results = infer(node.op, tuple(types[value] for value in operands))
        types.update((Value(node.name, port), f) for port, f in enumerate(results))
    return wires, types


def _wire(op: Op, operands: tuple[Value, ...], types: Shapes) -> Wire:
    inputs = tuple(types[value] for value in operands)
    taps = taps_of(op, HEIGHT, inputs), taps_of(op, WIDTH, inputs)
    tags = tuple(t.tag for t in taps[0]), tuple(t.tag for t in taps[1])
    return Wire(operands, taps, tags)


def _owner(node: Node) -> str:
    """The last word of the weight path of a node's innermost block, or else the block's name."""
    instances = [scope for scope in node.scope if isinstance(scope, Instance)]
    if not instances:
        return ""
    word = instances[-1].path.rsplit(".", 1)[-1]
    return word if word.isidentifier() else instances[-1].block


def _depends_on_size(taps: Taps) -> bool:
    if isinstance(taps, Shifted):
        return taps.offset is None
    return isinstance(taps, Corners) and taps.advance is None


def _classes(
    nodes: Sequence[str],
    operands: Mapping[str, tuple[Value, ...]],
    types: Shapes,
    accepted: Mapping[str, SizeSet],
    at: Mapping[str, int],
) -> dict[str, SizeClass]:
    """For each symbol the class of sizes on which the open taps of `nodes` are taken."""
    moduli: dict[str, int] = {}
    for node in nodes:
        for value in (*operands[node], Value(node)):
            for axis in AXES:
                size = extent(types[value], axis)
                for name in symbols(size):
                    moduli[name] = _common(moduli.get(name, 1), size)
    return {
        name: _class(name, modulus, accepted.get(name), at.get(name))
        for name, modulus in moduli.items()
    }


def _common(modulus: int, size: Size) -> int:
    try:
        found = lcm(modulus, period(size)[0])
    except Undecidable:
        return modulus
    return found if found <= 65536 else modulus


def _class(name: str, modulus: int, known: SizeSet | None, size: int | None) -> SizeClass:
    residues = _residues(known, modulus) if known is not None else list(range(modulus))
    residue = size % modulus if size is not None else residues[0] if residues else 0
    return SizeClass(name, modulus, residue, residues == [residue])


def _residues(known: SizeSet, modulus: int) -> list[int]:
    """The residues of accepted sizes, in rising order."""
    if lcm(known.modulus, modulus) > 1 << 20:
        return list(range(modulus))
    return sorted({n % modulus for n in probes(known, modulus=modulus) if n in known})


def _on_class(feature: Feature, turns: Mapping[str, Size]) -> Feature:
    """A type in the number of whole turns, `H = modulus*k + residue`."""
    return Feature(tuple(substitute(size, turns) for size in feature.shape), feature.dtype)


def _named(inputs: Sequence[Feature], classes: Mapping[str, SizeClass]) -> list[str | None]:
    """The classes that the sizes of these values rest on, per axis, in words."""
    words: list[str | None] = []
    for axis in AXES:
        names = sorted(frozenset().union(*(symbols(extent(x, axis)) for x in inputs)))
        doubted = [str(classes[n]) for n in names if n in classes and not classes[n].certain]
        words.append(", ".join(doubted) or None)
    return words


def _narrowed(op: Op, wide: Wire, inputs: tuple[Feature, ...], words: Sequence[str | None]) -> Wire:
    """A wire with the taps of the size class; it rests on the class where that answered."""
    taps = taps_of(op, HEIGHT, inputs), taps_of(op, WIDTH, inputs)
    settled = [
        any(map(_depends_on_size, wide.taps[a])) and not any(map(_depends_on_size, taps[a]))
        for a in AXES
    ]
    return Wire(
        wide.operands,
        taps,
        wide.tags,
        (words[0] if settled[0] else None, words[1] if settled[1] else None),
        wide.owner,
    )


def wire_at(graph: Graph, at: Mapping[str, int], input: str | None = None) -> Wiring:
    """The wiring at known sizes; what counts as local is as for unknown ones.

    Raises:
        ReachError: a size is missing or not accepted.
    """
    name = chosen_input(graph, input)
    check_sizes(graph, at, accepted_sizes(graph))
    known = shapes(graph, {"N": 1, **at})
    wires = {
        node: replace(_wire(graph[node].op, wide.operands, known), tags=wide.tags)
        for node, wide in _wires(graph)[0].items()
    }
    return Wiring(graph, name, known, wires)


def check_sizes(graph: Graph, at: Mapping[str, int], accepted: Mapping[str, SizeSet]) -> None:
    """Refuse sizes that miss a symbol of a map or that the net does not accept.

    Raises:
        ReachError: naming the symbol, and what is accepted.
    """
    for node in graph.inputs:
        for size in infer(graph[node].op, ())[0].shape[2:]:
            missing = sorted(symbols(size) - set(at))
            if missing:
                raise ReachError(f"the size {missing[0]} of `{node}` is not given")
    for name, size in at.items():
        if name in accepted and size not in accepted[name]:
            message = f"{name} = {size} is not accepted: this net accepts {accepted[name]}"
            raise ReachError(message)
