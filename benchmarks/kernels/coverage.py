"""How much of a network the router gave to kernels of ours."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from torch import nn

from compiler.to_triton import kernels
from compiler.to_triton.kernels.frozen import Frozen
from compiler.to_triton.kernels.router import recorded, refusals
from compiler.to_triton.plan import plan
from segdsl.ir import Graph

Routes = Mapping[str, str]


@cache
def kernel_names() -> frozenset[str]:
    """The names of all kernels of the package, as a profiler shows them."""
    modules = (
        importlib.import_module(f"{kernels.__name__}.{info.name}")
        for info in pkgutil.iter_modules(kernels.__path__)
    )
    return frozenset(
        name for module in modules for name in vars(module) if name.endswith("_kernel")
    )


def ours(name: str) -> bool:
    """Whether a kernel on the GPU is one of ours; triton may put a mark behind its name."""
    return any(name == own or name.startswith(f"{own}_0d") for own in kernel_names())


@contextmanager
def routes_of(module: nn.Module) -> Iterator[dict[str, dict[str, str]]]:
    """Notes the routes that are taken inside the block, by the path of the fused module in which.

    Those of functions stand under "".
    """
    found: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        for path, part in module.named_modules():
            if isinstance(part, Frozen):
                for handle in _watched(part, found.setdefault(path, {})):
                    stack.callback(handle.remove)
        found[""] = stack.enter_context(recorded())
        yield found


def _watched(part: nn.Module, routes: dict[str, str]) -> Iterator[Any]:
    inside: list[tuple[Any, dict[str, str]]] = []

    def enter(*_: Any) -> None:
        context = recorded()
        inside.append((context, context.__enter__()))

    def leave(*_: Any) -> None:
        context, seen = inside.pop()
        context.__exit__(None, None, None)
        routes.update(seen)

    yield part.register_forward_pre_hook(enter)
    yield part.register_forward_hook(leave, always_call=True)


def coverage(
    module: nn.Module, graph: Graph, size: Mapping[str, int], call: Callable[[], Any]
) -> dict[str, Any]:
    """What a call of a fused network computes in kernels of ours.

    Args:
        module: the network of `to_triton`.
        graph: its fused graph.
        size: a value for every symbol, as of the call.
        call: calls the module.

    Returns:
        `macs`: the part of the multiply-accumulates; `possible`: the part that kernels could take;
        `regions`: how many of those that could; `library`: the keys that went elsewhere;
        `refused`: how many calls no kernel takes, by the reason.
    """
    with routes_of(module) as routes, refusals() as refused:
        call()
    found = plan(graph, size)
    total, taken, regions, most = 0, 0.0, 0.0, 0
    for row in found.rows:
        total += row.macs or 0
        if row.kernel == "library":
            continue
        part = _part(routes, graph[row.name].path, row.kernel)
        most += 1
        regions += part
        taken += part * row.taken
    everything = {key: route for each in routes.values() for key, route in each.items()}
    return {
        "macs": round(taken / total, 4) if total else 0.0,
        "possible": round(found.share or 0.0, 4),
        "regions": f"{regions:g} of {most}",
        "library": sorted(key for key, route in everything.items() if route == "library"),
        "refused": dict(sorted(refused.items())),
    }


def _part(routes: Mapping[str, Routes], path: str | None, kernel: str) -> float:
    """The part of a region's calls that ran in a kernel."""
    if path in routes and path:
        own = list(routes[path].values())
    else:
        own = [route for key, route in routes[""].items() if key.startswith(kernel)]
    return sum(route != "library" for route in own) / len(own) if own else 0.0
