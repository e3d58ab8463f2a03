"""Mean fields over windows by the kernel, against the library of torch in float64."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from compiler import to_torch, to_triton  # noqa: E402
from compiler.crf.features import bilateral, features, gaussian, pairwise  # noqa: E402
from compiler.crf.field import mean_field, unary_scores  # noqa: E402
from compiler.crf.messages import scales as library_scales  # noqa: E402
from compiler.crf.window import window_filter as library_filter  # noqa: E402
from compiler.crf.window import window_kernel as library_kernel  # noqa: E402
from compiler.to_triton.kernels import window_field as fields  # noqa: E402
from compiler.to_triton.kernels import window_filter as ours  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.to_triton.kernels.router import policy, recorded  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import fused_graph  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

LIBRARY = mean_field, unary_scores, features
GATE = 2e-5


def cl(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def drawn(*shape: int) -> Tensor:
    drawn: Tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return drawn


def present(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


GUIDE = drawn(2, 3, 9, 5) * 20
FIELDS: list[tuple[int, list[Any], dict[str, Any], int]] = [
    (3, [gaussian(2.0, compat=1.0), bilateral(GUIDE, 5.0, 30.0, compat=2.0, norm="before")],
     {"iterations": 2, "window": 3}, 1),
    (5, [bilateral(GUIDE, (4.0, 6.0), 25.0, energy=0.5, norm="none")],
     {"window": 3, "include_self": False, "returns": "log_proba", "iterations": 2}, 1),
    (3, [gaussian(2.0, norm="after", compat=torch.tensor(0.7)), pairwise(GUIDE, 30.0, norm="mean"),
         gaussian((1.0, 3.0), energy=0.2)],
     {"window": 3, "mix": drawn(3, 3).tolist(), "unary_weight": [1.0, 0.5, 2.0],
      "returns": "logits", "iterations": 2}, 2),
    (4, [gaussian(1.5, compat=drawn(4, 4).tolist()), gaussian(3.0, energy=[0.1, 0.2, 0.3, 0.4])],
     {"window": 3, "start": "log_softmax", "iterations": 1}, 2),
    (1, [gaussian(2.0)], {"window": 3, "iterations": 1}, 1),
    (3, [gaussian(3.0, compat=0.6, norm="none"), pairwise(GUIDE, 30.0, compat=2.0, norm="none")],
     {"window": 3, "blur": 2, "iterations": 2, "unary_weight": 0.8, "returns": "logits"}, 1),
    (3, [gaussian(3.0, norm="none"), bilateral(GUIDE, 9.0, 30.0), gaussian(2.0, norm="mean")],
     {"window": 3, "blur": 4, "iterations": 1, "mix": drawn(3, 3).tolist()}, 3),
]  # fmt: skip
"""Classes, terms, settings, and the launches of an iteration."""


@pytest.mark.parametrize(("classes", "terms", "settings", "launches"), FIELDS)
def test_fields(
    classes: int,
    terms: list[Any],
    settings: dict[str, Any],
    launches: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = drawn(2, classes, 9, 5) * 2
    if "start" in settings or "include_self" in settings:
        logits = logits[:, :, :2]
        terms = [t if t.guide is None else t._replace(guide=t.guide[:, :, :2]) for t in terms]
    count = 0
    launch = ours.launch

    def counted(*values: Any, **more: Any) -> Tensor:
        nonlocal count
        count += 1
        return launch(*values, **more)

    monkeypatch.setattr(ours, "launch", counted)
    with policy("all"), recorded() as routes:
        found = fields.window_field(LIBRARY, logits, terms, **settings)
    assert set(routes.values()) == {"t8x8w4"}
    sums = sum(term.norm != "none" for term in terms)
    assert count == sums + launches * settings["iterations"]
    wanted = mean_field(logits.double(), terms, method="window", **settings)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() <= GATE * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("config", sorted(ours.CONFIGS))
def test_one_launch(config: str) -> None:
    """Every tile, and plain torch, against the library's kernel and filter."""
    f, q = drawn(2, 5, 5, 9), drawn(2, 19, 5, 9).softmax(1)
    kernel = library_kernel(f.double(), 3, 1, True)
    pre, post = map(present, library_scales("symmetric", kernel.sum(1, keepdim=True)))
    wanted = drawn(2, 19, 5, 9).double() + post * library_filter(kernel, q.double() * pre, 1)
    anchor = cl(drawn(2, 19, 5, 9))
    scale = [cl(s.float()) for s in (pre, post)]
    rest: Any = (cl(q), anchor, ours.packed([f]), *scale, None, 1, 3, True, "proba")
    for found in (ours.launch(*rest, config=ours.CONFIGS[config]), ours.reference(*rest)):
        assert (found - wanted.softmax(1)).abs().max() <= GATE


def test_row_sums_are_a_message_of_ones() -> None:
    f = drawn(1, 2, 4, 5)
    for own in (True, False):
        sums = library_kernel(f.double(), 5, 1, own).sum(1, keepdim=True)
        for norm in ("symmetric", "before", "after", "mean"):
            for name in ("t4x8w4", "") if norm == "symmetric" else ("",):
                found = fields.scales(f, norm, fields.Window(5, own, name))
                for ours_, theirs in zip(found, library_scales(norm, sums), strict=True):
                    assert (ours_ is None) == (theirs is None)
                    if ours_ is not None:
                        wanted = present(theirs).expand_as(sums)
                        assert torch.allclose(ours_.double(), wanted, rtol=1e-5)


def test_impossible_classes_stay_impossible() -> None:
    logits = drawn(1, 3, 4, 4)
    logits[:, 1, 2] = -torch.inf
    with policy("all"):
        found = fields.window_field(LIBRARY, logits, [gaussian(2.0)], window=3, iterations=1)
    assert (found[:, 1, 2] == 0).all()
    assert found.isfinite().all()


def test_what_stays_with_the_library() -> None:
    logits, terms = drawn(1, 2, 3, 3), [gaussian(2.0)]
    cases: list[tuple[Tensor, list[Any], dict[str, Any]]] = [
        (logits.double(), terms, {}),
        (logits.clone().requires_grad_(), terms, {}),
        (logits, [gaussian(2.0, compat=torch.tensor(1.0, requires_grad=True))], {}),
        (logits, terms, {"iterations": 0}),
        (logits, terms, {"iterations": 0, "blur": 2}),
        (drawn(1, 300, 3, 3), terms, {"iterations": 1}),
        (drawn(1, 70, 3, 3), terms, {"iterations": 1, "mix": torch.eye(70)}),
    ]
    for x, given, settings in cases:
        with policy("all"), recorded() as routes:
            found = fields.window_field(LIBRARY, x, given, window=3, **settings)
        assert not routes
        wanted = mean_field(x, given, method="window", window=3, **settings)
        assert torch.equal(found, wanted)


def test_bad_scores_are_refused_as_by_the_library() -> None:
    logits = torch.full((1, 2, 3, 3), torch.nan)
    with policy("all"), pytest.raises(ValueError, match="hold NaN"):
        fields.window_field(LIBRARY, logits, [gaussian(2.0)])
    for window, blur in ((4, 1), (3, 3), (3, 0)):
        with policy("all"), pytest.raises(ValueError, match=r"is odd|1 or even"):
            fields.window_field(
                LIBRARY, torch.zeros(1, 2, 3, 3), [gaussian(2.0)], window=window, blur=blur
            )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({1: torch.zeros(1, 3, 4, 4)}, ValueError, "`anchor` is"),
        ({2: torch.zeros(1, 6, 4, 4)}, ValueError, "pack them"),
        ({4: torch.zeros(1, 2, 4, 4)}, ValueError, "`post` is"),
        ({5: torch.zeros(3, 3)}, ValueError, "the matrix is"),
        ({7: 4}, ValueError, "the window is odd"),
        ({9: "energy"}, ValueError, "'energy'"),
        ({0: torch.zeros(1, 2, 4, 4).half()}, TypeError, "float16"),
    ],
)
def test_what_is_refused(change: dict[int, Any], error: type[Exception], text: str) -> None:
    given: list[Any] = [torch.zeros(1, 2, 4, 4), None, torch.zeros(1, 8, 4, 4), None, None, None,
                        1, 3, True, "proba"]  # fmt: skip
    for slot, value in change.items():
        given[slot] = value
    given = [cl(v) if isinstance(v, Tensor) and v.dim() == 4 else v for v in given]
    with pytest.raises(error, match=text):
        ours.launch(*given, config=ours.CONFIGS["t8x8w4"])


@pytest.mark.parametrize("config", ["t4x4w2", ""])
def test_the_op_is_one_of_torch(config: str) -> None:
    q, f = cl(drawn(2, 3, 3, 4)), ours.packed([drawn(2, 2, 3, 4)])
    given = (q, q + 1, f, None, None, torch.eye(3), 1, 3, True, "proba", config)
    torch.library.opcheck(ours.window_filter._opoverload, given)


NET = """
scores = image -> conv(4, 3, pad=1) @c
output y = scores -> mean_field([gaussian(sxy=2, compat=1.5), bilateral(image, sxy=9, srgb=0.3,
                                 compat={weight})], iterations=2, {settings})
"""


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ("method=window, window=3", "2"),
        ("method=window, window=3, returns=logits, given=energy", "[1, 2, 3, 4]"),
        ("method=window, window=3, blur=2", "2"),
    ],
)
def test_networks(settings: str, weight: str) -> None:
    found = graph(net(NET.format(settings=settings, weight=weight)))
    fused = fused_graph(found)
    fused.verify()
    (row,) = [row for row in plan(fused).rows if row.ops == ("mean_field",)]
    assert row.kernel == "window_filter"
    x = torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        with policy("all"), recorded() as routes:
            y = to_triton(found)(x)
        wanted = to_torch(found).eval().double()(x.double())
    assert any(key.startswith("window_filter") for key in routes)
    assert (y - wanted).abs().max() <= GATE * max(1.0, float(wanted.abs().max()))
