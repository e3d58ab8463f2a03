"""The outline of a graph: which classes there are, and what is an instance of which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.to_torch.assemble import Assembler, ConflictError
from compiler.to_torch.body import Body, Step
from compiler.to_torch.classes import ClassPlan, plan_classes
from compiler.to_torch.guesses import is_given
from compiler.to_torch.lower import EmissionError
from compiler.to_torch.names import CONTAINER_ATTRIBUTES, Names
from compiler.to_torch.regions import CycleError, Region, build, live_nodes, random_order
from compiler.to_torch.sequences import plain_containers, shape_containers
from segdsl.ir import Graph, Instance, Value
from segdsl.ops.ports import Output
from segdsl.source import Span
from segdsl.types import Feature

Definition = tuple[str, Span]


@dataclass(frozen=True)
class Outline:
    """All classes of the file, inner ones first, the net's last; `helpers` go with them."""

    classes: list[ClassPlan]
    helpers: frozenset[str]


def outline(
    graph: Graph, types: Mapping[Value, Feature], reserved: frozenset[str], *, flat: bool
) -> Outline:
    """Find the classes; instances that do not fit are dissolved, and the search begins anew.

    Args:
        graph: the network.
        types: the type of every value.
        reserved: names that no class may have.
        flat: one class, one statement per node.
    """
    live = live_nodes(graph)
    dissolved: set[Instance] = set()
    while True:
        try:
            return _attempt(graph, types, reserved, live, dissolved, flat)
        except (CycleError, ConflictError) as error:
            if not error.instances - dissolved:
                raise EmissionError("outlining makes no progress") from error
            dissolved |= error.instances


def _attempt(
    graph: Graph,
    types: Mapping[Value, Feature],
    reserved: frozenset[str],
    live: frozenset[str],
    dissolved: set[Instance],
    flat: bool,
) -> Outline:
    root = build(graph, live, dissolved, flat=flat)
    _keep_random_order(graph, root)
    assembler = Assembler(graph, types, live, graph.settings, guess=not flat)
    names = Names(reserved)
    words = frozenset({*reserved, graph.name, *(i.block for i in graph.ports)})
    plans: dict[Region, ClassPlan] = {}
    classes: list[ClassPlan] = []
    net_name = names.fresh(graph.name)
    for group in _by_definition(root):
        bodies = [(region, _inner_body(assembler, region, plans)) for region in group]
        block = group[0].instance.block if group[0].instance is not None else graph.name
        for plan in plan_classes(block, bodies, names, words, lambda r, p: _given(graph, r, p)):
            classes.append(plan)
            plans.update(dict.fromkeys(plan.regions, plan))
    body = assembler.body(root, plans)
    _mark_training(graph, body)
    if flat:
        plain_containers(body)
    else:
        shape_containers(body)
    (net,) = plan_classes(graph.name, [(root, body)], Names(), words, lambda r, p: False)
    net.name = net_name
    return Outline([*classes, net], frozenset(assembler.helpers))


def _given(graph: Graph, region: Region, parameter: str) -> bool:
    return region.instance is not None and is_given(graph, region.instance, parameter)


def _inner_body(assembler: Assembler, region: Region, plans: Mapping[Region, ClassPlan]) -> Body:
    body = assembler.body(region, plans)
    shape_containers(body)
    odd_keys = body.root.kind == "dict" and CONTAINER_ATTRIBUTES & body.root.children.keys()
    arrays = body.root.kind != "module" and any(c.array for c in body.root.children.values())
    if odd_keys or arrays:
        assert region.instance is not None
        raise ConflictError({region.instance})
    return body


def _keep_random_order(graph: Graph, root: Region) -> None:
    """Dropout draws in the order of the graph; regions that would change it are dissolved."""
    if random_order(graph, root.deep_nodes()) == random_order(graph, list(graph)):
        return
    place = {name: i for i, name in enumerate(graph)}
    torn: set[Instance] = set()
    for region in _all(root):
        places = sorted(place[name] for name in region.deep_nodes())
        if region.instance is not None and places[-1] - places[0] >= len(places):
            torn.add(region.instance)
    raise CycleError(torn)


def _all(root: Region) -> list[Region]:
    found: list[Region] = []
    stack = [root]
    while stack:
        region = stack.pop()
        found.append(region)
        stack.extend(reversed(list(region.regions())))
    return found


def _by_definition(root: Region) -> list[list[Region]]:
    """The inner regions by block, blocks that others use first.

    Raises:
        CycleError: blocks contain each other.
    """
    groups: dict[Definition, list[Region]] = {}
    uses: dict[Definition, set[Definition]] = {}
    for region in _all(root):
        own = _definition(region)
        if own is not None:
            groups.setdefault(own, []).append(region)
            inner = {d for d in map(_definition, region.regions()) if d is not None}
            uses.setdefault(own, set()).update(inner)
    ordered: list[list[Region]] = []
    done: set[Definition] = set()
    while len(done) < len(groups):
        ready = [d for d in groups if d not in done and uses[d] <= done]
        if not ready:
            stuck = [r for d in groups if d not in done for r in groups[d]]
            raise CycleError({r.instance for r in stuck if r.instance is not None})
        for definition in ready:
            ordered.append(groups[definition])
            done.add(definition)
    return ordered


def _definition(region: Region) -> Definition | None:
    if region.instance is None:
        return None
    return region.instance.block, region.instance.definition


def _mark_training(graph: Graph, body: Body) -> None:
    """Mark what only training outputs need, and put it together: one `if self.training:`."""
    ops = [graph[name].op for name in graph.outputs]
    train = [isinstance(op, Output) and op.train for op in ops]
    body.train_outputs = frozenset(i for i, only in enumerate(train) if only)
    if not body.train_outputs:
        return
    needed = {value for i, (_, value) in enumerate(body.outputs) if not train[i]}
    for step in reversed(body.steps):
        step.train = not step.atom and needed.isdisjoint(step.writes)
        if not step.train:
            needed.update(step.reads)
    training = [step for step in body.steps if step.train]
    if training:
        body.steps[:] = _together(body.steps, training)


def _together(steps: list[Step], training: list[Step]) -> list[Step]:
    """The training steps at the place of the last of them, where all they read is known."""
    last = next(i for i in range(len(steps) - 1, -1, -1) if steps[i].train)
    before = [step for step in steps[:last] if not step.train]
    return [*before, *training, *steps[last + 1 :]]
