"""Mean fields over all pairs by the kernel, against the library of torch in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.crf.features import bilateral, features, gaussian, pairwise  # noqa: E402
from compiler.crf.field import mean_field, unary_scores  # noqa: E402
from compiler.to_triton.kernels import dense_crf as ours  # noqa: E402
from compiler.to_triton.kernels import dense_field as fields  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.feature_tiles import NARROW, Tiles, tiles_of  # noqa: E402
from compiler.to_triton.kernels.field import rows_of  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

LIBRARY = mean_field, unary_scores, features
GATE = 2e-5
SMALL = ours.DenseConfig(16, 2, 4, 1)
"""Many tiles of few pixels."""


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that is not written holds NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def drawn(*shape: int) -> Tensor:
    drawn: Tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return drawn


GUIDE = drawn(2, 3, 9, 10) * 40
FIELDS: list[tuple[int, list[Any], dict[str, Any]]] = [
    (21, [gaussian(2.0, compat=1.0), bilateral(GUIDE, 5.0, 30.0, compat=2.0, norm="before")],
     {"iterations": 2}),
    (5, [bilateral(GUIDE, (4.0, 6.0), 3.0, energy=0.5, norm="none"),
         gaussian((1.0, 3.0), energy=[0.1, 0.2, 0.3, 0.4, 0.5], norm="mean")],
     {"returns": "log_proba", "iterations": 2, "include_self": False}),
    (3, [gaussian(2.0, norm="after", compat=torch.tensor(0.7)), pairwise(GUIDE, 60.0, norm="mean"),
         bilateral(GUIDE, 4.0, 50.0, norm="after", compat=drawn(3, 3).tolist())],
     {"mix": drawn(3, 3).tolist(), "unary_weight": [1.0, 0.5, 2.0], "returns": "logits",
      "iterations": 2, "given": "energy", "tail": 0.0}),
    (1, [bilateral(GUIDE)], {"iterations": 1}),
]  # fmt: skip
"""Classes, terms, settings."""


@pytest.mark.parametrize(("classes", "terms", "settings"), FIELDS)
def test_fields(classes: int, terms: list[Any], settings: dict[str, Any]) -> None:
    logits = (drawn(2, 10, classes, 9) * 2).permute(0, 2, 3, 1)
    assert classes == 1 or not logits.is_contiguous()
    with policy("all"), recorded() as routes:
        found = fields.dense_field(LIBRARY, logits, terms, **settings)
    assert set(routes.values()) == {"b64p2w4"}
    wanted = mean_field(logits.double(), terms, method="exact", **{**settings, "tail": 0.0})
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() <= GATE * max(1.0, float(wanted.abs().max()))


def test_half_precision_has_the_errors_of_its_format() -> None:
    logits = (drawn(1, 6, 9, 10) * 2).half()
    terms = [gaussian(), bilateral(GUIDE[:1], 5.0, 30.0)]
    with policy("all"), recorded() as routes:
        found = fields.dense_field(LIBRARY, logits, terms, iterations=1)
    assert set(routes.values()) == {"b64p1w4"}
    wanted = mean_field(logits.double(), terms, method="exact", iterations=1, tail=0.0)
    assert found.dtype == torch.float16
    assert (found - wanted).abs().max() <= 2e-3
    assert (found - wanted).abs().mean() <= 1e-4
    assert (found.argmax(1) == wanted.argmax(1)).double().mean() >= 0.999


def operands(
    f: Tensor, size: int, tail: float, classes: int = 5
) -> tuple[Tensor, Tensor, Tiles, Tensor]:
    """Rows q and x, the tiles of features [N, P, d], and K in float64, 0 between images."""
    images, pixels, _ = f.shape
    q = rows_of(drawn(images, classes, 1, pixels).softmax(1))
    each = [(-0.5 * torch.cdist(g, g).square()).exp() for g in f.double()]
    return q, q + 1, tiles_of(f, size, tail), torch.block_diag(*each)


@settings(max_examples=25)
@given(
    st.integers(1, 90),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([16, 32]),
    st.sampled_from([0.0, 1e-3, 0.3]),
    st.sampled_from([0.0, 0.5, 20.0]),
)
def test_tiles(pixels: int, images: int, width: int, size: int, tail: float, spread: float) -> None:
    """Each pixel has one place, tiles are full, and no pair above the tail is left out."""
    f = drawn(images, pixels, width) * spread
    tiles = tiles_of(f, size, tail)
    order = tiles.order.view(-1, size)
    real = order >= 0
    assert sorted(order[real].tolist()) == list(range(images * pixels))
    assert real.sum(1).view(images, -1)[:, :-1].eq(size).all()
    whose = order[:, 0] // pixels
    assert (torch.where(real, order // pixels, whose[:, None]) == whose[:, None]).all()
    flat = f.reshape(-1, width)
    assert torch.equal(tiles.feature[:, real.flatten()], flat[order[real].long()].T)
    assert sorted(tiles.work.tolist()) == list(range(len(order)))
    counts = tiles.starts.diff()
    assert (counts[tiles.work.long()].diff() <= 0).all()
    listed = torch.zeros(len(order), len(order), dtype=torch.bool)
    listed[torch.repeat_interleave(counts), tiles.columns.long()] = True
    assert (whose[:, None] == whose)[listed].all()
    place = torch.empty(images * pixels, dtype=torch.long)
    place[order[real].long()] = real.nonzero()[:, 0]
    same = torch.arange(len(flat))[:, None] // pixels == torch.arange(len(flat)) // pixels
    near = (-0.5 * torch.cdist(flat.double(), flat.double()).square()).exp() > tail * 1.001
    assert listed[place[:, None], place][near & same].all()
    middle = tiles.centre[place]
    far = float((flat - middle).norm(dim=1).max())
    assert tiles.narrow == (far <= NARROW) or abs(far - NARROW) < 1e-3


@pytest.mark.parametrize("config", sorted(ours.CONFIGS))
@pytest.mark.parametrize("sigma", [1.0, 0.05])
def test_one_launch(config: str, sigma: float) -> None:
    """Every tile, features near and far, ragged, against float64; then plain torch."""
    tile = ours.CONFIGS[config]
    f = drawn(2, 75, 5) / sigma
    q, x, tiles, kernel = operands(f, tile.tile, 0.0, 21)
    assert tiles.narrow == (sigma == 1.0)
    pre, post = drawn(150).abs() * 1e-7, drawn(150).abs() * 1e7
    wanted = post[:, None] * (kernel @ (pre[:, None] * q).double())
    rest: Any = (2, tiles.narrow, 21, True, "logits")
    first: Any = (q, x, *tiles.tensors, pre, post, None)
    found = ours.launch(*first, *rest, config=tile)
    gate = 5e-6 if tile.parts == 2 else 1e-3
    assert (found - x - wanted).abs().max() <= gate * float(wanted.abs().max())
    assert torch.equal(found, ours.launch(*first, *rest, config=tile))
    plain = ours.reference(
        q.double(), None, tiles.feature.double(), tiles.order, 2, pre.double(), post.double(),
        None, 21, True, "logits",
    )  # fmt: skip
    assert (plain - wanted).abs().max() <= 1e-6 * float(wanted.abs().max())


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("away", [1e4, 3e5])
def test_far_from_the_origin_nothing_cancels(own: bool, away: float) -> None:
    """|f|^2 + |g|^2 - 2 f.g in float32 would lose all digits; other tiles are out of range."""
    f = drawn(1, 64, 3) + away
    f[:, :32] -= 2 * away
    q, x, tiles, kernel = operands(f, SMALL.tile, 0.0)
    assert tiles.narrow
    kernel = kernel if own else kernel - torch.diag(kernel.diagonal())
    rest: Any = (None, None, None, 1, tiles.narrow, 5, own, "logits")
    found = ours.launch(q, x, *tiles.tensors, *rest, config=SMALL)
    assert (found - x - kernel @ q.double())[:, :5].abs().max() <= 1e-5


def test_skipping_leaves_out_what_is_below_the_tail() -> None:
    """Clusters: most pairs of tiles are skipped, and the rest is the whole but for the tail."""
    tail = 1e-3
    f = (drawn(1, 8, 3)[:, :, None] * 6 + drawn(1, 8, 16, 3) * 0.3).flatten(1, 2)
    q, x, tiles, kernel = operands(f, SMALL.tile, tail)
    assert len(tiles.columns) < len(tiles.work) ** 2 / 3
    rest: Any = (None, None, None, 1, tiles.narrow, 5, True, "logits")
    found = ours.launch(q, x, *tiles.tensors, *rest, config=SMALL)
    error = (found - x - kernel @ q.double())[:, :5].abs()
    lost = (kernel * (kernel < tail)) @ q.double()
    assert (error <= lost[:, :5] + 1e-5).all()
    whole = tiles_of(f, SMALL.tile, 0.0)
    assert len(whole.columns) == len(whole.work) ** 2


def test_what_stays_with_the_library() -> None:
    guide = drawn(1, 3, 3, 3)
    logits, terms = drawn(1, 2, 3, 3), [bilateral(guide)]
    learned = [bilateral(guide, srgb=torch.tensor(2.0, requires_grad=True))]
    cases: list[tuple[Tensor, list[Any], dict[str, Any]]] = [
        (logits.double(), terms, {}),
        (logits.clone().requires_grad_(), terms, {}),
        (logits, learned, {}),
        (logits, terms, {"iterations": 0}),
        (logits, [gaussian(2.0)], {"include_self": False}),
        (logits, terms, {"start": "log_softmax"}),
        (drawn(1, 300, 3, 3), terms, {"iterations": 1}),
        (drawn(1, 70, 3, 3), terms, {"iterations": 1, "mix": torch.eye(70)}),
        (logits, [pairwise(drawn(1, 22, 3, 3), 3.0)], {"iterations": 1}),
    ]
    for x, some, more in cases:
        with policy("all"), recorded() as routes:
            found = fields.dense_field(LIBRARY, x, some, **more)
        assert not routes
        assert torch.equal(found, mean_field(x, some, method="exact", **more))


def test_what_the_library_refuses_is_refused() -> None:
    guide = torch.zeros(1, 3, 2, 2)
    holed = guide.clone()
    holed[0, 0] = torch.nan
    for logits, terms, more, text in (
        (torch.full((1, 2, 2, 2), torch.nan), [bilateral(guide)], {}, "hold NaN"),
        (torch.zeros(1, 2, 2, 2), [bilateral(holed)], {}, "the guide"),
        (torch.zeros(1, 2, 2, 3), [bilateral(guide)], {}, "the guide is"),
        (torch.zeros(1, 2, 2, 2), [bilateral(guide)], {"tail": 1.0}, "`tail` lies in"),
        (torch.zeros(1, 2, 2, 2), [bilateral(guide)], {"method": "window"}, "'window'"),
    ):
        with policy("all"), pytest.raises(ValueError, match=text):
            fields.dense_field(LIBRARY, logits, terms, **more)


def call(config: ours.DenseConfig = ours.CONFIGS["b64p2w4"]) -> list[Any]:
    q, x, tiles, _ = operands(drawn(1, 6, 2), config.tile, 0.0, 3)
    return [q, x, *tiles.tensors, q[:, 0].clone(), None, torch.eye(3), 1, True, 3, True, "proba"]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({0: torch.zeros(6, 3)}, ValueError, r"rows of 3 classes are \[P, 4\]"),
        ({1: torch.zeros(5, 4)}, ValueError, "`anchor` is"),
        ({2: torch.zeros(2, 32)}, ValueError, "`feature` is"),
        ({3: torch.zeros(1, 3)}, ValueError, "`centre` is"),
        ({6: torch.zeros(1, dtype=torch.int32)}, ValueError, "`starts` is"),
        ({8: torch.zeros(5)}, ValueError, "`pre` is"),
        ({10: torch.eye(4)}, ValueError, "the matrix is"),
        ({11: 2}, ValueError, "1 tiles of 2 images"),
        ({15: "energy"}, ValueError, "'energy'"),
        ({0: torch.zeros(6, 4).half()}, TypeError, "float16"),
        ({4: torch.zeros(64)}, TypeError, "int32"),
        ({0: torch.zeros(4, 6).T}, ValueError, "gaps"),
        ({2: torch.zeros(22, 64), 3: torch.zeros(1, 22)}, ValueError, "22 features"),
    ],
)
def test_what_is_refused(change: dict[int, Any], error: type[Exception], text: str) -> None:
    given = call()
    for slot, value in change.items():
        given[slot] = value
    with pytest.raises(error, match=text):
        ours.launch(*given, config=ours.CONFIGS["b64p2w4"])


def test_large_pictures_have_too_many_pairs() -> None:
    assert ours.fallback_reason(21, 5, 1, 1024 * 1024, matrix=False) == ""
    assert "pairs of tiles" in ours.fallback_reason(2, 5, 1, 2048 * 2048, matrix=False)
    assert "2^30" in ours.fallback_reason(200, 5, 40, 256 * 256, matrix=False)


@pytest.mark.parametrize("config", ["b64p2w4", ""])
def test_the_op_is_one_of_torch(config: str) -> None:
    torch.use_deterministic_algorithms(False)  # its two runs would compare NaN
    torch.library.opcheck(ours.dense_filter._opoverload, (*call(), config))


NET = """
scores = image -> conv(3, 3, pad=1) @c
output y = scores -> mean_field([gaussian(sxy=2, compat=1.5){term}], method=exact, iterations=2
                                {settings})
"""


@pytest.mark.parametrize(
    ("settings", "term", "reason"),
    [
        ("", ", bilateral(image, sxy=9, srgb=0.3, compat=2)", ""),
        (", returns=logits, tail=0", ", bilateral(image, sxy=9, srgb=0.3, energy=[1, 2, 3])", ""),
        ("", "", "separable"),
        (", start=log_softmax", ", bilateral(image, sxy=9, srgb=0.3)", "start=log_softmax"),
    ],
)
def test_networks(settings: str, term: str, reason: str) -> None:
    found = graph(net(NET.format(settings=settings, term=term)))
    fused = fused_graph(found)
    fused.verify()
    size = {symbol: 5 for symbol in ("N", "H", "W")}
    (row,) = [row for row in plan(fused, size).rows if row.ops == ("mean_field",)]
    assert row.kernel == ("library" if reason else "dense_crf")
    assert reason in row.reason
    assert row.macs is not None
    assert bool(reason) or 0 < row.taken < row.macs
    x = torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        with policy("all"), recorded() as routes:
            y = to_triton(found)(x)
        wanted = to_torch(found).eval().double()(x.double())
    assert any(key.startswith("dense_crf") for key in routes) == (not reason)
    assert (y - wanted).abs().max() <= GATE * max(1.0, float(wanted.abs().max()))
