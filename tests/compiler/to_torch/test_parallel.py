"""The emitted module under DistributedDataParallel, with one process."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import distributed  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

import segdsl  # noqa: E402
from compiler import to_torch  # noqa: E402


@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")
def test_every_parameter_is_reduced(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        graph = segdsl.load("unet", width=8, depth=2)
        net = DistributedDataParallel(to_torch(graph).train())
        for _ in range(2):  # DDP refuses a second step after unused parameters
            net(torch.rand(2, 3, 33, 21)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    finally:
        distributed.destroy_process_group()
