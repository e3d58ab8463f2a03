"""Is the plain torch CRF as fast as the C++ library whose place it takes, and bounded in memory?

The lattice at 512x512 with 21 classes against pydensecrf2, one thread, CPU seconds of the whole
inference (build and iterations), in turn; the window; and the peak memory of 4096x4096.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from time import process_time
from typing import Any

from _measure import (
    ROOT,
    child,
    conditions,
    python,
    spread,
    table,
    verdict,
    write,
)

SETTINGS = {
    "defaults 3/3, 10/80/13": ((3, 3), (10, 80, 13)),
    "DeepLab v1 3/3, 4/49/5": ((3, 3), (4, 49, 5)),
    "DeepLab v2 3/1, 4/67/3": ((3, 1), (4, 67, 3)),
}
SIDE, CLASSES, ITERATIONS = 512, 21, 10
WINDOW_ITERATIONS = 5
BAR_RATIO, BAR_WINDOW = 1.5, 1.0
LARGE = (1024, 2048, 4096)

ONE = """\
import sys, torch
from compiler.crf import bilateral, gaussian, mean_field
side = int(sys.argv[1])
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
coarse = torch.randint(0, 256, (1, 3, side // 64, side // 64), generator=generator).float()
guide = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
guide = (guide + 8 * torch.randn(guide.shape, generator=generator)).clamp(0, 255).byte()
scores = torch.randn(1, 2, side, side, generator=generator)
mean_field(scores, [gaussian(), bilateral(guide)], iterations=2, method=sys.argv[2])
"""


def pictures() -> dict[str, tuple[Any, Any]]:
    """By name: a picture [h, w, 3] and energies [classes, h, w]."""
    import numpy as np
    import skimage.data

    sys.path.insert(0, str(ROOT))
    from tests.support.scenes import energies, scene

    real = np.ascontiguousarray(skimage.data.astronaut())
    labels = np.roll(real.astype(int).sum(-1) * CLASSES // 766, 2, (0, 1))
    unary = energies(labels, CLASSES, np.random.default_rng(0))
    return {"synthetic": scene(SIDE, SIDE, CLASSES, 56), "astronaut": (real, unary)}


def solved(library: Any, image: Any, unary: Any, setting: str) -> tuple[Any, float]:
    """Probabilities and CPU seconds by the calls that both libraries have."""
    import numpy as np

    (weight, sxy), (colour_weight, colour_sxy, srgb) = SETTINGS[setting]
    classes, height, width = unary.shape
    begin = process_time()
    crf = library.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(unary.reshape(classes, -1))
    crf.addPairwiseGaussian(sxy=sxy, compat=weight)
    crf.addPairwiseBilateral(sxy=colour_sxy, srgb=srgb, rgbim=image, compat=colour_weight)
    found = np.array(crf.inference(ITERATIONS))
    return found, process_time() - begin


def lattices(runs: int) -> dict[str, Any]:
    """Both libraries in turn, for each picture and setting."""
    import pydensecrf.densecrf as peer

    import compiler.crf as ours

    results = {}
    for name, (image, unary) in pictures().items():
        for setting in SETTINGS:
            times: dict[str, list[float]] = {"ours": [], "pydensecrf2": []}
            for turn in range(runs + 1):
                found, mine = solved(ours, image, unary, setting)
                wanted, theirs = solved(peer, image, unary, setting)
                if turn:
                    times["ours"].append(mine)
                    times["pydensecrf2"].append(theirs)
            pairs = zip(times["ours"], times["pydensecrf2"], strict=True)
            results[f"{name}, {setting}"] = {
                "cpu_seconds": {key: spread(values) for key, values in times.items()},
                "ratio": round(median(a / b for a, b in pairs), 3),
                "labels_agree_percent": round(
                    100 * float((found.argmax(0) == wanted.argmax(0)).mean()), 4
                ),
                "largest_difference": float(f"{abs(found - wanted).max():.2g}"),
            }
    return results


def windows(runs: int) -> dict[str, Any]:
    """The window of 7, two kernels, by CPU seconds."""
    import torch

    from compiler.crf import bilateral, gaussian, mean_field

    image, unary = pictures()["synthetic"]
    guide = torch.from_numpy(image).permute(2, 0, 1)[None]
    times = []
    for _ in range(runs + 1):
        begin = process_time()
        mean_field(
            torch.from_numpy(unary)[None],
            [gaussian(), bilateral(guide)],
            method="window",
            iterations=WINDOW_ITERATIONS,
            given="energy",
        )
        times.append(process_time() - begin)
    return spread(times[1:])


def memory() -> dict[str, Any]:
    """Peak memory by side of the picture, and what each further pixel takes."""
    return {
        method: growth({side: child(python("-c", ONE, str(side), method)).peak for side in LARGE})
        for method in ("lattice", "window")
    }


def growth(peaks: dict[int, float]) -> dict[str, Any]:
    """The peaks, and from the two largest pictures the bytes of one more pixel."""
    (low, less), (high, more) = sorted(peaks.items())[-2:]
    slope = (more - less) * 2**20 / (high**2 - low**2)
    return {f"{side}x{side}": round(peak) for side, peak in peaks.items()} | {
        "bytes_per_further_pixel": round(slope)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each library")
    parser.add_argument("--no-memory", action="store_true", help="leave out 4096x4096")
    arguments = parser.parse_args()
    try:
        import pydensecrf.densecrf  # noqa: F401
        import torch
    except ImportError as error:
        print(f"nothing was measured: {error}")
        return
    torch.set_num_threads(1)
    where = conditions("torch", "numpy", "pydensecrf2")
    results: dict[str, Any] = {
        "question": "mean field, 512x512, 21 classes, one thread: lattice against pydensecrf2",
        "conditions": where,
        "iterations": ITERATIONS,
        "bar_ratio_at_the_defaults": BAR_RATIO,
        "lattice": lattices(arguments.runs),
        "bar_window_cpu_seconds": BAR_WINDOW,
        "window_7_5_iterations_cpu_seconds": windows(arguments.runs),
    }
    write("crf", results)
    large: dict[str, Any] = {}
    if not arguments.no_memory:  # minutes more: what is known is written before
        large = memory()
        write("crf", results | {"peak_mib_2_classes_2_iterations": large})
    rows = [
        (name, row["cpu_seconds"]["ours"]["median"], row["cpu_seconds"]["pydensecrf2"]["median"],
         row["ratio"], row["labels_agree_percent"], row["largest_difference"])
        for name, row in results["lattice"].items()
    ]  # fmt: skip
    table(["lattice", "ours, s", "pydensecrf2, s", "ratio", "labels, %", "max diff"], rows)
    worst = max(row[3] for row in rows if "defaults" in row[0])
    print(f"largest ratio at the defaults {worst}, {verdict(worst, BAR_RATIO, 'times')}")
    window = results["window_7_5_iterations_cpu_seconds"]["median"]
    print(f"window 7, 5 iterations: {window} s, {verdict(window, BAR_WINDOW)}")
    if large:
        heads = next(iter(large.values()))
        table(["peak MiB", *heads], [(name, *row.values()) for name, row in large.items()])


if __name__ == "__main__":
    main()
