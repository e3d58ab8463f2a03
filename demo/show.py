"""The demo from beginning to end: compile, train, measure, run, draw."""

from __future__ import annotations

import shlex
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

import compiler
from compiler.cli import main as segdsl_command
from compiler.run import segment
from compiler.weights import Weights
from demo.coins import MIDDLE, labels, mean_iou, photograph
from demo.panel import Facts, panel
from demo.training import Plan, train
from segdsl.analysis.params import count, params
from segdsl.diagnostics import SegError
from segdsl.ir import Const, Graph
from segdsl.program import examine

SPEC = Path("specs/unet.seg")
SETTINGS: dict[str, Const] = {"channels": 1, "classes": 2, "width": 8, "depth": 4, "form": "same"}
THREADS = 1
"""One: so small a network gains nothing from two, and on a busy machine two wait for each other."""
OUT = Path("demo/out")


def show(out: Path, plan: Plan, console: Console | None = None, threads: int = THREADS) -> float:
    """The whole demo; answers the mean IoU on the half that was not trained on.

    Writes to `out`: the emitted module, its weights, the mask, and one page with all of it.
    """
    console = console or Console()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    graph = _graph()
    picture = photograph()
    wanted = labels(picture)
    Image.fromarray(picture).save(out / "coins.png")

    sets = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    _command(
        console, ["compile", str(SPEC), "--target", "torch", *sets, "-o", str(out / "unet.py")]
    )
    module = compiler.to_torch(graph)
    seconds = _trained(console, module, picture[:, :MIDDLE], wanted[:, :MIDDLE], plan)
    _save(module, out / "unet.safetensors")
    score = _measured(graph, module, picture[:, MIDDLE:], wanted[:, MIDDLE:])
    files = {name: str(out / f"{name}.png") for name in ("coins", "mask", "overlay", "panel")}
    _command(console, [
        "run", str(SPEC), *sets, "--weights", str(out / "unet.safetensors"), files["coins"],
        "-o", files["mask"], "--overlay", files["overlay"],
    ])  # fmt: skip
    found = np.asarray(Image.open(files["mask"]))
    sizes = _padded(picture.shape)
    facts = _facts(graph, score, mean_iou(found, wanted), seconds, picture.shape)
    page = panel(graph, sizes, picture, wanted, found, facts)
    page.save(files["panel"], optimize=True)
    _told(console, score, seconds, graph, out)
    return score


def _graph() -> Graph:
    program = examine(SPEC, settings=SETTINGS)
    if program.failed or program.graph is None:
        raise SegError(*program.diagnostics)
    return program.graph


def _command(console: Console, words: list[str]) -> None:
    """Run `segdsl` as from a shell, and show what was run."""
    console.print(f"[bold]$ segdsl {shlex.join(words)}[/bold]", highlight=False, soft_wrap=True)
    code = segdsl_command(words)
    if code:
        raise SystemExit(code)


def _trained(
    console: Console,
    module: nn.Module,
    picture: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    plan: Plan,
) -> float:
    """Train with a progress bar; answers the seconds it took."""
    columns = (
        TextColumn("training"),
        BarColumn(bar_width=None),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}  loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    start = perf_counter()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=plan.steps, loss=float("nan"))
        train(
            module,
            picture,
            wanted,
            plan,
            lambda step, loss: progress.update(task, completed=step, loss=loss),
        )
    return perf_counter() - start


def _save(module: nn.Module, path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    Weights(arrays).to_safetensors(path)


def _measured(
    graph: Graph, module: nn.Module, picture: NDArray[np.uint8], wanted: NDArray[np.uint8]
) -> float:
    """Mean IoU on pixels that training never saw: the network gets that half alone."""
    found = segment(graph, module, picture[None].astype(np.float32) / 255)
    return mean_iou(found.classes, wanted)


def _padded(size: tuple[int, ...]) -> dict[str, int]:
    """What the network is given for a picture of this size, to draw it with its shapes."""
    accepted = examine(SPEC, settings=SETTINGS).accepted
    sides = {name: accepted[name].at_least(side) for name, side in zip("HW", size, strict=True)}
    return {name: side for name, side in sides.items() if side is not None}


def _facts(
    graph: Graph, score: float, whole: float, seconds: float, size: tuple[int, ...]
) -> Facts:
    padded = _padded(size)
    settings = "  ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return Facts(
        title=f"{graph.name}, compiled from {SPEC.as_posix()} and run on a photograph",
        subtitle=f"{settings}   |   trained for {seconds:.0f} s on one CPU thread",
        figures=(
            (f"{score:.3f}", "mean IoU on the half that training never saw"),
            (f"{whole:.3f}", "mean IoU on the whole picture, both halves"),
            (f"{count(params(graph)):,}", "parameters"),
            (
                f"{size[0]} x {size[1]}",
                f"is no multiple of 16: padded to {padded['H']} x {padded['W']}, cropped back",
            ),
        ),
        headings=(
            "Photograph (scikit-image `coins`)",
            "Labels (marker-controlled watershed)",
            "Mask from `segdsl run`",
        ),
        halves=("trained on", "measured on"),
        middle=MIDDLE,
    )


def _told(console: Console, score: float, seconds: float, graph: Graph, out: Path) -> None:
    console.print()
    console.print(f"mean IoU on the half it never saw   [bold]{score:.3f}[/bold]")
    console.print(f"training                            {seconds:.1f} s")
    console.print(f"parameters                          {count(params(graph)):,}")
    for name, what in (
        ("panel.png", "picture, mask and network on one page"),
        ("mask.png", "the mask: pixel values are classes"),
        ("overlay.png", "the mask over the photograph"),
        ("unet.py", "the PyTorch module, readable, needs only torch"),
        ("unet.safetensors", "its weights"),
    ):
        console.print(f"  {(out / name).as_posix():28} {what}", highlight=False)
