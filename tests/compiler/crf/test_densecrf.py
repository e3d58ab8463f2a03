"""The facade without its peer: what it takes beyond it, and what it refuses in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler.crf as dcrf
from tests.support.scenes import scene

IMAGE, UNARY = scene(12, 15, 3)
FLAT = UNARY.reshape(3, -1)


def made(unary: Any = FLAT) -> dcrf.DenseCRF2D:
    crf = dcrf.DenseCRF2D(15, 12, 3)
    crf.setUnaryEnergy(unary)
    return crf


def test_other_types_and_layouts_are_taken() -> None:
    wanted = made()
    wanted.addPairwiseBilateral(20, 13, IMAGE, 4)
    results = [wanted.inference(3)]
    for unary, image in (
        (np.asfortranarray(FLAT.astype(np.float64)), IMAGE.astype(np.float64)),
        (FLAT.tolist(), np.asfortranarray(IMAGE.astype(np.int64))),
    ):
        crf = made(unary)
        crf.addPairwiseBilateral(20, 13, image, 4)
        results.append(crf.inference(3))
    assert all(np.array_equal(results[0], other) for other in results)
    assert results[0].dtype == np.float32
    assert results[0].shape == FLAT.shape


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_number_of_channels(channels: int) -> None:
    image = np.concatenate([IMAGE, IMAGE[::-1]], 2)[..., :channels]
    crf = made()
    crf.addPairwiseBilateral(20, 13, image, 4)
    by_features = made()
    features = dcrf.create_pairwise_bilateral((20, 20), 13, image, chdim=2)
    order = [1, 0, *range(2, 2 + channels)]
    by_features.addPairwiseEnergy(features[order], 4)
    assert np.array_equal(crf.inference(3), by_features.inference(3))
    if channels == 1:
        flat = made()
        flat.addPairwiseBilateral(20, 13, image[..., 0], 4)
        assert np.array_equal(crf.inference(3), flat.inference(3))


def test_the_arrays_of_the_caller_are_copied() -> None:
    unary, image = FLAT.copy(), IMAGE.copy()
    crf = made(unary)
    crf.addPairwiseBilateral(20, 13, image, 4)
    wanted = crf.inference(2)
    unary[:] = 0
    image[:] = 0
    assert np.array_equal(crf.inference(2), wanted)


def test_a_kernel_may_be_added_between_steps() -> None:
    crf = made()
    crf.addPairwiseGaussian(3, 3)
    q, tmp1, tmp2 = crf.startInference()
    crf.stepInference(q, tmp1, tmp2)
    crf.addPairwiseBilateral(20, 13, IMAGE, 4)
    q, tmp1, tmp2 = crf.startInference()
    for _ in range(3):
        crf.stepInference(q, tmp1, tmp2)
    np.testing.assert_allclose(q, crf.inference(3), atol=1e-6)


def test_a_small_guide_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="sees no edges"):
        made().addPairwiseBilateral(20, 13, IMAGE / 255, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dcrf.DenseCRF2D(0, 4, 2), "no 0 points"),
        (lambda: dcrf.DenseCRF(4, 0), "0 labels"),
        (lambda: made(FLAT.T), r"\[3, 180\], not \[180, 3\]"),
        (lambda: made(np.full((3, 180), np.nan)), "hold NaN"),
        (lambda: dcrf.DenseCRF(4, 2).inference(1), "setUnaryEnergy first"),
        (lambda: made().addPairwiseBilateral(1, 13, IMAGE.transpose(1, 0, 2), 4), r"\[12, 15, ch"),
        (lambda: made().addPairwiseGaussian(3, [1.0, 2.0]), r"\[3\] or \[3, 3\], not \[2\]"),
        (lambda: made().addPairwiseGaussian(3, 3, 9), "9 is not a valid KernelType"),
        (lambda: made().addPairwiseGaussian(3, 3, 1, 7), "7 is not a valid Normal"),
        (lambda: made().addPairwiseEnergy(np.zeros((2, 9)), 3), r"\[d, 180\], not \[2, 9\]"),
        (lambda: made().klDivergence(np.zeros((2, 180), np.float32)), r"q is \[3, 180\]"),
        (lambda: dcrf.unary_from_labels(np.zeros((2, 2), int), 3, 1.0), "gt_prob"),
        (lambda: dcrf.unary_from_labels(np.full(4, 4), 3, 0.5), r"0\.\.3, these in 4\.\.4"),
        (lambda: dcrf.unary_from_labels(np.full(4, 3), 3, 0.5, False), r"0\.\.2, these in 3\.\.3"),
        (lambda: dcrf.unary_from_labels(np.zeros(4), 3, 0.5), "whole numbers"),
        (lambda: dcrf.unary_from_softmax(np.ones(4)), r"not \[4\]"),
        (lambda: dcrf.unary_from_softmax(np.ones((2, 2)), 2.0), "scale"),
        (lambda: dcrf.create_pairwise_gaussian((3,), (4, 5)), "1 sigmas for 2 axes"),
        (lambda: dcrf.create_pairwise_bilateral((3, 3), (1, 2), IMAGE, 2), "2 sigmas for 3"),
    ],
)
def test_refusals_are_in_words(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
