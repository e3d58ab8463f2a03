"""DCNv3's sampling and its gradients, interpreted and in plain torch, against float64 loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch import dtype as DType  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton.kernels import dcnv3, dcnv3_backward  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.dcnv3_sampling import Sampling, fallback_reason  # noqa: E402
from compiler.to_triton.kernels.dcnv3_tiles import CONFIGS  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.ops.deform import Dcnv3Core  # noqa: E402
from segdsl.ops.window import out_size  # noqa: E402
from segdsl.types import Axis, Pair, Sides  # noqa: E402
from tests.support import deform_loops as loops  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

GATES = {torch.float32: 1e-6, torch.float16: 4e-4}
"""Largest |error| / |reference|, as norms: a correct kernel rounds once."""

HALF, FULL = torch.float16, torch.float32
AXES: tuple[Axis, Axis] = (0, 1)
ONE = Sides(1, 1, 1, 1)

CASES: list[tuple[dict[str, Any], int, tuple[int, int], DType, str]] = [
    ({"groups": 2}, 16, (5, 3), FULL, "r64c16w4"),
    ({"groups": 2, "offset_scale": 2.0}, 16, (3, 5), HALF, "r64c16w4"),
    ({"groups": 3, "kernel": Pair(1, 3), "softmax": False, "pad": Sides(2, 0, 1, 3)},
     1, (4, 5), FULL, "r128c16w4"),
    ({"groups": 1, "remove_center": True, "dilation": Pair(2, 1), "stride": Pair(1, 2)},
     30, (5, 6), FULL, "r32c32w4"),
    ({"groups": 2, "kernel": Pair(3, 1), "stride": Pair(2, 1), "offset_scale": 0.5, "pad": ONE},
     30, (5, 3), FULL, "r64c16w4"),
    ({"groups": 1, "kernel": Pair(2, 3), "pad": ONE, "offset_limit": 1.25, "softmax": False},
     16, (1, 7), FULL, "r64c16w4"),
    ({"groups": 2, "kernel": Pair(1, 1), "offset_limit": 0.75}, 1, (7, 1), HALF, "r32c32w4"),
]  # fmt: skip
"""Operator, channels of a group, size of the map, dtype, tile."""


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def distance(y: Tensor, reference: Any) -> float:
    norm = float(np.linalg.norm(reference))
    return float(np.linalg.norm(y.double().numpy() - reference)) / (norm or 1.0)


def sampling(op: Dcnv3Core) -> Sampling:
    return Sampling(
        op.groups, list(op.kernel), list(op.stride), [op.sides.top, op.sides.left],
        list(op.dilation), float(op.offset_scale), op.softmax, op.remove_center,
        None if op.offset_limit is None else float(op.offset_limit),
    )  # fmt: skip


def arguments(op: Dcnv3Core) -> tuple[Any, ...]:
    """What the custom op takes behind the maps."""
    return tuple(vars(sampling(op)).values())


def maps(
    op: Dcnv3Core, each: int, size: Sequence[int], dtype: DType
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, offset, mask and a gradient; two images.

    Points lie up to two pixels outside of the map, and a tenth of a pixel or more from the lines
    on which the gradients of bilinear interpolation jump.
    """
    torch.manual_seed(each)
    p, q = (int(str(out_size(s, op.nominal(a)))) for a, s in zip(AXES, size, strict=True))
    x = torch.randn(2, op.groups * each, *size)
    moved = torch.empty(2, op.groups, len(op.points), 2, p, q)
    for t, (j, i) in enumerate(op.points):
        for slot, axis, step, count in ((0, AXES[1], i, q), (1, AXES[0], j, p)):
            places = op.stride[axis] * torch.arange(count) + float(op.places(axis)[step])
            places = places if axis else places.unsqueeze(1)
            target = torch.randint(-3, size[axis] + 2, (2, op.groups, p, q))
            target = target + torch.rand(target.shape) * 0.8 + 0.1
            moved[:, :, t, slot] = (target - places) / op.offset_scale
    offset = moved.reshape(2, -1, p, q)
    mask = torch.randn(2, op.groups * len(op.points), p, q)
    grad = torch.randn(2, op.groups * each, p, q)
    return cl(x.to(dtype)), cl(offset.to(dtype)), cl(mask.to(dtype)), cl(grad.to(dtype))


def sliced(map_: Tensor) -> Tensor:
    """The same values as a slice of the channels of a wider map, with NaN around them."""
    channels = map_.shape[1]
    wide = cl(torch.full((len(map_), channels + 5, *map_.shape[2:]), torch.nan).to(map_.dtype))
    wide[:, 3 : channels + 3] = map_
    return wide[:, 3 : channels + 3]


@pytest.mark.parametrize(("keywords", "each", "size", "dtype", "config"), CASES)
def test_results_and_gradients(
    keywords: dict[str, Any], each: int, size: tuple[int, int], dtype: DType, config: str
) -> None:
    op = Dcnv3Core(**keywords)
    how = sampling(op)
    x, offset, mask, grad = maps(op, each, size, dtype)
    exact: Any = [map_.double().numpy() for map_ in (x, offset, mask, grad)]
    wanted, to = loops.dcnv3(op, exact[0], exact[1], exact[2], exact[3])
    expected = (wanted, to.x, to.offset, to.mask)
    tile, wide = CONFIGS[config], (sliced(x), sliced(offset), sliced(mask))
    kernels = (dcnv3.launch(*wide, how, config=tile),
               *dcnv3_backward.launch_backward(grad, *wide, how, True, config=tile))  # fmt: skip
    plain = (dcnv3.reference(x, offset, mask, how),
             *dcnv3_backward.reference_backward(grad, x, offset, mask, how, True))  # fmt: skip
    for name, found in (("kernel", kernels), ("torch", plain)):
        errors = [distance(y, e) for y, e in zip(found, expected, strict=True)]
        assert max(errors) < GATES[dtype], (name, errors)
        assert [y.dtype for y in found] == [dtype] * 4, name


def test_without_a_gradient_of_x_there_are_no_atomics() -> None:
    op = Dcnv3Core(groups=1)
    x, offset, mask, grad = maps(op, 1, (3, 3), FULL)
    tile = CONFIGS["r64c16w4"]
    full = dcnv3_backward.launch_backward(grad, x, offset, mask, sampling(op), True, config=tile)
    part = dcnv3_backward.launch_backward(grad, x, offset, mask, sampling(op), False, config=tile)
    assert part[0].numel() == 0
    assert torch.equal(full[1], part[1])
    assert torch.equal(full[2], part[2])


def test_deterministic_algorithms_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    op = Dcnv3Core(groups=2, kernel=Pair(1, 2), pad=ONE)
    x, offset, mask, grad = maps(op, 3, (4, 3), FULL)
    tile, how = CONFIGS["r64c16w4"], sampling(op)
    seen: list[object] = []
    kernel = dcnv3_backward.dcnv3_backward_kernel

    class Watched:
        def __getitem__(self, grid: Any) -> Any:
            def call(*values: Any, **constants: Any) -> Any:
                seen.append(values[4])
                return kernel[grid](*values, **constants)

            return call

    monkeypatch.setattr(dcnv3_backward, "dcnv3_backward_kernel", Watched())
    free = dcnv3_backward.launch_backward(grad, x, offset, mask, how, True, config=tile)
    torch.use_deterministic_algorithms(True)
    try:
        fixed = dcnv3_backward.launch_backward(grad, x, offset, mask, how, True, config=tile)
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen[0] is not None
    assert seen[1] is None
    for left, right in zip(free, fixed, strict=True):
        assert torch.allclose(left, right, rtol=1e-5, atol=1e-6)


def test_gradients_of_the_op_in_float64() -> None:
    """The library's way, by finite differences."""
    op = Dcnv3Core(groups=1, kernel=Pair(1, 2), pad=ONE, offset_limit=1.25, offset_scale=1.5)
    given = [m.double().requires_grad_() for m in maps(op, 2, (3, 2), FULL)[:3]]
    assert torch.autograd.gradcheck(lambda *m: dcnv3.dcnv3(*m, *arguments(op)), given)


@pytest.mark.parametrize("name", ["all", "none"])
def test_the_op_is_one_of_torch(name: str) -> None:
    op = Dcnv3Core(groups=2, kernel=Pair(1, 2), pad=ONE)
    given = [m.requires_grad_() for m in maps(op, 3, (2, 3), FULL)[:3]]
    with policy(name):
        torch.library.opcheck(dcnv3.dcnv3._opoverload, (*given, *arguments(op)))


@pytest.mark.parametrize(("name", "needs_x"), [("all", True), ("none", False)])
def test_the_gradients_are_an_op_of_torch(name: str, needs_x: bool) -> None:
    op = Dcnv3Core(groups=2, kernel=Pair(1, 2), pad=ONE)
    x, offset, mask, grad = maps(op, 3, (2, 3), FULL)
    given = (grad, sliced(x), sliced(offset), sliced(mask), *arguments(op), needs_x, name)
    torch.library.opcheck(dcnv3_backward.dcnv3_backward._opoverload, given)


def test_a_stretched_gradient() -> None:
    """`sum` sends one number for all: a gradient without strides."""
    op = Dcnv3Core(groups=2, kernel=Pair(1, 2), pad=ONE)
    found = []
    for name in ("all", "none"):
        given = [m.requires_grad_() for m in maps(op, 3, (3, 2), FULL)[:3]]
        with policy(name), recorded() as routes:
            dcnv3.dcnv3(*given, *arguments(op)).sum().backward()
        assert len(routes) == 2  # forward and backward
        assert set(routes.values()) == {"r64c16w4" if name == "all" else "library"}
        found.append([m.grad for m in given])
    for left, right in zip(*found, strict=True):
        assert torch.allclose(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 200), (200, 1)])
def test_far_from_the_edge(shape: tuple[int, int]) -> None:
    """Places have the digits that they have beside the edge: float32 has 24 bits in all."""
    op = Dcnv3Core(groups=1, kernel=Pair(1, 2) if shape[0] == 1 else Pair(2, 1), pad=ONE)
    torch.manual_seed(0)
    p, q = (int(str(out_size(s, op.nominal(a)))) for a, s in zip(AXES, shape, strict=True))
    x, grad = torch.randn(1, 1, *shape), torch.randn(1, 1, p, q)
    offset = torch.randint(-2, 2, (1, 4, p, q)) + 0.1 + 0.8 * torch.rand(1, 4, p, q)
    near: list[Any] = [*map(cl, (x, offset, torch.randn(1, 2, p, q))), sampling(op)]
    wide: list[Any] = [*(map_.double() for map_ in near[:3]), sampling(op)]
    back: list[Any] = [cl(grad), *near, True]
    back_wide: list[Any] = [grad.double(), *wide, True]
    tile, gradients = CONFIGS["r64c16w4"], dcnv3_backward.reference_backward
    exact = (dcnv3.reference(*wide), *gradients(*back_wide))
    plain = (dcnv3.reference(*near), *gradients(*back))
    launched = dcnv3_backward.launch_backward(*back, config=tile)
    kernels = (dcnv3.launch(*near, config=tile), *launched)
    for found in (kernels, plain):
        errors = [distance(y, e.numpy()) for y, e in zip(found, exact, strict=True)]
        assert max(errors) < GATES[FULL], errors


def test_nan_stays_where_it_is() -> None:
    op = Dcnv3Core(groups=1, kernel=Pair(1, 1), softmax=False)
    x, offset, mask, _ = maps(op, 2, (3, 3), FULL)
    offset[0, 0, 1, 1] = torch.nan
    y = dcnv3.launch(x, offset, mask, sampling(op), config=CONFIGS["r64c16w4"])
    assert torch.equal(y.isnan(), dcnv3.reference(x, offset, mask, sampling(op)).isnan())
    assert y.isnan().sum() == 2


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({0: torch.zeros(2, 7, 3, 3)}, ValueError, "7 channels do not split into 2 groups"),
        ({1: torch.zeros(2, 35, 3, 3)}, ValueError, r"the offset is \(2, 35, 3, 3\)"),
        ({2: torch.zeros(1, 18, 3, 3)}, ValueError, r"the mask is \(1, 18, 3, 3\)"),
        ({0: torch.zeros(2, 6, 3, 3).double()}, TypeError, "float64"),
        ({2: torch.zeros(2, 18, 3, 3).bfloat16()}, TypeError, "bfloat16"),
    ],
)
def test_what_is_refused(change: dict[int, Tensor], error: type[Exception], text: str) -> None:
    given = dict(enumerate(maps(Dcnv3Core(groups=2), 3, (3, 3), FULL)))
    x, offset, mask, _ = (cl(map_) for map_ in (given | change).values())
    with pytest.raises(error, match=text):
        dcnv3.launch(x, offset, mask, sampling(Dcnv3Core(groups=2)), config=CONFIGS["r64c16w4"])


def test_layouts_and_sizes_that_go_to_the_library() -> None:
    x, offset, mask, _ = maps(Dcnv3Core(groups=2), 3, (3, 3), FULL)
    how = sampling(Dcnv3Core(groups=2))
    assert fallback_reason(x, offset, mask, how) == ""
    assert "channels last" in fallback_reason(x.contiguous(), offset, mask, how)
    many = replace(how, kernel=[8, 8])
    assert "64 points" in fallback_reason(x, offset, mask, many)
    assert "empty" in fallback_reason(x[:0], offset[:0], mask[:0], how)


NET = """
f = image -> conv(8, 3, pad=1) @f
output y = f -> dcnv3(groups=2, stride=1, offset_scale=1.5, {extra}) @dcn
"""


@pytest.mark.parametrize(
    ("extra", "kernel"),
    [
        ("softmax=false, remove_center=true", "dcnv3"),
        ("dilation=2, offset_limit=2.0", "dcnv3"),
        ("kernel=9, dw_kernel=3", "library"),
    ],
)
def test_networks(extra: str, kernel: str) -> None:
    found = graph(net(NET.format(extra=extra)))
    fused = fused_graph(found)
    fused.verify()
    (row,) = [row for row in plan(fused).rows if "dcnv3_core" in row.ops]
    assert row.kernel == kernel
    assert (row.kernel == "library") == ("81 points" in row.reason)
    draw = np.random.default_rng(0)
    arrays = Weights(
        {
            path: draw.normal(0, 0.25, param.shape).astype("f4")
            for path, param in params(found).items()
        }
    )
    x = torch.randn(2, 3, 5, 4)
    with torch.no_grad(), policy("all"), recorded() as routes:
        y = to_triton(found, arrays)(x)
        wanted = to_torch(found, arrays).eval()(x)
    assert torch.allclose(y, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert any(key.startswith("dcnv3") for key in routes) == (kernel == "dcnv3")
