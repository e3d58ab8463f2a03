"""From a region to its body: one slot per weight path, one step per node or inner region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields

from compiler.to_torch import expressions as ex
from compiler.to_torch.body import Body, Bound, Construction, Library, Slot, Step
from compiler.to_torch.classes import ClassPlan
from compiler.to_torch.expressions import Expression
from compiler.to_torch.guesses import Guesses
from compiler.to_torch.helpers import NEEDS
from compiler.to_torch.in_place import overwriting
from compiler.to_torch.lower import Arg, EmissionError, Layer, Make, layer
from compiler.to_torch.regions import Region, inputs_of, outputs_of
from segdsl.ir import Const, Graph, Instance, Node, Value
from segdsl.ops.combine import Concat
from segdsl.ops.operands import axis_index
from segdsl.ops.ports import Input, Output, Weight
from segdsl.types import Feature


class ConflictError(Exception):
    """Some instances cannot be modules as they are; `instances` are to be dissolved."""

    def __init__(self, found: AbstractSet[Instance]) -> None:
        super().__init__("instances do not fit")
        self.instances = found


class Assembler:
    """Builds the bodies of one graph's regions; inner regions need their classes first."""

    def __init__(
        self,
        graph: Graph,
        types: Mapping[Value, Feature],
        live: AbstractSet[str],
        settings: Mapping[str, Const],
        *,
        guess: bool = True,
    ) -> None:
        self.graph = graph
        self.types = types
        self.live = live
        self._settings = settings
        self._guess = guess
        self.helpers: set[str] = set()
        self.stages: dict[Value, list[str]] = {}
        for name, value in graph.stages.items():
            self.stages.setdefault(value, []).append(name)
        self.places = _places(graph.path_order)

    def body(self, region: Region, plans: Mapping[Region, ClassPlan]) -> Body:
        """The body of a region whose inner regions have classes."""
        return _Assembly(self, region, plans).body()

    def guesses(self, region: Region, inputs: list[Value]) -> Guesses:
        """What is known about a region's numbers; nothing for flat source."""
        args = dict(region.instance.args) if region.instance is not None else self._settings
        return Guesses(self.graph, self.types, region, inputs, args if self._guess else {})


class _Assembly:
    def __init__(self, owner: Assembler, region: Region, plans: Mapping[Region, ClassPlan]) -> None:
        self._owner = owner
        self._graph = owner.graph
        self._region = region
        self._plans = plans
        self._root = Slot("")
        self._steps: list[Step] = []
        self._owners: dict[int, Instance] = {}
        inside = set(region.deep_nodes())
        if region.instance is None:
            self._inputs = [(self._graph[n].label or n, Value(n)) for n in self._graph.inputs]
        else:
            self._inputs = inputs_of(self._graph, region, inside, owner.live)
        self._outputs = self._returned(inside)
        self._guesses = owner.guesses(region, [value for _, value in self._inputs])

    def _returned(self, inside: AbstractSet[str]) -> list[tuple[str, Value]]:
        graph = self._graph
        if self._region.instance is not None:
            return outputs_of(graph, self._region, inside, self._owner.live)
        found: list[tuple[str, Value]] = []
        for name in graph.outputs:
            op = graph[name].op
            assert isinstance(op, Output)
            found.append((op.label, graph.operands(name)[0]))
        return found

    def body(self) -> Body:
        for item in self._region.items:
            if isinstance(item, Region):
                self._add_region(item)
            else:
                self._add_node(self._graph[item])
        self._order_slots()
        channels = [self._guesses.channels.get(value) for _, value in self._outputs]
        symbols = self._guesses.symbols
        structural = self._guesses.structural
        return Body(
            self._root, self._steps, self._inputs, self._outputs, symbols, channels, structural
        )

    def _slot(self, path: str) -> Slot:
        prefix = self._region.path + "." if self._region.path else ""
        if not path.startswith(prefix):
            raise EmissionError(f"path {path!r} is not below {self._region.path!r}")
        slot = self._root
        for part in path[len(prefix) :].split("."):
            slot = slot.child(part)
        return slot

    def _order_slots(self) -> None:
        """Attributes in the order of the weights; slots without a place in it stay behind."""
        places = self._owner.places
        if not places:
            return
        prefix = self._region.path.split(".") if self._region.path else []
        for slot in self._root.walk():
            path = (*prefix, *slot.keys)
            found = sorted(slot.children, key=lambda key: places.get((*path, key), len(places)))
            slot.children = {key: slot.children[key] for key in found}

    # -- nodes

    def _add_node(self, node: Node) -> None:
        if isinstance(node.op, Input | Output):
            return
        reads = list(self._graph.operands(node.name))
        written = layer(node.op, *(self._owner.types[value] for value in reads))
        written = overwriting(self._graph, node, written)
        if written.helper:
            self._owner.helpers.update((*NEEDS.get(written.helper, ()), written.helper))
        slot = self._made(node, written, reads)
        if node.name not in self._owner.live:
            return
        writes = [Value(node.name, port) for port in range(len(node.op.results))]
        step = Step(
            written.call,
            [self._bound(node, arg, reads) for arg in written.args],
            reads,
            writes,
            slot=slot,
            fill=self._construction(node, written.module, reads) if written.module else None,
            infix=written.infix,
            atom=isinstance(node.op, Weight),
            random=node.op.random,
            label="" if node.label == node.op.name else node.label,
            span=node.span,
        )
        self._steps.append(step)
        self._follow(node, written, reads, writes)

    def _made(self, node: Node, written: Layer, reads: list[Value]) -> Slot | None:
        if written.make is None:
            return None
        if node.path is None:
            raise EmissionError(f"{node.op.name} {node.name!r} has arrays but no path")
        slot = self._slot(node.path)
        if slot.make is None:
            slot.make = self._construction(node, written.make, reads)
            slot.kind = "leaf"
            slot.array = isinstance(node.op, Weight)
        return slot

    def _construction(self, node: Node, make: Make, reads: list[Value]) -> Construction:
        args = [self._bound(node, arg, reads) for arg in make.args]
        turns = self._guesses.turns(node.scope)
        return Construction(Library(make.callee), args, make.frozen, origin=node.span, turns=turns)

    def _bound(self, node: Node, arg: Arg, reads: list[Value]) -> Bound:
        part = node.path.rsplit(".", 1)[-1] if node.path else node.label or node.op.name
        hint = f"{part}_{arg.name or arg.origin if not isinstance(arg.origin, int) else 'in'}"
        guess = self._guess(node, arg, reads)
        return Bound(arg.value, arg.name, arg.default, guess, hint)

    def _guess(self, node: Node, arg: Arg, reads: list[Value]) -> Expression | None:
        if isinstance(arg.origin, int):
            return self._guesses.channels.get(reads[arg.origin])
        if arg.origin is None:
            return None
        if arg.origin == "pad":
            same = self._same_padding(node, arg)
            if same is not None:
                return same
        return self._guesses.attribute(node, arg.origin, arg.value)

    def _same_padding(self, node: Node, arg: Arg) -> Expression | None:
        """`pad=same` as arithmetic: dilation * (kernel - 1) // 2."""
        op, pad = node.op, node.parts.get("pad")
        if pad is None or pad.text.rpartition("=")[2].strip() != "same":
            return None
        parts: dict[str, Expression] = {}
        for attribute in ("kernel", "dilation"):
            pair = getattr(op, attribute, (1, 1))
            if pair[0] != pair[1]:
                return None
            written = self._guesses.attribute(node, attribute, pair[0])
            parts[attribute] = ex.constant(pair[0]) if written is None else written
        return same_padding(parts["kernel"], parts["dilation"], self._guesses, arg)

    def _follow(self, node: Node, written: Layer, reads: list[Value], writes: list[Value]) -> None:
        guesses = self._guesses
        if not self._owner._guess:
            return
        first: list[Expression | None] = []
        if written.passes_channels and reads:
            first.append(guesses.channels.get(reads[0]))
        if any(f.name == "out" for f in fields(node.op)):  # type: ignore[arg-type]
            out = getattr(node.op, "out")  # noqa: B009
            first.append(guesses.attribute(node, "out", out))
        if isinstance(node.op, Concat):
            first.append(self._sum(node.op, reads))
        for value in writes:
            guesses.follow(value, first)

    def _sum(self, op: Concat, reads: list[Value]) -> Expression | None:
        if axis_index(op.axis, self._owner.types[reads[0]].rank) != 1:
            return None
        parts = [self._guesses.channels.get(value) for value in reads]
        return ex.total(parts)

    # -- inner regions

    def _add_region(self, child: Region) -> None:
        plan = self._plans[child]
        slot = self._slot(child.path)
        reads = [value for _, value in plan.body_of(child).inputs]
        writes = [value for _, value in plan.body_of(child).outputs]
        assert child.instance is not None
        made = plan.construction(child, self._argument_guesses(child, plan, reads))
        scope = self._graph[child.deep_nodes()[0]].scope
        made.origin = child.instance.span
        made.turns = self._guesses.turns(scope[: scope.index(child.instance)])
        if slot.make is None:
            slot.kind, slot.make = "class", made
            self._owners[id(slot)] = child.instance
        elif not _equal(slot.make, made):
            raise ConflictError({child.instance, self._owners.get(id(slot), child.instance)})
        places = ", ".join(f"{{{i}}}" for i in range(len(reads)))
        step = Step(
            f"{{self}}({places})",
            [],
            reads,
            writes,
            slot=slot,
            block=True,
            random=any(self._graph[name].op.random for name in child.deep_nodes()),
            label=self._stage(child, writes),
            ports=tuple(name for name, _ in plan.body_of(child).outputs),
            span=child.instance.span,
        )
        self._steps.append(step)
        known = plan.symbol_guesses(child, made)
        for value, channels in zip(writes, plan.body_of(child).channels, strict=True):
            guess = None
            if channels is not None and all(name in known for name in ex.names(channels)):
                guess = ex.replace_names(channels, known)
            self._guesses.follow(value, [guess])

    def _stage(self, child: Region, writes: list[Value]) -> str:
        """The net's own name for what an inner region gives, if it has one that is no path."""
        if self._region.instance is not None or len(writes) != 1:
            return ""
        names = self._owner.stages.get(writes[0], [])
        plain = [name for name in names if name.isidentifier() and name != child.path]
        return plain[0] if plain else ""

    def _argument_guesses(
        self, child: Region, plan: ClassPlan, reads: list[Value]
    ) -> dict[str, Expression | None]:
        """Guesses for the block's parameters and the channels of its inputs, by symbol."""
        found: dict[str, Expression | None] = {}
        for symbol, value in plan.body_of(child).symbols.items():
            if symbol.startswith("__c"):
                found[symbol] = self._guesses.channels.get(reads[int(symbol[3:])])
            else:
                found[symbol] = self._guesses.argument(child, symbol, value, reads)
        return found


def _places(order: Sequence[str]) -> dict[tuple[str, ...], int]:
    """For every level of the weight paths, its place among all."""
    found: dict[tuple[str, ...], int] = {}
    for path in order:
        parts = tuple(path.split("."))
        for end in range(1, len(parts) + 1):
            found.setdefault(parts[:end], len(found))
    return found


def _equal(left: Construction, right: Construction) -> bool:
    """Whether two uses of one path want the same module."""
    if left.callee is not right.callee or len(left.args) != len(right.args):
        return False
    return all(ex.same(a.value, b.value) for a, b in zip(left.args, right.args, strict=True))


def same_padding(
    kernel: Expression, dilation: Expression, guesses: Guesses, arg: Arg
) -> Expression | None:
    """Dilation * (kernel - 1) // 2, as simply as it can be said."""
    taps = ex.replace_names(ex.minus(kernel, 1), {})
    whole = ex.replace_names(ex.times(dilation, taps), {})
    tree = ex.replace_names(ex.halved(whole), {})
    return tree if ex.gives(tree, guesses.symbols, arg.value) else None
