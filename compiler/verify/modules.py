"""Which values of a network a submodule of the shipped torch module gives as its result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from compiler.to_torch.body import Step
from compiler.to_torch.emit import outputs_name
from compiler.to_torch.helpers import HELPERS
from compiler.to_torch.plan import outline
from compiler.to_torch.regions import Region
from segdsl.analysis.shapes import shapes
from segdsl.ir import Graph, Value

Place = tuple[str, Value]

_CALL = re.compile(r"\{self\}\([^()]*\)")
"""A step that does nothing but call its submodule."""


def submodules(graph: Graph) -> dict[Value, str]:
    """The paths of the submodules that are called once and give one value of the graph."""
    reserved = frozenset({*HELPERS, outputs_name(graph)})
    found = outline(graph, shapes(graph), reserved, flat=False)
    places: list[Place] = []
    for plan in found.classes:
        for region in plan.regions:
            body = plan.body_of(region)
            if len(body.outputs) == 1 and region.path:
                places.append((region.path, body.outputs[0][1]))
            places += _calls(region, body.steps)
    uses = Counter(path for path, _ in dict.fromkeys(places))
    return {value: path for path, value in places if uses[path] == 1}


def _calls(region: Region, steps: Sequence[Step]) -> Iterator[Place]:
    """The steps that do nothing but call a submodule."""
    for step in steps:
        whole = _CALL.fullmatch(step.call) is not None
        plain = not (step.infix or step.atom or step.loop or step.grows)
        if step.slot is not None and whole and plain and len(step.writes) == 1:
            keys = [region.path, *step.slot.keys] if region.path else step.slot.keys
            yield ".".join(keys), step.writes[0]


@contextmanager
def watched(module: nn.Module, paths: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """The results of submodules while the block runs: by the names that `paths` gives them.

    Each is a copy: what follows may overwrite it.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, __: tuple[Tensor, ...], result: Tensor) -> None:
        seen[name] = result.clone()

    hooks = [
        module.get_submodule(path).register_forward_hook(partial(keep, name))
        for name, path in paths.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
