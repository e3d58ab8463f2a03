"""The demo's parts, and the whole of it with almost no training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

pytest.importorskip("skimage")

import compiler
import segdsl
from demo import show as demo_show
from demo.coins import MIDDLE, labels, mean_iou, photograph
from demo.training import Plan, train

ROOT = Path(__file__).parents[2]
TINY = Plan(steps=2, batch=2, crop=48)


def test_the_picture_and_its_labels() -> None:
    picture = photograph()
    wanted = labels(picture)
    assert picture.shape == wanted.shape == (303, 384)
    assert set(np.unique(wanted)) == {0, 1}
    for half in (wanted[:, :MIDDLE], wanted[:, MIDDLE:]):
        assert 0.2 < half.mean() < 0.5


def test_mean_iou() -> None:
    a = np.array([[0, 0, 1, 1]])
    assert mean_iou(a, a) == 1
    assert mean_iou(a, 1 - a) == 0
    assert mean_iou(a, np.array([[0, 1, 1, 1]])) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean_iou(np.zeros((2, 2), int), np.zeros((2, 2), int)) == 1


def trained(plan: Plan) -> tuple[list[float], dict[str, torch.Tensor]]:
    graph = segdsl.load(
        ROOT / "specs/unet.seg", channels=1, classes=2, width=4, depth=2, form="same"
    )
    module = compiler.to_torch(graph)
    losses: list[float] = []
    picture = photograph()[:64, :64]
    train(
        module, picture, labels(photograph())[:64, :64], plan, lambda _, loss: losses.append(loss)
    )
    return losses, module.state_dict()


def test_training_is_repeatable_and_learns() -> None:
    torch.set_num_threads(1)
    plan = Plan(steps=12, batch=2, crop=48)
    losses, weights = trained(plan)
    again, same = trained(plan)
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < losses[0]
    assert losses == again
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_the_whole_demo_in_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with (tmp_path / "log").open("w") as log:
        score = demo_show.show(tmp_path / "out", TINY, Console(file=log, width=200), threads=1)
    assert 0 <= score <= 1
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"coins.png", "mask.png", "overlay.png", "panel.png", "unet.py",
                     "unet.safetensors"}  # fmt: skip
    said, log_text = capsys.readouterr().err, (tmp_path / "log").read_text()
    assert "303x384" in said
    assert "padded to 304x384 (reflect), cropped back" in said
    assert f"{score:.3f}" in log_text
    assert "panel.png" in log_text
    with Image.open(tmp_path / "out/mask.png") as mask:
        assert mask.size == (384, 303)
    with Image.open(tmp_path / "out/panel.png") as panel:
        assert panel.width == 1600
    _check_module(tmp_path / "out")


def _check_module(out: Path) -> None:
    """The emitted file and the weights are all that a user needs: no segdsl."""
    code = (
        "import sys, torch; sys.path.insert(0, '.'); import unet\n"
        "from safetensors.torch import load_file\n"
        "module = unet.UNet(); module.load_state_dict(load_file('unet.safetensors'))\n"
        "print(tuple(module.eval()(torch.zeros(1, 1, 32, 48)).shape))\n"
        "assert not {'segdsl', 'compiler'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2, 32, 48)"


def test_a_failed_command_stops_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo_show, "segdsl_command", lambda words: 1)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit), (tmp_path / "log").open("w") as log:
        demo_show.show(tmp_path / "out", TINY, Console(file=log), threads=1)
    assert not (tmp_path / "out/panel.png").exists()
