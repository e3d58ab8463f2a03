"""From a file of scores and a picture to a refined mask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compiler.crf import bilateral, gaussian, mean_field, pairwise
from compiler.crf.features import Term
from compiler.files import check_writable
from compiler.refine.panel import panel_png
from compiler.refine.scores import Scores, check_classes, fitted, read_scores, unfit
from compiler.run.files import check_outputs
from compiler.run.masks import INDEXED, Classes, mask_png
from compiler.run.pictures import Picture, read_picture
from compiler.together import write_all
from segdsl.diagnostics import Diagnostic, SegError, text_helps

StrPath = str | os.PathLike[str]
Numbers = float | tuple[float, ...]


@dataclass(frozen=True)
class Kernels:
    """The two kernels; a weight is a number or one per class, `None` leaves the kernel out."""

    gaussian_weight: Numbers | None
    gaussian_sxy: Numbers
    bilateral_weight: Numbers | None
    bilateral_sxy: Numbers | None
    bilateral_srgb: Numbers
    norm: str


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes:
        kernels: the pairwise terms.
        options: further arguments of `mean_field`, but for `given` and `returns`.
        given: what the scores are: `logits`, `proba`, `energy`.
        returns: what the refined scores are to be: `proba`, `logits`, `log_proba`.
        classes: how many classes the scores should have, where it was said.
        resize: enlarge the scores to the picture.
    """

    kernels: Kernels
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: str = "logits"
    returns: str = "proba"
    classes: int | None = None
    resize: bool = False


@dataclass(frozen=True)
class Report:
    """The files, in the order of writing, and sentences for the user."""

    written: tuple[Path, ...]
    lines: tuple[str, ...]


def refine(
    job: Job,
    scores: StrPath,
    picture: StrPath,
    mask: StrPath,
    *,
    panel: StrPath | None = None,
    refined: StrPath | None = None,
) -> Report:
    """Write the mask of refined scores and, where asked for, a panel and the scores themselves.

    Raises:
        SegError: E0101, E0110, E0111 a file that cannot be read, E0115 scores that do not fit,
            E0106 an output cannot be written. Nothing is written then.
    """
    check_outputs(mask, panel, inputs=[scores, picture])
    if refined is not None:
        _check_refined(refined, [scores, picture])
    read = read_picture(picture)
    found = read_scores(scores, job.given)
    check_classes(found, job.classes, _lists(job.kernels, job.options))
    found = fitted(found, read.height, read.width, resize=job.resize, given=job.given)
    guide, notes = guide_of(read, job.kernels)
    values = _solved(job, found, guide)
    before = classes_of(-found.values if job.given == "energy" else found.values)
    after = classes_of(values)
    contents = [(Path(mask), mask_png(after))]
    if panel is not None:
        contents.append((Path(panel), panel_png(read.shown(), before, after)))
    if refined is not None:
        contents.append((Path(refined), npy(values)))
    write_all(contents)
    changed = f"{100 * float((before != after).mean()):.2f} % of the pixels changed their class"
    return Report(tuple(path for path, _ in contents), (*found.notes, *notes, changed))


def guide_of(picture: Picture, kernels: Kernels) -> tuple[torch.Tensor, list[str]]:
    """The picture as a guide [1, G, h, w], 0 to 255, and what was done to it."""
    notes = [f"{picture.name} {note}" for note in picture.notes]
    if picture.is_array:
        low = float(np.min(kernels.bilateral_srgb))
        if low >= 2 and float(abs(picture.values).max()) <= 1:
            notes.append(
                f"{picture.name} lies in [-1, 1], where a colour sigma of {low:g} sees no edges:"
                " is it meant for [0, 255]?"
            )
        return torch.from_numpy(picture.values)[None], notes
    values = picture.values
    if len(values) == 1:
        notes.append(f"{picture.name} is grey: taken as three equal channels")
        values = np.repeat(values, 3, axis=0)
    return torch.from_numpy(np.rint(values * 255).astype(np.uint8))[None], notes


def classes_of(values: NDArray[np.float32]) -> Classes:
    """The class of each pixel, [H, W]."""
    best: Classes = values.argmax(0).astype(np.uint8 if len(values) <= INDEXED else np.uint16)
    return best


def npy(values: NDArray[np.float32]) -> bytes:
    """The bytes of a `.npy` file."""
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _solved(job: Job, scores: Scores, guide: torch.Tensor) -> NDArray[np.float32]:
    """The refined scores [C, h, w]; what the CRF refuses is told as a diagnostic."""
    try:
        with torch.no_grad():
            found = mean_field(
                torch.from_numpy(scores.values)[None],
                _terms(job.kernels, guide),
                given=job.given,
                returns=job.returns,
                **job.options,
            )
    except ValueError as error:
        raise unfit(str(error)) from error
    result: NDArray[np.float32] = found[0].numpy()
    return result


def _terms(kernels: Kernels, guide: torch.Tensor) -> list[Term]:
    terms = []
    if kernels.gaussian_weight is not None:
        weight = kernels.gaussian_weight
        terms.append(gaussian(kernels.gaussian_sxy, compat=weight, norm=kernels.norm))
    if kernels.bilateral_weight is not None:
        rest: dict[str, Any] = {"compat": kernels.bilateral_weight, "norm": kernels.norm}
        if kernels.bilateral_sxy is None:
            terms.append(pairwise(guide, kernels.bilateral_srgb, **rest))
        else:
            terms.append(bilateral(guide, kernels.bilateral_sxy, kernels.bilateral_srgb, **rest))
    return terms


def _lists(kernels: Kernels, options: Mapping[str, Any]) -> dict[str, int]:
    """How many numbers each weight has."""
    weights = {
        "--gaussian-weight": kernels.gaussian_weight,
        "--bilateral-weight": kernels.bilateral_weight,
        "--unary-weight": options.get("unary_weight"),
    }
    return {name: len(value) for name, value in weights.items() if isinstance(value, tuple)}


def _check_refined(path: StrPath, inputs: list[StrPath]) -> None:
    if Path(path).suffix.lower() != ".npy":
        message = f"`{os.fspath(path)}` cannot be written: refined scores are .npy files"
        help = text_helps("end its name in .npy")
        raise SegError(Diagnostic("E0106", message, None, helps=help))
    check_writable(os.fspath(path), inputs=[os.fspath(other) for other in inputs])
