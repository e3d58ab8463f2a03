"""Deformable operators in torch against float64 loops from the equations: results and gradients."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")

from compiler.to_torch.build import build  # noqa: E402
from segdsl.infer import requirements  # noqa: E402
from segdsl.ops.base import Op, RuleError  # noqa: E402
from segdsl.ops.deform import Dcnv3Core, DeformConv  # noqa: E402
from segdsl.ops.window import out_size  # noqa: E402
from segdsl.program import parse  # noqa: E402
from segdsl.types import Axis, Feature, Pair, Sides  # noqa: E402
from tests.support import deform_loops as loops  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402
from tests.support.refusals import make  # noqa: E402

AXES: tuple[Axis, Axis] = (0, 1)
BLOCKS, EACH = 12, 30
"""Random cases: 360 of them, half of each operator."""

LIMIT = 1e-11
"""float64 against float64, sums of a few hundred terms of size 1 to 10."""


def dcnv3_case(draw: random.Random) -> tuple[Op, Feature, int, bool]:
    """A DCNv3 core, its map, the points of all groups, and that it has a mask."""
    centre = draw.random() < 0.4
    groups = draw.randint(1, 3)
    op = make(
        "dcnv3_core",
        groups=groups,
        kernel=Pair(3, 3) if centre else sides(draw),
        remove_center=centre,
        offset_scale=draw.choice([0.5, 1.0, 1.3, 2.0]),
        softmax=draw.random() < 0.6,
        **window(draw),
    )
    return op, plane(draw, groups * draw.randint(1, 3)), groups * len(op.points), True


def deform_conv_case(draw: random.Random) -> tuple[Op, Feature, int, bool]:
    """A deformable convolution, of version 1 or 2."""
    groups, parts, kernel = draw.randint(1, 2), draw.randint(1, 2), sides(draw)
    op = make(
        "deform_conv",
        groups * draw.randint(1, 2),
        kernel,
        groups=groups,
        offset_groups=parts,
        bias=draw.random() < 0.5,
        **window(draw),
    )
    x = plane(draw, groups * parts * draw.randint(1, 2))
    return op, x, parts * kernel[0] * kernel[1], draw.random() < 0.5


def sides(draw: random.Random) -> Pair:
    """Rows and columns of a kernel."""
    return Pair(draw.choice([1, 3, 5]), draw.choice([1, 3, 5]))


def window(draw: random.Random) -> dict[str, Any]:
    """Stride, padding, dilation and limit."""
    return {
        "stride": Pair(draw.randint(1, 3), draw.randint(1, 3)),
        "pad": draw.choice([Sides(*(draw.randint(0, 3) for _ in range(4))), "same"]),
        "dilation": Pair(draw.randint(1, 2), draw.randint(1, 2)),
        "offset_limit": draw.choice([None, None, 0.0, 1.5]),
    }


def plane(draw: random.Random, channels: int) -> Feature:
    """A small map, odd sizes and single rows too, of one or two images."""
    return Feature((draw.randint(1, 2), channels, draw.randint(1, 7), draw.randint(1, 7)))


def case(seed: int) -> tuple[Op, tuple[Feature, ...]]:
    """An operator and the types of operands that it takes."""
    draw = random.Random(seed)
    while True:
        try:
            op, x, points, masked = (dcnv3_case, deform_conv_case)[seed % 2](draw)
        except RuleError:  # `same` with an even kernel
            continue
        size = [int(str(out_size(x.spatial(a), op.nominal(a)))) for a in AXES]  # type: ignore[attr-defined]
        if min(size) < 1 or max(size) > 7:
            continue
        maps = [Feature((x.batch, c * points, *size)) for c in (2, 1)[: 1 + masked]]
        assert not requirements(op, (x, *maps))
        return op, (x, *maps)


def arrays(inputs: Sequence[Feature], seed: int) -> list[Any]:
    """Random operands; offsets from a fraction of a pixel to far outside of the map."""
    generator = np.random.default_rng(seed)
    spread = float(generator.choice([0.3, 2.0, 8.0]))
    return [
        generator.normal(size=[int(str(n)) for n in x.shape]) * (spread if slot == 1 else 1.0)
        for slot, x in enumerate(inputs)
    ]


def module_of(op: Op, inputs: Sequence[Feature]) -> Any:
    """The emitted module of a net of this operator, in float64."""
    builder = Builder()
    values = [builder.input(*x.shape, name=f"x{i}") for i, x in enumerate(inputs)]
    at = "layer" if op.params(*inputs) else None
    builder.output(builder.add(op, *values, at=at), "y")
    return build(builder.graph, flat=True).double()


def expected(op: Op, module: Any, given: list[Any], upstream: Any) -> tuple[Any, dict[str, Any]]:
    """The result and the gradients by name, from the loops."""
    if isinstance(op, Dcnv3Core):
        result, to = loops.dcnv3(op, given[0], given[1], given[2], upstream)
    else:
        assert isinstance(op, DeformConv)
        weight = module.layer.weight.detach().numpy()
        bias = module.layer.bias.detach().numpy() if op.bias else None
        mask = given[2] if len(given) == 3 else None
        result, to = loops.deform_conv(op, given[0], given[1], mask, weight, bias, upstream)
    return result, {name: value for name, value in vars(to).items() if value is not None}


def found(module: Any, given: list[Any], upstream: Any) -> tuple[Any, dict[str, Any]]:
    """The same from torch."""
    operands = [torch.tensor(a, requires_grad=True) for a in given]
    result = module(*operands)
    result.backward(torch.tensor(upstream))
    named = dict(zip(("x", "offset", "mask"), operands, strict=False))
    named |= {name.removeprefix("layer."): p for name, p in module.named_parameters()}
    return result.detach().numpy(), {name: t.grad.numpy() for name, t in named.items()}


def compare(seed: int, *, script: bool = False) -> None:
    op, inputs = case(seed)
    given, module = arrays(inputs, seed), module_of(op, inputs)
    answer = module(*map(torch.tensor, given))
    upstream = np.random.default_rng(seed + 1).normal(size=tuple(answer.shape))
    result, gradients = expected(op, module, given, upstream)
    ours, ours_gradients = found(torch.jit.script(module) if script else module, given, upstream)
    assert ours.shape == result.shape
    np.testing.assert_allclose(ours, result, rtol=0, atol=LIMIT, err_msg=f"{seed}: {op}")
    assert ours_gradients.keys() == gradients.keys()
    for name, wanted in gradients.items():
        message = f"gradient of {name}, seed {seed}: {op}"
        np.testing.assert_allclose(
            ours_gradients[name], wanted, rtol=0, atol=LIMIT, err_msg=message
        )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_results_and_gradients_are_those_of_the_equations(block: int) -> None:
    for seed in range(block * EACH, (block + 1) * EACH):
        compare(seed)


def test_scripted() -> None:
    for seed in range(8):
        compare(seed, script=True)


def test_the_cases_are_varied() -> None:
    """Every attribute takes several values, and points fall outside of the map."""
    seen: dict[str, set[object]] = {}
    for seed in range(BLOCKS * EACH):
        op, inputs = case(seed)
        for name in ("kernel", "stride", "dilation", "groups", "offset_limit", "pad"):
            seen.setdefault(name, set()).add(getattr(op, name))
        seen.setdefault("batch", set()).add(inputs[0].batch)
        seen.setdefault("masked", set()).add((op.name, len(inputs)))
    assert len(seen["kernel"]) == 9
    assert len(seen["stride"]) == 9
    assert {1, 2, 3} <= seen["groups"]
    assert seen["batch"] == {1, 2}
    assert seen["masked"] == {("dcnv3_core", 3), ("deform_conv", 2), ("deform_conv", 3)}


def big(seed: int, rows: int = 40) -> tuple[list[Any], Any]:
    """A map whose points take several pieces."""
    op = make("dcnv3_core", groups=8)
    inputs = (Feature((2, 16, rows, 37)), Feature((2, 144, rows, 37)), Feature((2, 72, rows, 37)))
    return arrays(inputs, seed), module_of(op, inputs)


def test_pieces_make_no_difference() -> None:
    """The sum in pieces, with its own gradients, is what torch makes of one formula."""
    given, module = big(3)
    spaces = module.forward.__globals__
    assert 2 * spaces["DeformableSum"].pieces(torch.empty(1, 1, 8, 9), 2) < 2 * 40 * 37
    upstream = np.random.default_rng(0).normal(size=given[0].shape)
    ours, ours_gradients = found(module, given, upstream)
    whole, whole_gradients = found(torch.jit.script(module), given, upstream)
    np.testing.assert_allclose(ours, whole, rtol=0, atol=LIMIT)
    for name, wanted in whole_gradients.items():
        np.testing.assert_allclose(ours_gradients[name], wanted, rtol=0, atol=1e-10)


def test_channels_last_maps_are_not_copied_to_another_layout() -> None:
    """The result of a layer that works on the last axis, and of this one, is a view of NHWC."""
    op = make("dcnv3_core", groups=2)
    inputs = (Feature((1, 4, 5, 6)), Feature((1, 36, 5, 6)), Feature((1, 18, 5, 6)))
    operands = [torch.tensor(a) for a in arrays(inputs, 0)]
    result = module_of(op, inputs)(*operands)
    assert result.permute(0, 2, 3, 1).is_contiguous()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_without_offsets_it_is_a_depthwise_convolution(kernel: int, stride: int) -> None:
    """Zero offsets and equal logits: the mean of the window, zeros outside included."""
    points = kernel * kernel
    op: Any = make("dcnv3_core", groups=3, kernel=Pair(kernel, kernel), stride=Pair(stride, stride))
    x = torch.tensor(np.random.default_rng(0).normal(size=(2, 6, 9, 8)))
    size = [out_size(n, op.nominal(0)) for n in (9, 8)]
    offset, mask = (torch.zeros(2, c * 3 * points, *size, dtype=x.dtype) for c in (2, 1))
    inputs = tuple(Feature(tuple(t.shape)) for t in (x, offset, mask))
    weight = torch.full((6, 1, kernel, kernel), 1 / points, dtype=x.dtype)
    wanted = torch.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=6)
    result = module_of(op, inputs)(x, offset, mask)
    torch.testing.assert_close(result, wanted, rtol=0, atol=1e-13)


def test_without_offsets_a_deform_conv_is_a_convolution() -> None:
    op = make(
        "deform_conv", 8, Pair(3, 5), groups=2, offset_groups=2, dilation=Pair(2, 1), pad="same"
    )
    x = torch.tensor(np.random.default_rng(0).normal(size=(2, 4, 9, 8)))
    offset = torch.zeros(2, 60, 9, 8, dtype=x.dtype)
    module = module_of(op, (Feature(tuple(x.shape)), Feature(tuple(offset.shape))))
    layer = module.layer
    wanted = torch.conv2d(x, layer.weight, layer.bias, padding=(2, 2), dilation=(2, 1), groups=2)
    torch.testing.assert_close(module(x, offset), wanted, rtol=0, atol=1e-13)


def test_numbers_that_are_none_stay_where_they_are() -> None:
    """A NaN or an infinity among the offsets spoils the pixels that it moves, and no other."""
    op = make("dcnv3_core", groups=1)
    inputs = (Feature((1, 2, 4, 4)), Feature((1, 18, 4, 4)), Feature((1, 9, 4, 4)))
    operands = [torch.tensor(a) for a in arrays(inputs, 0)]
    module = module_of(op, inputs)
    before = module(*operands)
    operands[1][0, 0, 1, 2] = float("nan")
    operands[1][0, 5, 3, 3] = float("inf")
    after = module(*operands)
    changed = (before != after).any(1)[0]
    assert set(map(tuple, changed.nonzero().tolist())) <= {(1, 2), (3, 3)}
    assert after[0, :, 1, 2].isnan().all()
    assert after[0, :, 3, 3].isfinite().all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_halves_are_computed_as_floats(dtype: str) -> None:
    kind = getattr(torch, dtype)
    for seed in (2, 3):
        op, inputs = case(seed)
        module, operands = module_of(op, inputs), [torch.tensor(a) for a in arrays(inputs, seed)]
        rounded = [t.to(kind) for t in operands]
        module = module.to(kind).double()
        wanted = module(*(t.double() for t in rounded))
        result = module.to(kind)(*rounded)
        assert result.dtype == kind
        step = torch.finfo(kind).eps
        torch.testing.assert_close(result.double(), wanted, rtol=4 * step, atol=32 * step)


@pytest.mark.parametrize("seed", [0, 1])
def test_exported_with_free_sizes(seed: int) -> None:
    """torch.export keeps batch, rows and columns open."""
    op = (
        make("dcnv3_core", groups=2)
        if seed
        else make("deform_conv", 4, Pair(3, 3), pad="same", offset_groups=2)
    )
    points = 18
    maps = [Feature((2, c, 6, 7)) for c in (4, 2 * points, points)]
    module = module_of(op, maps)
    free = [
        torch.export.Dim("n", min=2),
        torch.export.Dim("h", min=4),
        torch.export.Dim("w", min=4),
    ]
    dims = {0: free[0], 2: free[1], 3: free[2]}
    operands = [torch.tensor(a) for a in arrays(maps, seed)]
    with torch.no_grad():
        program = torch.export.export(module, tuple(operands), dynamic_shapes=[dims] * 3)
        other = [Feature((3, x.channels, 9, 5)) for x in maps]
        given = [torch.tensor(a) for a in arrays(other, seed + 7)]
        torch.testing.assert_close(program.module()(*given), module(*given), rtol=0, atol=1e-11)


LAYERS = """seg 1
from std.dcn import ModulatedDeformConvPack
net T() {
  input x: f32[N, 8, H, W]
  output y = x -> dcnv3(groups=2, center_feature_scale=true) @a
               -> ModulatedDeformConvPack(4, 3, pad=1) @c
}
"""


def random_layers() -> Any:
    """A net of whole layers whose branches, published as zeros, move their points."""
    module = build(parse(LAYERS)).double()
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.3
    return module


def test_layers_pass_gradcheck() -> None:
    """Numeric gradients of the input and of every parameter."""
    module = random_layers()
    x = torch.tensor(np.random.default_rng(0).normal(size=(1, 8, 3, 4)), requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,), eps=1e-7, atol=1e-5)
    module(x).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


def test_compiled_with_its_gradients() -> None:
    """One graph without a break, forward and backward, whatever executes it."""
    module = random_layers()
    x = torch.tensor(np.random.default_rng(1).normal(size=(2, 8, 5, 4)), requires_grad=True)
    found = []
    for run in (module, torch.compile(module, backend="aot_eager", fullgraph=True)):
        result = run(x)
        found.append(torch.autograd.grad(result.square().sum(), [x, *module.parameters()]))
    for ours, compiled in zip(*found, strict=True):
        torch.testing.assert_close(ours, compiled, rtol=0, atol=1e-10)


def test_traced_at_one_size_and_run_at_another() -> None:
    module = random_layers().eval()
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.rand(1, 8, 6, 6, dtype=torch.float64))
        x = torch.rand(2, 8, 5, 9, dtype=torch.float64)
        torch.testing.assert_close(traced(x), module(x), rtol=0, atol=1e-12)


def test_autocast_and_an_empty_batch() -> None:
    """Halves under autocast, with gradients of the parameters' own type; no image at all."""
    module = random_layers().float()
    x = torch.rand(1, 8, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = module(x)
    result.float().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
    torch.testing.assert_close(result.float(), module(x), rtol=0.1, atol=0.1)
    none = torch.zeros(0, 8, 6, 6, requires_grad=True)
    module(none).sum().backward()
    assert none.grad is not None
    assert module(none).shape == (0, 4, 6, 6)


def test_gradients_of_gradients_are_refused() -> None:
    """They would be wrong, so that asking for them is an error and not a number."""
    module = random_layers()
    x = torch.rand(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()


def test_torchvisions_operator_gives_the_same() -> None:
    """Where its compiled operators load: a wheel for another torch lacks them."""
    need("torchvision")
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        pytest.skip("this torchvision has no compiled operators for this torch")
    from torchvision.ops import deform_conv2d

    for seed in range(1, 60, 2):
        op, inputs = case(seed)
        assert isinstance(op, DeformConv)
        if op.sides[:2] != op.sides[2:] or op.offset_limit is not None:
            continue
        given = [torch.tensor(a) for a in arrays(inputs, seed)]
        module = module_of(op, inputs)
        layer = module.layer
        mask = given[2] if len(given) == 3 else None
        pad = op.sides[:2]
        theirs = deform_conv2d(
            given[0], given[1], layer.weight, layer.bias, op.stride, pad, op.dilation, mask
        )
        torch.testing.assert_close(module(*given), theirs, rtol=0, atol=LIMIT)
