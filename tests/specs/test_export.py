"""FCN-8s under torch.export: its pools round up, for which torch itself puts guards on sizes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.export import Dim, export  # noqa: E402

import segdsl  # noqa: E402
from compiler.to_torch.build import execute  # noqa: E402
from compiler.to_torch.emit import emit, net_class  # noqa: E402


def test_fcn8s_exports_for_any_batch_height_and_width() -> None:
    graph = segdsl.load("fcn8s")
    cls = getattr(execute(emit(graph), graph.name), net_class(graph))
    with torch.device("meta"):
        module = cls().eval()
    image = torch.zeros(2, 3, 97, 129, device="meta")
    sides = {0: Dim("N", max=64), 2: Dim("H", min=33, max=2048), 3: Dim("W", min=33, max=2048)}
    program = export(
        module,
        (image,),
        dynamic_shapes={"image": sides},
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    other = torch.zeros(3, 3, 64, 51, device="meta")
    assert program.module()(other).shape == (3, 21, 64, 51)


def test_the_valid_unet_exports_for_its_sizes() -> None:
    graph = segdsl.load("unet", form="valid", width=8)
    cls = getattr(execute(emit(graph), graph.name), net_class(graph))
    with torch.device("meta"):
        module = cls().eval()
    image = torch.zeros(2, 3, 188, 204, device="meta")
    height, width = (16 * Dim(name, min=11, max=60) + 12 for name in ("h", "w"))
    sides = {0: Dim("N", max=64), 2: height, 3: width}
    program = export(module, (image,), dynamic_shapes={"image": sides})
    other = torch.zeros(1, 3, 220, 572, device="meta")
    assert program.module()(other).shape == (1, 2, 36, 388)
