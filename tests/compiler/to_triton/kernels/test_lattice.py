"""Mean fields on lattices by the kernels, against the library of torch and against float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.crf.features import bilateral, features, gaussian, pairwise  # noqa: E402
from compiler.crf.field import mean_field, unary_scores  # noqa: E402
from compiler.crf.lattice import lattice_into, lattice_of, lattice_step  # noqa: E402
from compiler.to_triton.kernels import lattice as ours  # noqa: E402
from compiler.to_triton.kernels import lattice_field as fields  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.field import map_of, rows_of, stride  # noqa: E402
from compiler.to_triton.kernels.lattice_mesh import PIECE, Mesh, cut, mesh_of  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

LIBRARY = mean_field, unary_scores, features, lattice_of
GATE = 2e-5


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that is not written holds NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def drawn(*shape: int) -> Tensor:
    drawn: Tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return drawn


def wide(mesh: Mesh) -> list[Any]:
    """The mesh in float64."""
    return [t.double() if t is not None and t.is_floating_point() else t for t in mesh.tensors]


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() <= GATE * max(1.0, float(wanted.abs().max())))


GUIDE = drawn(2, 3, 7, 5) * 40
FIELDS: list[tuple[int, list[Any], dict[str, Any]]] = [
    (21, [gaussian(2.0, compat=1.0), bilateral(GUIDE, 5.0, 30.0, compat=2.0, norm="before")],
     {"iterations": 2}),
    (5, [bilateral(GUIDE, (4.0, 6.0), 25.0, energy=0.5, norm="none"), pairwise(GUIDE, 90.0)],
     {"returns": "log_proba", "iterations": 1, "start": "log_softmax"}),
    (3, [gaussian(2.0, norm="after", compat=torch.tensor(0.7)), pairwise(GUIDE, 60.0, norm="mean"),
         gaussian((1.0, 3.0), energy=[0.1, 0.2, 0.3])],
     {"mix": drawn(3, 3).tolist(), "unary_weight": [1.0, 0.5, 2.0], "returns": "logits",
      "iterations": 2, "given": "energy"}),
    (1, [gaussian(2.0)], {"iterations": 1}),
]  # fmt: skip
"""Classes, terms, settings."""


@pytest.mark.parametrize(("classes", "terms", "settings"), FIELDS)
def test_fields(classes: int, terms: list[Any], settings: dict[str, Any]) -> None:
    logits = (drawn(2, 5, classes, 7) * 2).permute(0, 2, 3, 1)
    assert classes == 1 or not logits.is_contiguous()
    with policy("all"), recorded() as routes:
        found = fields.lattice_field(LIBRARY, logits, terms, **settings)
    assert set(routes.values()) == {"r64a4w4"}
    assert found.is_contiguous()
    assert found.dtype == torch.float32
    # Not float64 here: it has other vertices where a pixel lies between two simplices.
    assert close(found, mean_field(logits, terms, **settings))


@pytest.mark.parametrize("config", sorted(ours.CONFIGS))
def test_one_launch(config: str) -> None:
    """Every configuration, and plain torch, against the library's matrices in float64."""
    terms = [gaussian(1.5), bilateral(drawn(2, 3, 3, 5), 4.0, 0.7)]
    scores, q = drawn(2, 21, 3, 5), drawn(2, 21, 3, 5).softmax(1)
    lattices = [lattice_of(features(term, scores).flatten(2)) for term in terms]
    before, after = drawn(30).abs(), drawn(30).abs() + 1
    mesh = mesh_of(lattices, [None, before], [0.5, after])
    doubles = [
        lattice._replace(
            weights=lattice.weights.double(),
            shares=lattice.shares.double(),
            blurs=[blur.double() for blur in lattice.blurs],
        )
        for lattice in lattices
    ]
    steps = [lattice_step(doubles[0], None, None, 0.5),
             lattice_step(doubles[1], before.double(), after.double())]  # fmt: skip
    rows, anchor = rows_of(q), rows_of(scores)
    x = lattice_into(anchor[:, :21].double(), rows[:, :21].double(), steps)
    rest: Any = (None, 21, "proba")
    found = ours.launch(rows, anchor, *mesh.tensors, *rest, config=ours.CONFIGS[config])
    assert close(found[:, :21], x.softmax(1))
    assert not found[:, 21:].any()
    again = ours.launch(rows, anchor, *mesh.tensors, *rest, config=ours.CONFIGS[config])
    assert torch.equal(found, again)
    plain = ours.reference(rows.double(), anchor.double(), *wide(mesh), *rest)
    assert (plain[:, :21] - x.softmax(1)).abs().max() <= 1e-6  # scaled in float32 there


def test_one_vertex_has_all_pixels() -> None:
    """A plain picture: rows are cut into pieces, and these are added up in a second pass."""
    f = torch.full((1, 1, 3 * PIECE + 5), 0.25)
    mesh = mesh_of([lattice_of(f)], [None], [1.0])
    assert mesh.pieces is not None
    assert mesh.pieces.diff().tolist() == [4] * (len(mesh.pieces) - 1)
    q = drawn(f.shape[2], stride(2))
    rest: Any = (None, 2, "logits")
    found = ours.launch(q, None, *mesh.tensors, *rest, config=ours.CONFIGS["r8a4w4"])
    wanted = ours.reference(q.double(), None, *wide(mesh), *rest)
    assert (found - wanted)[:, :2].abs().max() <= 1e-5 * float(wanted.abs().max())


def test_pieces_cover_all_parts_once() -> None:
    starts = torch.tensor([0, 0, 1, PIECE + 1, 2 * PIECE + 2, 5 * PIECE, 5 * PIECE])
    bounds, pieces = cut(starts)
    assert pieces is not None
    assert bounds.diff().max() <= PIECE
    assert torch.equal(bounds[pieces.long()], starts.int())
    assert cut(starts[:4])[1] is None


def test_rows_and_maps() -> None:
    x = drawn(2, 5, 3, 4)
    rows = rows_of(x)
    assert rows.shape == (24, 8)
    assert not rows[:, 5:].any()
    assert torch.equal(map_of(rows, x), x)


def test_half_precision_and_autocast_are_as_in_the_library() -> None:
    logits = drawn(1, 3, 4, 4).half()
    for cast in (False, True):
        with policy("all"), torch.autocast("cpu", torch.bfloat16, enabled=cast):
            found = fields.lattice_field(LIBRARY, logits, [gaussian(2.0)], iterations=1)
            wanted = mean_field(logits, [gaussian(2.0)], iterations=1)
        assert found.dtype == wanted.dtype
        assert (found - wanted).abs().max() <= 5e-4


def test_what_stays_with_the_library() -> None:
    logits, terms = drawn(1, 2, 3, 3), [gaussian(2.0)]
    cases: list[tuple[Tensor, list[Any], dict[str, Any]]] = [
        (logits.double(), terms, {}),
        (logits.clone().requires_grad_(), terms, {}),
        (logits, [gaussian(2.0, compat=torch.tensor(1.0, requires_grad=True))], {}),
        (logits, terms, {"iterations": 0}),
        (logits, [], {}),
        (drawn(1, 300, 3, 3), terms, {"iterations": 1}),
        (drawn(1, 70, 3, 3), terms, {"iterations": 1, "mix": torch.eye(70)}),
        (logits, [pairwise(drawn(1, 40, 3, 3), 30.0)], {"iterations": 1}),
    ]
    for x, given, settings in cases:
        with policy("all"), recorded() as routes:
            found = fields.lattice_field(LIBRARY, x, given, **settings)
        assert not routes
        assert torch.equal(found, mean_field(x, given, **settings))


def test_what_the_library_refuses_is_refused() -> None:
    far = [pairwise(torch.full((1, 1, 2, 2), 1e9), 1.0)]
    for logits, terms, text in (
        (torch.full((1, 2, 2, 2), torch.nan), [gaussian(2.0)], "hold NaN"),
        (torch.zeros(1, 2, 2, 2), far, "raise the sigmas"),
    ):
        with policy("all"), pytest.raises(ValueError, match=text):
            fields.lattice_field(LIBRARY, logits, terms)
    with pytest.raises(ValueError, match="'exact'"):
        fields.lattice_field(LIBRARY, torch.zeros(1, 2, 2, 2), far, method="exact")


def operands() -> list[Any]:
    mesh = mesh_of([lattice_of(drawn(1, 2, 6))], [None], [1.0])
    return [drawn(6, 4), drawn(6, 4), *mesh.tensors, torch.eye(3), 3, "proba"]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({0: torch.zeros(6, 3)}, ValueError, r"rows of 3 classes are \[P, 4\]"),
        ({1: torch.zeros(5, 4)}, ValueError, "`anchor` is"),
        ({4: torch.zeros(7)}, ValueError, "7 shares"),
        ({6: torch.zeros(3, 2, dtype=torch.int32)}, ValueError, "neighbours are"),
        ({6: torch.zeros(3, 1, 2, dtype=torch.int32)}, ValueError, "1 vertices"),
        ({7: torch.zeros(5, 3, dtype=torch.int32)}, ValueError, r"corners \[5, 3\]"),
        ({9: torch.eye(4)}, ValueError, "the matrix is"),
        ({11: "energy"}, ValueError, "'energy'"),
        ({0: torch.zeros(6, 4).half()}, TypeError, "float16"),
        ({7: torch.zeros(6, 3)}, TypeError, "int32"),
        ({0: torch.zeros(4, 6).T}, ValueError, "gaps"),
    ],
)
def test_what_is_refused(change: dict[int, Any], error: type[Exception], text: str) -> None:
    given = operands()
    for slot, value in change.items():
        given[slot] = value
    with pytest.raises(error, match=text):
        ours.launch(*given, config=ours.CONFIGS["r8a4w4"])


@pytest.mark.parametrize("config", ["r32a4w4", ""])
def test_the_op_is_one_of_torch(config: str) -> None:
    torch.use_deterministic_algorithms(False)  # its two runs would compare NaN
    torch.library.opcheck(ours.lattice_filter._opoverload, (*operands(), config))


NET = """
scores = image -> conv(3, 3, pad=1) @c
output y = scores -> mean_field([gaussian(sxy=2, compat=1.5), bilateral(image, sxy=9, srgb=0.3,
                                 compat={weight})], iterations={iterations}{settings})
"""


@pytest.mark.parametrize(
    ("settings", "weight", "iterations", "reason"),
    [
        ("", "2", 2, ""),
        (", returns=logits, given=energy", "[1, 2, 3]", 1, ""),
        ("", "2", 0, "no message is passed"),
    ],
)
def test_networks(settings: str, weight: str, iterations: int, reason: str) -> None:
    source = NET.format(settings=settings, weight=weight, iterations=iterations)
    found = graph(net(source))
    fused = fused_graph(found)
    fused.verify()
    (row,) = [row for row in plan(fused).rows if row.ops == ("mean_field",)]
    assert row.kernel == ("library" if reason else "lattice")
    assert reason in row.reason
    x = torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        with policy("all"), recorded() as routes:
            y = to_triton(found)(x)
        wanted = to_torch(found).eval().double()(x.double())
    assert any(key.startswith("lattice") for key in routes) == (not reason)
    assert close(y, wanted)
