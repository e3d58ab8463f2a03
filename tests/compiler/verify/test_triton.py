"""The Triton target beside the reference, in the interpreter: networks, and what it says it ran."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
need("torch")

from compiler.to_triton.build import check_triton  # noqa: E402
from compiler.to_triton.kernels import conv  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.verify import verify  # noqa: E402
from compiler.verify.comparisons import Options, against_targets  # noqa: E402
from compiler.verify.stages import at_inference, stages  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from compiler.verify.triton_runner import NO_KERNEL  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.verify.nets import STAGES, narrow, tiny  # noqa: E402
from tests.support.programs import graph  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

ONE = Options(sizes=((17, 24),), batches=(2,), images=("noise",))

NETWORKS: list[tuple[str, dict[str, Any], int, tuple[int, int], int]] = [
    ("deeplabv3", {"depth": 50}, 4, (33, 33), 20),
    ("unet", {"width": 16, "depth": 2}, 1, (20, 23), 7),
    ("unet_resnet34", {}, 4, (20, 33), 20),
    ("tiramisu", {"depth": 56}, 6, (32, 33), 16),
    ("deeplabv2_crf", {"scales": [], "iterations": 2}, 4, (17, 17), 9),
    ("internimage", {"channels": 32, "depths": [1, 1, 1, 1]}, 1, (32, 32), 12),
]
"""Network, settings, by how much it is narrowed, size, and the least number of kernel calls."""


@pytest.mark.parametrize(
    ("name", "settings", "factor", "size", "least"), NETWORKS, ids=[row[0] for row in NETWORKS]
)
def test_networks_pass(
    name: str,
    settings: dict[str, Any],
    factor: int,
    size: tuple[int, int],
    least: int,
) -> None:
    network = load(name, **settings)
    dense = name == "tiramisu"  # its layers have 12 channels, which narrow maps must divide by
    network = narrow(network, factor, 12 if dense else 64) if factor > 1 else network
    options = Options(sizes=(size,), batches=(1,), images=("noise",))
    report = against_targets(network, None, ("triton",), options)
    assert report.passed, report
    assert "in Triton's interpreter" in report.ways["triton"]
    (calls,) = re.findall(r"`all`: (\d+) calls?", report.ways["triton"])
    assert int(calls) >= least, report.ways
    known = [stage.name for stage in stages(at_inference(network))]
    rows = [row.name for row in report.rows if row.kind == "stage"]
    assert rows == [name for name in known if name in rows]
    inside = [name for name in known if dense and ".layers." in name]
    assert len(rows) > (len(known) - len(inside)) / 2
    assert not set(rows) & set(inside)
    assert all(0 < row.figures.err < WHOLE_NET / 5 for row in report.rows if row.kind == "output")


REGIONS = """\
seg 1
net Regions() {
  input image: f32[N, 16, H, W]
  first = image -> conv(16, 3, pad=1, bias=false) @a -> bn @n -> relu
  output sum = relu((first -> conv(16, 3, pad=2, dilation=2) @b) + first)
  output labels = sum -> conv(24, 1) @c -> resize(scale=2, mode=bilinear) -> argmax(axis=channels)
}
"""


def test_regions_are_compared_at_their_last_operator() -> None:
    report = against_targets(graph(REGIONS), None, ("torch", "triton"), replace(ONE, every=True))
    assert report.passed, report
    rows = {
        target: [r.node.op.name for r in report.rows if r.kind == "stage" and r.target == target]
        for target in ("torch", "triton")
    }
    assert rows["torch"][:6] == ["conv", "bn", "relu", "conv", "add", "relu"]
    assert rows["torch"][6:] == ["conv", "resize", "argmax"]
    assert rows["triton"] == ["relu", "relu", "conv", "argmax"]
    assert set(report.ways) == {"triton"}
    document = report.as_json()
    assert document["ways"] == report.ways
    assert f"triton: {report.ways['triton']}\n" in str(report)


def test_a_wrong_kernel_departs_at_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a reference nor a library call stands in for what is compared."""
    right = conv.launch

    def wrong(x: Any, packed: Any, bias: Any, residual: Any, *rest: Any, **more: Any) -> Any:
        y = right(x, packed, bias, residual, *rest, **more)
        return y if residual is None else y + 0.01

    monkeypatch.setattr(conv, "launch", wrong)
    report = against_targets(graph(REGIONS), None, ("triton",), ONE)
    (departure,) = report.departures
    assert departure.row.name == "sum"
    assert departure.node is not None
    assert departure.node.node.op.name == "relu"
    (diagnostic,) = report.diagnostics()
    assert diagnostic.code == "E6020"
    assert diagnostic.span is not None
    assert diagnostic.span.line == 5


def test_a_network_without_regions_says_so() -> None:
    report = verify(tiny(), targets=["triton"], sizes=[(9, 8)], batches=[1])
    assert report.passed, report
    assert report.ways["triton"] == "no kernel ran: nothing in this network fits one"
    names = [row.name for row in report.rows if row.kind == "stage"]
    assert names == [name for name in STAGES if name in names]
    assert "wide" in names


@pytest.mark.parametrize("interpret", [True, False])
def test_the_command_turns_the_interpreter_on(interpret: bool, tmp_path: Path) -> None:
    (tmp_path / "net.seg").write_text(REGIONS)
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = ["verify", str(tmp_path / "net.seg"), "--targets", "triton", "--size", "6x5"]
    command += ["--batch", "1"] + ["--interpret"] * interpret
    done = subprocess.run(
        [sys.executable, "-m", "compiler.cli", *command],
        env={**env, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = "triton: kernels ran in Triton's interpreter" if interpret else f"triton: {NO_KERNEL}"
    assert said in done.stdout
    assert "triton: passes, 5 rows" in done.stdout


def test_an_old_triton_is_refused() -> None:
    for version in ("3.6.0", "3.7.1+git1234", "4.0"):
        check_triton(version)
    with pytest.raises(SegError) as refused:
        check_triton("3.5.1")
    (found,) = refused.value.diagnostics
    assert found.code == "E6013"
    assert found.message == "triton 3.5.1 is installed; the kernels need 3.6 or newer"
