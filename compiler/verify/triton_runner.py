"""The Triton target: its module, with regions in kernels or through their references.

Kernels run on a GPU, or on a CPU in Triton's interpreter. Without either the references of the
custom ops run, which is what a user gets on such a machine, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compiler.to_triton.build import built, check_triton
from compiler.to_triton.prepare import Prepared, fused_graph, prepare
from compiler.verify.runners import Ran, Subject
from compiler.verify.stages import exposed, followed, output_names
from compiler.verify.torch_runner import evaluate
from compiler.weights.table import Array

NO_KERNEL = (
    "no kernel ran: there is no GPU, and kernels are not interpreted (`--interpret`, or "
    "TRITON_INTERPRET=1); this is the plain torch of the custom ops"
)


class TritonRunner:
    """The module as it is shipped, for the outputs, and its flat source, for the stages.

    Regions are made before stages are exposed, so both call the kernels that a user gets. A stage
    inside a region is missing: the region is compared at the name of its last operator.

    Raises:
        ModuleNotFoundError: triton is not installed.
        SegError: it is too old (E6013).
    """

    def __init__(self, subject: Subject) -> None:
        check_triton()
        from compiler.to_triton.kernels.common import INTERPRETED

        self._interpreted = INTERPRETED
        self._device = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
        self._ready = prepare(subject.graph, subject.weights)
        places = followed(subject.graph, fused_graph)
        self._values = {s.name: places[s.value] for s in subject.stages if s.value in places}
        self._shipped = _Carried(built(self._ready), self._device)
        self._last: tuple[tuple[str, ...], nn.Module] | None = None
        self._routes: dict[str, str] = {}
        self._refused: dict[str, int] = {}

    def run(self, inputs: Mapping[str, Array], stages: Sequence[str]) -> Ran:
        """In the precision that the network states; products of float32 are never rounded."""
        from compiler.to_triton.kernels.router import policy, recorded, refusals

        known = [name for name in stages if name in self._values]
        library = torch.backends.cudnn.flags(allow_tf32=False)
        way = policy("all" if self._runs_kernels else "measured")
        with library, way, recorded() as routes, refusals() as refused:
            given = evaluate(self._shipped, self._ready.graph, inputs)
            wide = evaluate(self._opened(known), self._ready.graph, inputs) if known else ()
        self._routes |= routes
        self._refused |= refused
        outputs = dict(zip(output_names(self._ready.graph), given, strict=True))
        inner = dict(zip(known, wide[len(given) :], strict=True))
        return Ran(inner, outputs, self._way())

    @property
    def _runs_kernels(self) -> bool:
        return self._interpreted or self._device == "cuda"

    def _way(self) -> str:
        if not self._runs_kernels:
            return NO_KERNEL
        count = sum(config != "library" for config in self._routes.values())
        if not count:
            return "no kernel ran: nothing in this network fits one"
        calls = "1 call" if count == 1 else f"{count} calls"
        gpu = "" if self._interpreted else torch.cuda.get_device_name()
        where = "in Triton's interpreter" if self._interpreted else f"on {gpu}"
        told = f"kernels ran {where}, by policy `all`: {calls} of different shape"
        return told + "".join(f"; to the library: {call}" for call in self._refused)

    def _opened(self, stages: Sequence[str]) -> nn.Module:
        key = tuple(stages)
        if self._last is None or self._last[0] != key:
            self._last = None
            wide = exposed(self._ready.graph, [self._values[name] for name in stages])
            module = built(Prepared(wide, self._ready.arrays), flat=True)
            self._last = key, _Carried(module, self._device)
        return self._last[1]


class _Carried(nn.Module):
    """A module on a device that is called with, and answers, tensors of the CPU."""

    def __init__(self, module: nn.Module, device: str) -> None:
        super().__init__()
        self.inner, self.device = module.to(device), device

    def forward(self, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        found = self.inner(*(x.to(self.device) for x in inputs))
        results = found if isinstance(found, tuple) else (found,)
        return tuple(None if x is None else x.cpu() for x in results)
