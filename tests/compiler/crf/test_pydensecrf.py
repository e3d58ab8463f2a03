"""The facade and the lattice against the library whose place they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import compiler.crf as ours
from tests.support.peers import need
from tests.support.scenes import energies, scene

theirs = need("pydensecrf.densecrf")
utils = need("pydensecrf.utils")
data = need("skimage.data")

Array = NDArray[Any]
KERNELS = {
    "pydensecrf": ((3, 3), (10, 80, 13)),
    "deeplab_v1": ((3, 3), (4, 49, 5)),
    "deeplab_v2_vgg": ((2, 2), (4, 65, 3)),
    "deeplab_v2_resnet": ((3, 1), (4, 67, 3)),
}


def astronaut(side: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """A real picture, and scores that follow its brightness."""
    top = (512 - side) // 2
    image = np.ascontiguousarray(data.astronaut()[top : top + side, top : top + side])
    labels = image.astype(int).sum(-1) * classes // 766
    rng = np.random.default_rng(seed)
    return image, energies(np.roll(labels, 2, (0, 1)), classes, rng)


def solved(library: Any, image: Array, unary: Array, preset: str, iterations: int = 10) -> Array:
    (weight, sxy), (colour_weight, colour_sxy, srgb) = KERNELS[preset]
    classes, h, w = unary.shape
    crf = library.DenseCRF2D(w, h, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1)))
    crf.addPairwiseGaussian(sxy=sxy, compat=weight)
    crf.addPairwiseBilateral(sxy=colour_sxy, srgb=srgb, rgbim=image, compat=colour_weight)
    return np.array(crf.inference(iterations)).reshape(unary.shape)


def agree(found: Array, wanted: Array, largest: float = 0.01) -> None:
    assert found.shape == wanted.shape
    assert (found.argmax(0) == wanted.argmax(0)).mean() >= 0.9999
    assert abs(found - wanted).max() <= largest


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_full_size(kind: str) -> None:
    image, unary = scene(512, 512, 3, 50) if kind == "synthetic" else astronaut(512, 3)
    wanted = solved(theirs, image, unary, "pydensecrf")
    agree(solved(ours, image, unary, "pydensecrf"), wanted)


@pytest.mark.parametrize("preset", KERNELS)
@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_presets(kind: str, preset: str) -> None:
    image, unary = scene(96, 130, 7, 20) if kind == "synthetic" else astronaut(112, 7)
    agree(solved(ours, image, unary, preset), solved(theirs, image, unary, preset), 2e-3)


def test_features_are_rounded_as_there() -> None:
    """One unit in the last place of a scale moves a few of these pixels to other simplices."""
    image, unary = scene(256, 256, 2, 28, seed=1)
    found, wanted = (
        solved(library, image, unary, "deeplab_v2_resnet", iterations=1)
        for library in (ours, theirs)
    )
    assert abs(found - wanted).max() <= 1e-5


NORMS = ["NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["number", "vector", "matrix"])
def test_signs_and_norms(norm: str, kind: str) -> None:
    """A number attracts, a vector is an energy, a matrix an energy that is made symmetric."""
    image, unary = scene(40, 50, 4)
    rng = np.random.default_rng(3)
    scale = 0.02 if norm == "NO_NORMALIZATION" else 2.0
    compat: Any = {
        "number": 1.5 * scale,
        "vector": (scale * rng.normal(size=4)).astype(np.float32),
        "matrix": (scale * rng.normal(size=(4, 4))).astype(np.float32),
    }[kind]
    results, divergences = [], []
    for library in (ours, theirs):
        crf = library.DenseCRF2D(50, 40, 4)
        crf.setUnaryEnergy(unary.reshape(4, -1))
        crf.addPairwiseGaussian((3, 2), compat, library.DIAG_KERNEL, getattr(library, norm))
        crf.addPairwiseBilateral(
            (30, 20), (13, 11, 9), image, compat, library.FULL_KERNEL, getattr(library, norm)
        )
        results.append(np.array(crf.inference(4)).reshape(unary.shape))
        q, tmp1, tmp2 = crf.startInference()
        steps = []
        for _ in range(4):
            crf.stepInference(q, tmp1, tmp2)
            steps.append(crf.klDivergence(q))
        np.testing.assert_allclose(np.array(q), results[-1].reshape(4, -1), atol=1e-5)
        divergences.append(steps)
    agree(results[0], results[1])
    np.testing.assert_allclose(divergences[0], divergences[1], rtol=2e-4, atol=0.5)


def test_points_with_features_of_their_own() -> None:
    rng = np.random.default_rng(0)
    unary = rng.normal(size=(3, 200)).astype(np.float32)
    features = rng.normal(size=(6, 200)).astype(np.float32)
    results = []
    for library in (ours, theirs):
        crf = library.DenseCRF(200, 3)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseEnergy(features, 2.0)
        results.append(np.array(crf.inference(5)))
    agree(results[0], results[1])


def test_features_of_the_helpers_are_those_of_the_methods() -> None:
    """Sigmas in the order (row, column) there, (x, y) here."""
    image, unary = scene(40, 50, 4)
    results = []
    for by_helper in (True, False):
        crf = ours.DenseCRF2D(50, 40, 4)
        crf.setUnaryEnergy(unary.reshape(4, -1))
        if by_helper:
            features = ours.create_pairwise_bilateral((20, 30), (13, 11, 9), image, chdim=2)
            crf.addPairwiseEnergy(features[[1, 0, 2, 3, 4]], 5)
        else:
            crf.addPairwiseBilateral((30, 20), (13, 11, 9), image, 5)
        results.append(crf.inference(5))
    np.testing.assert_array_equal(results[0], results[1])


def test_helpers() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 7, 3), np.uint8)
    p = rng.dirichlet(np.full(4, 0.1), (6, 7)).transpose(2, 0, 1).astype(np.float32)
    labels = rng.integers(0, 5, (6, 7))
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("unary_from_softmax", (p,)),
        ("unary_from_softmax", (p, 0.7)),
        ("unary_from_softmax", (p, 0.7, None)),
        ("unary_from_labels", (labels, 4, 0.7)),
        ("unary_from_labels", (labels, 5, 0.6, False)),
        ("create_pairwise_gaussian", ((3, 5), (6, 7))),
        ("create_pairwise_gaussian", ((3, 5, 2), (3, 4, 2))),
        ("create_pairwise_bilateral", ((3, 5), (13, 11, 9), image, 2)),
        ("create_pairwise_bilateral", ((3, 5), 13, image[..., 0])),
        ("create_pairwise_bilateral", ((3, 5), 7, image.transpose(2, 0, 1), 0)),
    ]
    for name, arguments in calls:
        found, wanted = getattr(ours, name)(*arguments), getattr(utils, name)(*arguments)
        assert found.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=name)


def test_the_names_are_the_same() -> None:
    internal = {"ConstUnary", "LogisticUnary", "Unary", "Number", "eigen"}
    assert {n for n in dir(theirs) if n[0] != "_"} - internal <= set(dir(ours))
    for name in ("DenseCRF", "DenseCRF2D"):
        methods = {n for n in dir(getattr(theirs, name)) if n[0] != "_"}
        assert methods - {"setUnary"} <= set(dir(getattr(ours, name)))  # takes one of `internal`
    for name in ("CONST_KERNEL", "DIAG_KERNEL", "FULL_KERNEL", *NORMS):
        assert int(getattr(ours, name)) == getattr(theirs, name).value
