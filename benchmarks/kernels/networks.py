"""Whole networks: the Triton target by each policy, and the torch target compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.kernels.cuda import timed
from benchmarks.kernels.stats import spread
from compiler import to_torch, to_triton
from compiler.to_triton.kernels.router import policy, recorded
from segdsl.program import load

NETWORKS = (("deeplabv3", 1, 513, 513), ("deeplabv3", 1, 1024, 2048), ("unet", 1, 512, 512))
"""Name, batch, height and width."""


def network(name: str, n: int, h: int, w: int) -> dict[str, Any]:
    """The record of one network in bfloat16, channels last, random weights of one seed."""
    graph = load(name)
    image = torch.randn(n, 3, h, w, device="cuda")
    half = image.bfloat16().contiguous(memory_format=torch.channels_last)
    plain = to_torch(graph).eval().cuda()
    with torch.no_grad():
        wanted = _first(plain(image))
    fused = to_triton(graph).cuda().bfloat16()
    record: dict[str, Any] = {"record": "network", "name": name, "size": [n, h, w], "policies": {}}
    with torch.no_grad():
        for how in ("measured", "all", "none"):
            with policy(how), recorded() as routes:
                got = _first(fused(half)).float()
                torch.cuda.reset_peak_memory_stats()
                times = timed(lambda _: fused(half), [{}])
            kernels = sum(config != "library" for config in routes.values())
            record["policies"][how] = {
                "us": spread(times),
                "peak_bytes": torch.cuda.max_memory_allocated(),
                "kernels": f"{kernels} of {len(routes)} keys",
                "rel_l2": float((got - wanted).norm() / wanted.norm()),
                "same_class": float((got.argmax(1) == wanted.argmax(1)).double().mean()),
            }
        base = plain.bfloat16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        compiled = torch.compile(base, mode="max-autotune-no-cudagraphs")
        calls = {"torch": base, "compile": compiled}
        record["baselines_us"] = {
            who: spread(timed(partial(_called, call, half), [{}])) for who, call in calls.items()
        }
    return record


def _called(net: Any, image: torch.Tensor, _: object) -> Any:
    return net(image)


def _first(found: Any) -> torch.Tensor:
    scores: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return scores
