"""Refine the scores of any network by a CRF over the picture, and write the mask."""

from __future__ import annotations

import argparse
import math
from typing import Any

from compiler.cli.console import note
from compiler.cli.options import whole_number
from compiler.cli.usage import usage_error
from compiler.refine.presets import PRESETS, Preset
from segdsl.diagnostics import Diagnostic

METHODS = ("lattice", "window", "exact")
NORMS = ("symmetric", "before", "after", "mean", "none")
MOST_ITERATIONS = 1000
LARGEST_WINDOW = 101
MOST_CLASSES = 65_536


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("scores", metavar="SCORES", help="a .npy file, [C, H, W] or [1, C, H, W]")
    parser.add_argument("picture", metavar="PICTURE", help="a picture, or an array in a .npy file")
    parser.add_argument("-o", "--output", metavar="MASK", required=True, help="a .png file")
    parser.add_argument("--panel", metavar="PNG", help="also write picture, before and after")
    parser.add_argument("--refined", metavar="NPY", help="also write the refined scores")
    choices = ("proba", "logits", "log_proba")
    parser.add_argument("--returns", choices=choices, help="what `--refined` holds (proba)")
    given = ("logits", "proba", "energy")
    parser.add_argument("--given", choices=given, default="logits", help="what SCORES holds")
    parser.add_argument("--classes", metavar="N", help="how many classes SCORES must have")
    parser.add_argument("--resize", action="store_true", help="enlarge SCORES to the picture")
    _configure_field(parser)


def _configure_field(parser: argparse.ArgumentParser) -> None:
    presets = "; ".join(f"{name}: {preset.source}" for name, preset in PRESETS.items())
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default="pydensecrf",
        help=f"the numbers to begin with, pydensecrf unless said ({presets})",
    )
    parser.add_argument("--method", choices=METHODS, help="how messages are computed")
    parser.add_argument("--iterations", metavar="N", help="how often all pixels update")
    parser.add_argument("--norm", choices=NORMS, help="where the row sums of kernels divide")
    for name, value, what in (
        ("gaussian-weight", "W", "of the kernel over places, or one per class; 0 leaves it out"),
        ("gaussian-sxy", "S", "its sigma in pixels, or x,y"),
        ("bilateral-weight", "W", "of the kernel over places and colours, or one per class"),
        ("bilateral-sxy", "S", "its sigma in pixels, or x,y; `none` compares colours alone"),
        ("bilateral-srgb", "S", "its sigma in colours, 0 to 255, or one per channel"),
        ("unary-weight", "W", "of the scores, or one per class"),
    ):
        parser.add_argument(f"--{name}", metavar=value, help=what)
    parser.add_argument("--window", metavar="K", help="side of the window, odd (method window)")
    parser.add_argument("--blur", metavar="B", help="messages on a grid this much coarser (window)")
    parser.add_argument(
        "--exclude-self", action="store_true", help="no message of a pixel to itself"
    )
    starts = ("softmax", "log_softmax")
    parser.add_argument("--start", choices=starts, default="softmax", help="of the first message")
    parser.add_argument("--tail", metavar="K", help="smaller kernels may be left out (exact)")


def run(args: argparse.Namespace) -> tuple[Diagnostic, ...]:
    """Write the mask, and say what changed."""
    preset = _preset(args.preset)
    options = _options(args, preset)
    from compiler.refine.run import Job, Kernels, refine

    kernels = Kernels(**_kernels(args, preset))
    if args.returns and not args.refined:
        raise usage_error("`--returns` is for `--refined`, which is not given")
    classes = None
    if args.classes is not None:
        classes = whole_number("--classes", args.classes, 1, MOST_CLASSES)
    job = Job(kernels, options, args.given, args.returns or "proba", classes, args.resize)
    report = refine(
        job, args.scores, args.picture, args.output, panel=args.panel, refined=args.refined
    )
    for line in report.lines:
        note(line)
    for path in report.written:
        note(f"wrote {path}")
    return ()


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        from segdsl.spelling import nearest

        near = nearest(name, PRESETS)
        helps = f"did you mean `{near}`?" if near else f"the presets are {', '.join(PRESETS)}"
        raise usage_error(f"there is no preset `{name}`", helps)
    return PRESETS[name]


def _options(args: argparse.Namespace, preset: Preset) -> dict[str, Any]:
    """The arguments of `mean_field` that are no kernels.

    Raises:
        UsageError: a value out of range, an option that the method does not take.
    """
    method = args.method or preset.method
    for option, home in (("window", "window"), ("blur", "window"), ("tail", "exact")):
        if getattr(args, option) is not None and method != home:
            raise usage_error(f"`--{option}` is for `--method {home}`, not for {method}")
    if args.exclude_self and method == "lattice":
        raise usage_error(
            "the lattice cannot leave out a pixel's own message",
            "use `--method window` or `--method exact`",
        )
    options: dict[str, Any] = {
        "method": method,
        "iterations": _whole(args, "iterations", preset.iterations, 0, MOST_ITERATIONS),
        "include_self": not args.exclude_self,
        "unary_weight": _numbers(args, "unary_weight", preset.unary_weight),
        "start": args.start,
    }
    if method == "window":
        options["window"] = _whole(args, "window", preset.window, 1, LARGEST_WINDOW)
        options["blur"] = _whole(args, "blur", preset.blur, 1, LARGEST_WINDOW)
        if options["window"] % 2 == 0:
            raise usage_error(f"`--window {args.window}`: a window has an odd side")
        if options["blur"] > 1 and options["blur"] % 2:
            raise usage_error(f"`--blur {args.blur}`: 1 or an even number")
    if args.tail is not None:
        tail = _numbers(args, "tail", 0.0)
        if not (isinstance(tail, float) and 0 <= tail < 1):
            raise usage_error(f"`--tail {args.tail}`: it lies in [0, 1)")
        options["tail"] = tail
    return options


def _kernels(args: argparse.Namespace, preset: Preset) -> dict[str, Any]:
    """The fields of `Kernels`."""
    place: float | tuple[float, ...] | None = preset.bilateral[1]
    if args.bilateral_sxy == "none":
        place = None
    elif args.bilateral_sxy is not None:
        place = _sigma(args, "bilateral_sxy", 0.0, 2)
    return {
        "gaussian_weight": _numbers(args, "gaussian_weight", preset.gaussian[0]) or None,
        "gaussian_sxy": _sigma(args, "gaussian_sxy", preset.gaussian[1], 2),
        "bilateral_weight": _numbers(args, "bilateral_weight", preset.bilateral[0]) or None,
        "bilateral_sxy": place,
        "bilateral_srgb": _sigma(args, "bilateral_srgb", preset.bilateral[2], None),
        "norm": args.norm or preset.norm,
    }


def _sigma(
    args: argparse.Namespace, name: str, default: float, count: int | None
) -> float | tuple[float, ...]:
    value = _numbers(args, name, default)
    parts = value if isinstance(value, tuple) else (value,)
    option = f"`--{name.replace('_', '-')} {getattr(args, name)}`"
    if min(parts) <= 0:
        raise usage_error(f"{option}: a sigma is above 0")
    if count is not None and len(parts) not in (1, count):
        raise usage_error(f"{option}: one number, or x and y")
    return value


def _numbers(args: argparse.Namespace, name: str, default: float) -> float | tuple[float, ...]:
    """A finite number, or several with commas between them."""
    text = getattr(args, name)
    if text is None:
        return float(default)
    try:
        parts = tuple(float(part) for part in text.split(","))
    except ValueError:
        parts = ()
    if not parts or not all(map(math.isfinite, parts)):
        option = f"--{name.replace('_', '-')}"
        raise usage_error(f"`{option} {text}` is not a number or a list", "as 3 or 3,5.5")
    return parts[0] if len(parts) == 1 else parts


def _whole(args: argparse.Namespace, name: str, default: int, low: int, high: int) -> int:
    text = getattr(args, name)
    return default if text is None else whole_number(f"--{name}", text, low, high)
