"""Eight bits: ONNX Runtime's own static quantiser on our file, and what it cost.

Weights become int8 by output channel, maps uint8 between QuantizeLinear and DequantizeLinear; the
ranges of the maps are the smallest and largest values that the calibration pictures give. A file
that the quantiser makes may still not load, so it is loaded and compared before anybody gets it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compiler.weights.table import Array
from segdsl.diagnostics import Diagnostic, SegError, text_helps

Feed = Callable[[], Mapping[str, Array]]
"""Reads one picture as the file's inputs; called again for every use, so few are in memory."""

HELD_OUT = 5
"""Every fifth picture is kept from calibration, to be compared only."""


@dataclass(frozen=True)
class Agreement:
    """How often int8 and f32 give a pixel the same class.

    Attributes:
        pictures: how many were compared.
        by_output: the share of equal labels, 0 to 1, by name of the output.
    """

    pictures: int
    by_output: Mapping[str, float]


@dataclass(frozen=True)
class Quantised:
    """An int8 file, and how it compares with the f32 one."""

    content: bytes
    calibration: Agreement
    held_out: Agreement | None


def quantize(
    content: bytes, feeds: Sequence[Feed], bounds: Mapping[str, float], keep: Collection[str] = ()
) -> Quantised:
    """The file in int8.

    Args:
        content: the f32 file.
        feeds: the calibration pictures; of two or more, every fifth (at least one) is held out.
        bounds: for outputs with a single channel, above which value it means class 1.
        keep: names of nodes that stay f32.

    Raises:
        SegError: E6008 the quantiser failed, or its file does not load or run.
        ValueError: no picture.
    """
    if not feeds:
        raise ValueError("quantisation needs pictures")
    held = _held_out(len(feeds))
    used = [feed for i, feed in enumerate(feeds) if i not in held]
    with _explained():
        made = _quantised(content, used, keep)
        sessions = _session(content), _session(made)
        compared = _compared(*sessions, used, bounds)
        rest = [feeds[i] for i in sorted(held)]
        others = _compared(*sessions, rest, bounds) if rest else None
    return Quantised(made, compared, others)


def _held_out(count: int) -> set[int]:
    """Every fifth of `count` pictures, spread over all; the last of two to four."""
    return set(range(HELD_OUT - 1, count, HELD_OUT)) or ({count - 1} if count > 1 else set())


def _quantised(content: bytes, feeds: Sequence[Feed], keep: Collection[str]) -> bytes:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> Mapping[str, Array] | None:
            feed = next(self.left, None)
            return None if feed is None else feed()

    with tempfile.TemporaryDirectory() as folder, _silent():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(content),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=sorted(keep),
        )
        return target.read_bytes()


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _compared(
    single: Any, eight: Any, feeds: Iterable[Feed], bounds: Mapping[str, float]
) -> Agreement:
    """Both files on every picture."""
    names = [output.name for output in single.get_outputs()]
    equal, total = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    pictures = 0
    for feed in feeds:
        inputs = feed()
        pictures += 1
        found = zip(names, single.run(None, inputs), eight.run(names, inputs), strict=True)
        for name, one, other in found:
            same = labels(one, bounds.get(name, 0.0)) == labels(other, bounds.get(name, 0.0))
            equal[name] += int(np.count_nonzero(same))
            total[name] += same.size
    shares = {name: equal[name] / total[name] for name in names if total[name]}
    return Agreement(pictures, shares)


def labels(scores: Array, bound: float) -> Array:
    """The classes that scores mean; whole numbers are classes already."""
    if not np.issubdtype(scores.dtype, np.floating):
        return scores
    if scores.ndim < 2 or scores.shape[1] == 1:
        return scores > bound
    result: Array = scores.argmax(1)
    return result


@contextmanager
def _silent() -> Iterator[None]:
    """Without the quantiser's advice, which goes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _explained() -> Iterator[None]:
    """What the quantiser or the runtime raises is no bug of the program that is compiled."""
    try:
        yield
    except SegError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        why = lines[0][:200] if lines else type(error).__name__
        message = f"ONNX Runtime could not make or load the int8 file: {why}"
        helps = text_helps("write the f32 file, or `--fp16`")
        raise SegError(Diagnostic("E6008", message, None, helps=helps)) from error
