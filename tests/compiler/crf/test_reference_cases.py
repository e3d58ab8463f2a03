"""The stored reference cases: dense float64 kernels computed elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler.crf import bilateral, gaussian, mean_field, pairwise
from compiler.crf.features import Term

HERE = Path(__file__).parent / "data"
CASES = {case["name"]: case for case in json.loads((HERE / "index.json").read_text())}
FIELDS = [name for name in CASES if "terms" in CASES[name]]
TOLERANCE = {"c13_deeplabv2_resnet": 1e-3}
"""Of exact float32, 1e-4 elsewhere: here colours stand at 85 sigmas."""

LATTICE = {
    "c01_gauss_none": (98.70, 0.29, 0.026),
    "c03_bilateral_symmetric": (100.0, 0.11, 0.001),
    "c05_norm_before": (99.87, 0.48, 0.002),
    "c07_norm_mean": (99.22, 0.26, 0.015),
    "c09_compat_matrix_asym": (99.48, 0.07, 0.020),
    "c11_compat_diag": (99.48, 0.12, 0.016),
    "c13_deeplabv2_resnet": (97.46, 0.93, 0.056),
    "c15_constant_image_1xN": (100.0, 0.001, 0.001),
    "c17_one_class": (100.0, 0.0, 0.0),
    "c21_float_guide8": (98.54, 0.11, 0.038),
}
"""Labels that agree (%), largest difference, mean L1: what the approximation costs."""


def arrays(name: str) -> dict[str, Any]:
    with np.load(HERE / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def terms(name: str, stored: dict[str, Any]) -> list[Term]:
    found = []
    guide = torch.from_numpy(stored["image"]).permute(2, 0, 1)[None]
    for place, given in enumerate(CASES[name]["terms"]):
        weights: dict[str, Any] = {"compat": given["compat"]}
        if isinstance(given["compat"], str):
            weights = {"energy": torch.from_numpy(stored[f"compat{place}"])}
        weights["norm"] = given.get("norm", "symmetric")
        if "srgb" in given:
            found.append(bilateral(guide, given["sxy"], given["srgb"], **weights))
        else:
            found.append(gaussian(given["sxy"], **weights))
    return found


def solved(
    name: str, dtype: torch.dtype, iterations: int | None = None, **options: Any
) -> np.ndarray[Any, Any]:
    stored, case = arrays(name), CASES[name]
    if case["method"] == "window":
        options = {"method": "window", "window": case["terms"][0]["window"], **options}
    return mean_field(
        torch.from_numpy(stored["unary"]).to(dtype)[None],
        terms(name, stored),
        iterations=case["iterations"] if iterations is None else iterations,
        given="energy",
        **({"method": "exact"} | options),
    )[0].numpy()


@pytest.mark.parametrize("name", FIELDS)
def test_double(name: str) -> None:
    stored = arrays(name)
    np.testing.assert_allclose(solved(name, torch.float64), stored["Q"], rtol=0, atol=1e-10)
    if "Q1" in stored:
        first = solved(name, torch.float64, iterations=1)
        np.testing.assert_allclose(first, stored["Q1"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", FIELDS)
def test_single(name: str) -> None:
    atol = 2e-5 if CASES[name]["method"] == "window" else TOLERANCE.get(name, 1e-4)
    found = solved(name, torch.float32)
    np.testing.assert_allclose(found, arrays(name)["Q"], rtol=0, atol=atol)


@pytest.mark.parametrize("name", LATTICE)
def test_lattice(name: str) -> None:
    stored = arrays(name)
    found = solved(name, torch.float32, method="lattice")
    wanted = stored["Q"]
    labels, largest, mean = LATTICE[name]
    agreeing = 100 * (found.argmax(0) == wanted.argmax(0)).mean()
    assert agreeing >= labels - 0.3
    assert abs(found - wanted).max() <= largest + 0.005  # half a unit of what is written above
    assert abs(found - wanted).sum(0).mean() <= mean + 0.0005


@pytest.mark.parametrize("tail", [6e-6, 1e-3])
def test_far_tiles_are_left_out_within_the_bound(
    tail: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small tiles, so that some are far: a row sum loses less than the tail per pixel."""
    from compiler.crf import exact

    kept = []
    whole = exact.kernel_block

    def counted(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        kept.append(len(rows) * len(columns))
        return whole(rows, columns)

    monkeypatch.setattr(exact, "TILE", 32)
    monkeypatch.setattr(exact, "kernel_block", counted)
    stored = arrays("c13_deeplabv2_resnet")
    guide = torch.from_numpy(stored["image"]).permute(2, 0, 1)[None].double()
    f = torch.cat([torch.rand(1, 2, 32, 48, dtype=torch.float64), guide / 13], 1).flatten(2)
    ones = torch.ones(1, f.shape[2], 1, dtype=torch.float64)
    cut = exact.exact_filter(f, ones, True, tail)
    assert sum(kept) < 0.6 * f.shape[2] ** 2
    full = exact.exact_filter(f, ones, True, 0.0)
    lost = full - cut
    assert 0 < float(lost.max()) < tail * f.shape[2]
    assert float(lost.min()) > -1e-9


def gradient_case(dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Gradients of the stored loss, and what they should be."""
    stored, case = arrays("c23_grad_exact"), CASES["c23_grad_exact"]
    leaves = {
        name: torch.tensor(value, dtype=dtype, requires_grad=True)
        for name, value in case["params"].items()
    }
    leaves["dU"] = torch.tensor(stored["unary"], dtype=dtype, requires_grad=True)
    leaves["dimage"] = torch.tensor(stored["image"], dtype=dtype, requires_grad=True)
    classes = len(stored["unary"])
    leaves["dmu"] = (-torch.eye(classes, dtype=dtype)).requires_grad_()
    q = mean_field(
        leaves["dU"][None],
        [
            gaussian(leaves["s_g"], compat=leaves["w_g"]),
            bilateral(
                leaves["dimage"].permute(2, 0, 1)[None],
                leaves["s_a"],
                leaves["s_b"],
                compat=leaves["w_b"],
            ),
        ],
        method="exact",
        iterations=case["iterations"],
        mix=-leaves["dmu"],
        given="energy",
    )
    loss = (torch.tensor(stored["W"], dtype=dtype) * torch.log(q[0] + 1e-12)).mean()
    assert float(loss.detach()) == pytest.approx(case["loss"], rel=1e-5)
    torch.autograd.backward(loss)
    wanted = case["grads"] | {key: stored[key] for key in ("dU", "dimage", "dmu")}
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}, wanted


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_gradients(dtype: torch.dtype, relative: float) -> None:
    found, wanted = gradient_case(dtype)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        size = np.abs(value).max()
        np.testing.assert_allclose(
            found[name].double().numpy() / size, value / size, rtol=0, atol=relative, err_msg=name
        )


def test_pairwise_takes_the_guide_alone() -> None:
    """A guide that holds the place is the bilateral term."""
    stored = arrays("c05_norm_before")
    h, w = stored["image"].shape[:2]
    place = np.stack(np.meshgrid(np.arange(w), np.arange(h))).astype(np.float32)
    guide = torch.from_numpy(np.concatenate([place, stored["image"].transpose(2, 0, 1)]))[None]
    term = pairwise(guide, [80, 80, 13, 13, 13], compat=10.0, norm="before")
    unary = torch.from_numpy(stored["unary"])[None]
    for method in ("exact", "lattice"):
        found = mean_field(unary, [term], method=method, iterations=3, given="energy")
        both = mean_field(
            unary, terms("c05_norm_before", stored)[1:], method=method, iterations=3, given="energy"
        )
        torch.testing.assert_close(found, both, rtol=0, atol=1e-6)
