from __future__ import annotations

import math
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.weights.draw import Stream, log, quantile
from compiler.weights.init import initialise
from compiler.weights.table import Array
from segdsl.diagnostics import SegError
from segdsl.source import Source, Span
from segdsl.types import INITIALISERS, ONES, ZEROS, Initialiser, Param

KERNEL = Param((64, 32, 3, 3))


def one(param: Param, seed: int = 0, path: str = "a.weight") -> Array:
    return initialise({path: param}, seed)[path]


def refusal(params: dict[str, Param], **options: object) -> SegError:
    with pytest.raises(SegError) as caught:
        initialise(params, **options)  # type: ignore[arg-type]
    return caught.value


def test_uniform_follows_its_published_recipe() -> None:
    # Written out with Python integers, apart from the implementation.
    digest = sha256(b"7:a.weight").digest()
    words = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(5)
    expected = [((int(word) >> 40) * 2.0**-24 * 2 - 1) * 0.5 for word in words]
    got = one(Param((5,), fan_in=4), seed=7)
    assert got.tolist() == [np.float32(value) for value in expected]


def test_bits_are_fixed() -> None:
    # A change here changes every golden weight: it must be on purpose.
    params = {"u": Param((9, 5)), "n": Param((9, 5), Initialiser("normal", 1.0))}
    weights = initialise(params, 3)
    digest = sha256(weights["u"].tobytes() + weights["n"].tobytes()).hexdigest()
    assert digest == "0d5d9d0f9c9e9402af433c1ef5a82f4a2b0c988ed23f3c4b5bf08a99e7b672b6"


def test_equal_under_every_hash_seed() -> None:
    code = (
        "from compiler.weights import initialise; from segdsl.types import Param; import hashlib;"
        "w = initialise({'b': Param((70000,), fan_in=3), 'a': Param((3, 4))});"
        "print(list(w), hashlib.sha256(b''.join(x.tobytes() for x in w.values())).hexdigest())"
    )
    results = set()
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        results.add(done.stdout)
    assert len(results) == 1
    assert next(iter(results)).startswith("['b', 'a']")


@given(st.permutations(["a", "b.weight", "b.bias", "c"]), st.integers(0, 2**70))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_an_array_depends_on_nothing_but_seed_and_path(order: list[str], seed: int) -> None:
    table = initialise({path: KERNEL for path in order}, seed)
    assert list(table) == order
    for path in order:
        assert np.array_equal(table[path], one(KERNEL, seed, path))
    assert not np.array_equal(table["a"], table["c"])
    assert not np.array_equal(table["a"], one(KERNEL, seed + 1, "a"))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("uniform", 1 / math.sqrt(32 * 9)),
        ("kaiming_uniform", math.sqrt(6 / (32 * 9))),
        ("xavier_uniform", math.sqrt(6 / (32 * 9 + 64 * 9))),
    ],
)
def test_uniform_families_fill_the_bounds_that_torch_has(name: str, bound: float) -> None:
    peer = torch.empty(64, 32, 3, 3)
    if name == "uniform":
        torch.nn.init.kaiming_uniform_(peer, a=math.sqrt(5))
    elif name == "kaiming_uniform":
        torch.nn.init.kaiming_uniform_(peer, nonlinearity="relu")
    else:
        torch.nn.init.xavier_uniform_(peer)
    got = one(Param((64, 32, 3, 3), Initialiser(name)))
    assert got.dtype == np.float32
    for values in (got, peer.numpy()):
        assert np.abs(values).max() <= np.float32(bound)
        assert np.abs(values).max() > 0.999 * bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert abs(values.mean()) < 0.02 * bound


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (Initialiser("kaiming_normal"), math.sqrt(2 / (32 * 9))),
        (Initialiser("kaiming_normal_fan_out"), math.sqrt(2 / (64 * 9))),
        (Initialiser("normal", 0.3), 0.3),
        (Initialiser("trunc_normal"), 0.02),
        (Initialiser("trunc_normal", 0.5), 0.5),
    ],
)
def test_normal_families_have_the_distribution(init: Initialiser, std: float) -> None:
    ordered = np.sort(one(Param((64, 32, 3, 3), init)).ravel().astype(np.float64))
    expected = torch.special.ndtr(torch.tensor(ordered / std)).numpy()
    steps = (np.arange(ordered.size) + 0.5) / ordered.size
    # Kolmogorov-Smirnov, p = 0.01.
    assert np.abs(expected - steps).max() < 1.63 / math.sqrt(ordered.size)


def test_kaiming_deviations_are_those_of_torch() -> None:
    for mode, name in (("fan_in", "kaiming_normal"), ("fan_out", "kaiming_normal_fan_out")):
        peer = torch.nn.init.kaiming_normal_(torch.empty(64, 32, 3, 3), mode=mode)  # type: ignore[arg-type]
        got = one(Param((64, 32, 3, 3), Initialiser(name)))
        assert got.std() == pytest.approx(float(peer.std()), rel=0.03)


def test_trunc_normal_is_cut_at_two_as_in_torch() -> None:
    got = one(Param((200_000,), Initialiser("trunc_normal", 2.0))).astype(np.float64)
    peer = torch.nn.init.trunc_normal_(torch.empty(200_000), std=2.0)
    assert np.abs(got).max() <= 2.0
    assert np.abs(got).max() > 1.999
    assert got.std() == pytest.approx(float(peer.std()), rel=0.01)


def test_a_bias_uses_the_fan_of_its_layer() -> None:
    got = one(Param((4000,), fan_in=100))
    assert 0.0995 < np.abs(got).max() <= 0.1


@given(st.floats(1e-300, 1.0, exclude_max=True))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_quantile_and_logarithm_are_exact_to_the_last_digits(p: float) -> None:
    expected = float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))
    assert quantile(np.array([p]))[0] == pytest.approx(expected, rel=1e-13, abs=1e-15)
    assert log(np.array([p]))[0] == pytest.approx(math.log(p), rel=1e-15)


def test_chunks_do_not_show() -> None:
    whole, parts = np.zeros(200_001), np.zeros(200_001)
    Stream(0, "x").normal(whole, 1.0)
    stream = Stream(0, "x")
    stream.normal(parts[:70_000], 1.0)
    stream.normal(parts[70_000:], 1.0)
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("size", range(1, 17))
def test_bilinear_is_the_filter_of_fcn(size: int) -> None:
    # The formula of the FCN authors' surgery.py, which pytorch-fcn copies.
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    rows, columns = np.ogrid[:size, :size]
    expected = (1 - abs(rows - centre) / factor) * (1 - abs(columns - centre) / factor)
    got = one(Param((5, 5, size, size), Initialiser("bilinear")))
    for i in range(5):
        for j in range(5):
            wanted = expected if i == j else np.zeros((size, size))
            assert np.array_equal(got[i, j], wanted.astype(np.float32))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_bilinear_upsamples_as_torch_does(factor: int) -> None:
    kernel = 2 * factor
    weight = one(Param((3, 3, kernel, kernel), Initialiser("bilinear")))
    picture = torch.randn(1, 3, 9, 7)
    got = torch.nn.functional.conv_transpose2d(
        picture, torch.tensor(weight), stride=factor, padding=factor // 2
    )
    peer = torch.nn.functional.interpolate(picture, scale_factor=factor, mode="bilinear")
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    assert got.shape == peer.shape
    torch.testing.assert_close(got[inner], peer[inner], atol=2e-6, rtol=0)


def test_bilinear_takes_one_kernel_per_channel_and_other_aspects() -> None:
    got = one(Param((3, 1, 4, 3), Initialiser("bilinear")))
    expected = np.outer([0.25, 0.75, 0.75, 0.25], [0.5, 1.0, 0.5])
    assert np.array_equal(got, np.broadcast_to(expected, (3, 1, 4, 3)).astype(np.float32))


def test_identity_is_torchs_dirac() -> None:
    for shape in ((4, 4, 3, 3), (4, 4, 1, 5), (4, 4, 3)):
        got = one(Param(shape, Initialiser("identity")))
        assert np.array_equal(got, torch.nn.init.dirac_(torch.empty(shape)).numpy())
    depthwise = torch.nn.init.dirac_(torch.empty(6, 1, 3, 3), groups=6).numpy()
    assert np.array_equal(one(Param((6, 1, 3, 3), Initialiser("identity"))), depthwise)
    assert np.array_equal(one(Param((4, 4), Initialiser("identity"))), np.eye(4))


def test_constants() -> None:
    assert one(Param((2, 3), ZEROS)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert one(Param((3,), ONES)).tolist() == [1, 1, 1]
    assert one(Param((2,), Initialiser("constant", 1e-5))).tolist() == [np.float32(1e-5)] * 2
    assert np.array_equal(one(Param((3, 3), Initialiser("eye", 5.0))), 5 * np.eye(3))
    bias = one(Param((2,), Initialiser("prior_bias", 0.01)))
    assert float(torch.sigmoid(torch.tensor(bias))[0]) == pytest.approx(0.01)


def test_element_types() -> None:
    types: dict[str, type[np.generic]] = {
        "f16": np.float16,
        "bf16": np.float32,
        "f32": np.float32,
        "f64": np.float64,
    }
    types["u8"], types["i64"], types["bool"] = np.uint8, np.int64, np.bool_
    for name, kind in types.items():
        assert one(Param((), ZEROS, dtype=name)).dtype == kind  # type: ignore[arg-type]
    assert one(Param((), ZEROS, dtype="i64")).shape == ()


MISFITS = [
    (Param((512, 21, 4, 4), Initialiser("bilinear")), "equal channels"),
    (Param((21,), Initialiser("bilinear")), "4-axis"),
    (Param((8, 4, 3, 3), Initialiser("identity")), "equal channels"),
    (Param((8,), Initialiser("identity")), "two axes"),
    (Param((3, 4), Initialiser("eye", 1.0)), "square"),
    (Param((3, 3), Initialiser("eye")), "needs its number"),
    (Param((3,), Initialiser("prior_bias", 1.0)), "between 0 and 1"),
    (Param((3,), Initialiser("constant")), "needs its number"),
    (Param((3,), Initialiser("constant", math.inf)), "finite"),
    (Param((3,), Initialiser("normal", 0.0)), "above 0"),
    (Param((3,), Initialiser("trunc_normal", 1e9)), "nearly uniform"),
    (Param((3,)), "a fan"),
    (Param((3,), Initialiser("xavier_uniform"), fan_in=3), "two axes"),
    (Param((3, 0)), "a fan"),
    (Param((3,), Initialiser("orthogonal")), "no initialiser"),
]


@pytest.mark.parametrize(("param", "words"), MISFITS)
def test_misfits_are_diagnostics(param: Param, words: str) -> None:
    (diagnostic,) = refusal({"x.weight": param}).diagnostics
    assert diagnostic.code == "E5005"
    assert words in diagnostic.message
    assert "`x.weight`" in diagnostic.message


def test_all_misfits_come_at_once_with_their_places() -> None:
    source = Source("net.seg", "up = conv_transpose(21)")
    bad = Param((512, 21, 4, 4), Initialiser("bilinear"))
    error = refusal(
        {"up.weight": bad, "fine": KERNEL, "up2.weight": bad},
        owners={"up.weight": Span(source, 0, 2)},
    )
    assert [d.span for d in error.diagnostics] == [Span(source, 0, 2), None]
    assert "512x21" in error.diagnostics[0].message


def test_every_initialiser_of_the_language_works() -> None:
    for name, argument in INITIALISERS.items():
        shape = (4, 4) if name == "eye" else (4, 4, 3, 3)
        got = one(Param(shape, Initialiser(name, 0.5 if argument else None)))
        assert np.isfinite(got).all()
        assert (got != 0).any() == (name not in ("zeros", "prior_bias"))


def test_fixture() -> None:
    params = {
        "c.weight": Param((64, 32, 3, 3)),
        "c.bias": Param((64,), fan_in=288),
        "bn.weight": Param((4000,), ONES),
        "bn.bias": Param((4000,), ONES),
        "bn.running_mean": Param((4000,), ZEROS, learned=False),
        "bn.running_var": Param((4000,), ONES, learned=False),
        "bn.num_batches_tracked": Param((), ZEROS, learned=False, dtype="i64"),
        "up.weight": Param((3, 3, 4, 4), Initialiser("bilinear")),
    }
    table = initialise(params, 1, style="fixture")
    bound = math.sqrt(6 / 288)
    assert 0.999 * bound < np.abs(table["c.weight"]).max() <= np.float32(bound)
    assert not table["c.bias"].any()
    assert not table["bn.bias"].any()
    assert (table["bn.weight"] == 1).all()
    mean, var = table["bn.running_mean"], table["bn.running_var"]
    assert -0.2 <= mean.min() < -0.199
    assert 0.199 < mean.max() < 0.2
    assert 1 <= var.min() < 1.01
    assert 2.99 < var.max() < 3
    assert np.array_equal(table["up.weight"], initialise(params)["up.weight"])
    with pytest.raises(ValueError, match="unknown style"):
        initialise(params, style="Fixture")  # type: ignore[arg-type]
