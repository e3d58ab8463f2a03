"""Scores of a network from a `.npy` file, checked against the picture."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.run.refusals import too_large, unreadable
from segdsl.diagnostics import Diagnostic, SegError, text_helps

Floats = NDArray[np.float32]
_FLOATS = ("float16", "float32", "float64")

MAX_VALUES = 1 << 31
"""Values in one array of scores."""

_NEAR = 0.02
"""How far from 1 the sums of rounded probabilities are."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores [C, h, w] and what to say about them."""

    values: Floats
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """C."""
        return int(self.values.shape[0])


def unfit(message: str, *helps: str, notes: tuple[str, ...] = ()) -> SegError:
    """The error for scores that are not what they should be (E0115)."""
    return SegError(Diagnostic("E0115", message, None, notes=notes, helps=text_helps(*helps)))


def read_scores(path: str | os.PathLike[str], given: str) -> Scores:
    """The scores in a `.npy` file: [C, h, w], or [1, C, h, w].

    Args:
        path: the file.
        given: `logits`, `proba` or `energy`: what the values are said to be.

    Raises:
        SegError: E0101 no such file, E0110 no array of floats, E0111 too large, E0115 another
            shape, values that cannot be scores.
    """
    name = os.fspath(path)
    array = _loaded(path)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3 or 0 in array.shape:
        several = array.ndim == 4 and len(array) > 1
        help = "save one image: `scores[0]`" if several else "save the scores as [C, H, W]"
        raise unfit(f"the scores in `{name}` are {list(array.shape)}, not [C, H, W]", help)
    if array.size > MAX_VALUES:
        raise too_large(path, f"{array.size:,} values, at most {MAX_VALUES:,}", MAX_VALUES)
    values = np.array(array, np.float32, order="C")
    _check_values(name, values, given)
    return Scores(values, tuple(_doubts(name, values, given)))


def _loaded(path: str | os.PathLike[str]) -> NDArray[np.generic]:
    name = os.fspath(path)
    if not os.path.isfile(path):
        why = "it is no file" if os.path.exists(path) else "No such file or directory"
        raise SegError(Diagnostic("E0101", f"`{name}` cannot be opened: {why}", None))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises whatever a broken header makes it meet
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem = f"it is no array in numpy's .npy format ({text[:120]})"
        raise unreadable(path, problem, "save the scores with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise unreadable(path, "it is an archive of arrays", "give one array, saved by numpy.save")
    if array.dtype.name not in _FLOATS:
        help = "save the scores before the argmax" if array.dtype.kind in "iu" else "use float32"
        raise unreadable(path, f"it holds {array.dtype}, not floats", help)
    return array


def _check_values(name: str, values: Floats, given: str) -> None:
    broken = np.isnan(values)
    if broken.any():
        c, y, x = (int(v) for v in np.argwhere(broken)[0])
        message = f"`{name}` holds {int(broken.sum()):,} NaN, the first at class {c}, row {y}, "
        raise unfit(f"{message}column {x}", "look where the network makes them")
    low, high = float(values.min()), float(values.max())
    if given == "proba" and not (low >= 0 and high <= 1.001):
        range_ = f"from {low:.4g} to {high:.4g}"
        raise unfit(
            f"`{name}` holds values {range_}, which are no probabilities",
            "say `--given logits` (before the softmax) or `--given energy` (negative logarithms)",
        )
    best = values.min(0) if given == "energy" else values.max(0)
    if not np.isfinite(best).all():
        y, x = (int(v) for v in np.argwhere(~np.isfinite(best))[0])
        raise unfit(f"`{name}` holds infinite scores at row {y}, column {x}")


def _doubts(name: str, values: Floats, given: str) -> list[str]:
    """What the values look like, where that is not what they are said to be."""
    found = []
    low, high = float(values.min()), float(values.max())
    sums = values.sum(0, dtype=np.float64)
    near_one = bool((abs(sums - 1) < _NEAR).all())
    if given == "logits" and len(values) > 1 and low >= 0 and high <= 1.001 and near_one:
        found.append(f"`{name}` looks like probabilities: add `--given proba`")
    if given == "proba" and not near_one:
        found.append(f"the probabilities in `{name}` do not sum to 1 at every pixel")
    if len(values) == 1:
        found.append(f"`{name}` has one class: there is nothing to decide")
    return found


def check_classes(scores: Scores, wanted: int | None, lists: dict[str, int]) -> None:
    """Refuse scores of another number of classes than was said.

    Args:
        scores: the scores.
        wanted: from `--classes`.
        lists: by option, how many numbers it gives: each is for one class.

    Raises:
        SegError: E0115.
    """
    if wanted is not None and wanted != scores.classes:
        shape = list(scores.values.shape)
        last = scores.values.shape[-1] == wanted
        helps = ["the order is [C, H, W]: `scores.transpose(2, 0, 1)`"] if last else []
        raise unfit(f"the scores have {scores.classes} classes {shape}, not {wanted}", *helps)
    for option, count in lists.items():
        if count not in (1, scores.classes):
            message = f"`{option}` gives {count} numbers, and the scores have {scores.classes}"
            raise unfit(f"{message} classes", "give one number, or one for each class")


def fitted(scores: Scores, height: int, width: int, *, resize: bool, given: str) -> Scores:
    """The scores in the size of the picture.

    Raises:
        SegError: E0115, they have another size and `resize` is false.
    """
    have = scores.values.shape[1:]
    if have == (height, width):
        return scores
    sizes = f"the scores are {have[0]} x {have[1]}, the picture is {height} x {width}"
    if not resize:
        helps = ["add `--resize` to enlarge the scores, or give the picture in their size"]
        if have == (width, height):
            helps = ["one of them is turned: the order is height, then width"]
        elif scores.values.shape[:2] == (height, width):
            helps = ["the order is [C, H, W]: `scores.transpose(2, 0, 1)`"]
        raise unfit(sizes, *helps)
    import torch

    grid = torch.from_numpy(scores.values)[None]
    values = torch.nn.functional.interpolate(
        grid, (height, width), mode="bilinear", align_corners=False
    )
    note = f"{sizes}: resized bilinearly, as {given}"
    return Scores(values[0].numpy(), (*scores.notes, note))
