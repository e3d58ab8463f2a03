"""The kernels on a CUDA GPU, compiled: every configuration and dtype against float64.

Run with `SEGDSL_GPU=1 pytest -m gpu`: without the variable kernels are interpreted.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

import torch  # noqa: E402

from benchmarks.kernels import dcnv3, depthwise_norm  # noqa: E402
from benchmarks.kernels.case import Case  # noqa: E402
from benchmarks.kernels.check import checked  # noqa: E402
from compiler import to_torch, to_triton  # noqa: E402
from compiler.to_triton.kernels import aspp, conv, upsample  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.verify.comparisons import Options, against_targets  # noqa: E402
from segdsl.program import load  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(INTERPRETED, reason="kernels are interpreted: set SEGDSL_GPU=1"),
]

GATES = {torch.bfloat16: 2.5e-3, torch.float16: 4e-4, torch.float32: 1e-6}
LAST = torch.channels_last


def close(y: torch.Tensor, reference: torch.Tensor) -> bool:
    error = float((y.double() - reference).norm() / reference.norm())
    return error <= GATES[y.dtype]


def noise(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    x = torch.randn(*shape, device="cuda", dtype=dtype) / scale
    return x.contiguous(memory_format=LAST) if len(shape) == 4 else x


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize("config", conv.CONFIGS)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "residual", "image"),
    [(3, 1, 2, False, False), (3, 2, 1, True, False), (1, 1, 1, True, False),
     (1, 1, 1, False, True)],
)  # fmt: skip
def test_convolutions(
    dtype: torch.dtype,
    config: str,
    kernel: int,
    stride: int,
    dilation: int,
    residual: bool,
    image: bool,
) -> None:
    torch.manual_seed(0)
    n, c, h, w, k = 2, 192, 33, 29, 136
    x = noise(n, c, h, w, dtype=dtype)
    weight = noise(k, c, kernel, kernel, dtype=dtype, scale=(c * kernel * kernel) ** 0.5)
    bias, own = noise(k, dtype=dtype), noise(n, k, dtype=dtype) if image else None
    pad = dilation * (kernel // 2)
    rest: Any = ([stride] * 2, [pad] * 2, [dilation] * 2, "relu", "silu", 0.0)
    size = [conv.out_size(s, kernel, stride, pad, dilation) for s in (h, w)]
    more = noise(n, k, size[0], size[1], dtype=dtype) if residual else None
    wide = [None if t is None else t.double() for t in (x, weight, bias, more, own)]
    reference = conv.reference(wide[0], wide[1], wide[2], wide[3], *rest, image_bias=wide[4])  # type: ignore[arg-type, misc]
    out = torch.full_like(reference, torch.nan, dtype=dtype).contiguous(memory_format=LAST)
    call: Any = (x, conv.pack(weight), bias, more, [kernel] * 2, *rest)
    tile = conv.CONFIGS[config]
    y = conv.launch(*call, config=tile, out=out, image_bias=own)
    assert close(y, reference)
    assert torch.equal(y, conv.launch(*call, config=tile, image_bias=own))


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize("config", aspp.CONFIGS)
@pytest.mark.parametrize(
    ("rates", "size"),
    [((0, 12, 24, 36), (65, 65)), ((0, 6, 12), (13, 10)), ((6, 12, 18), (7, 33))],
    ids=str,
)
def test_pyramids(
    dtype: torch.dtype, config: str, rates: tuple[int, ...], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    c, k = 128, 72
    x = noise(2, c, *size, dtype=dtype)
    sides = [3 if rate else 1 for rate in rates]
    weights = [noise(k, c, s, s, dtype=dtype, scale=(c * s * s) ** 0.5) for s in sides]
    bias = noise(len(rates) * k, dtype=dtype)
    wide = [weight.double() for weight in weights]
    reference = aspp.reference(x.double(), wide, bias.double(), list(rates), "relu", 0.0)
    out = torch.full_like(reference, torch.nan, dtype=dtype).contiguous(memory_format=LAST)
    call: Any = (x, aspp.pack(weights), bias, list(rates), "relu", 0.0)
    y = aspp.launch(*call, config=aspp.CONFIGS[config], out=out)
    assert close(y, reference)
    assert torch.equal(y, aspp.launch(*call, config=aspp.CONFIGS[config]))


@pytest.mark.parametrize("dtype", GATES, ids=str)
@pytest.mark.parametrize("config", upsample.CONFIGS)
@pytest.mark.parametrize("classes", [2, 19, 150])
def test_labels(dtype: torch.dtype, config: str, classes: int) -> None:
    """Equal wherever float64 does not call it a tie."""
    torch.manual_seed(0)
    x, size = noise(2, classes, 17, 23, dtype=dtype), [65, 90]
    full = torch.nn.functional.interpolate(x.double(), size, mode="bilinear")
    best = full.topk(2, 1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    y = upsample.launch(x, size, False, torch.int64, config=upsample.CONFIGS[config])
    assert clear.double().mean() > 0.99
    assert torch.equal(y[clear], full.argmax(1)[clear])


DTYPES = ["bfloat16", "float16", "float32"]
RAGGED = dcnv3.Shape(2, 80, 19, 23, 5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "backward"),
    [
        (RAGGED, False),
        (dcnv3.Shape(1, 96, 11, 6, 3, slices=False, scale=2.0), False),
        (RAGGED, True),
        (dcnv3.Shape(1, 6, 7, 9, 2, slices=False), True),
    ],
    ids=str,
)
def test_samplings(dtype: str, shape: dcnv3.Shape, backward: bool) -> None:
    passes(dcnv3.case(shape, dtype, backward))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [6, 80, 512])
def test_depthwise_norms(dtype: str, channels: int) -> None:
    passes(depthwise_norm.case(dcnv3.Shape(2, channels, 19, 23, 2), dtype))


def passes(case: Case, device: str = "cuda") -> None:
    """Every configuration is within the gate of float64, twice."""
    found = checked(case, device)
    assert {name: run["reason"] for name, run in found.items()} == dict.fromkeys(case.configs, "")


@pytest.mark.parametrize("name", ["deeplabv3", "unet", "internimage"])
def test_networks_pass_on_the_gpu(name: str) -> None:
    options = Options(sizes=((65, 97),), batches=(2,), images=("noise",))
    report = against_targets(load(name), None, ("triton",), options)
    assert report.passed, report
    assert report.ways["triton"].startswith(f"kernels ran on {torch.cuda.get_device_name()}")


def test_half_a_network() -> None:
    """bfloat16 end to end: no kernel changes more classes than the library does."""
    torch.manual_seed(0)
    network = load("deeplabv3", depth=50, aux=False)
    image = torch.rand(1, 3, 129, 129, device="cuda")
    module = to_triton(network).cuda().bfloat16()
    shares = {}
    with torch.no_grad():
        wanted = to_torch(network).eval().double().cuda()(image.double())
        for how in ("all", "none"):
            with policy(how), recorded() as routes:
                got = module(image.bfloat16().contiguous(memory_format=LAST))
            shares[how] = float((got.double() - wanted).norm() / wanted.norm())
            assert ("library" in set(routes.values())) == (how == "none")
    assert shares["all"] <= 1.5 * shares["none"] + 1e-3
