"""The Triton target beside the reference, in the interpreter: networks, and what it says it ran."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.support.peers import need

need("triton")
torch = need("torch")

from compiler.to_triton.build import check_triton  # noqa: E402
from compiler.to_triton.kernels import conv, router  # noqa: E402
from compiler.to_triton.kernels.common import INTERPRETED  # noqa: E402
from compiler.verify import verify  # noqa: E402
from compiler.verify.comparisons import Options, against_targets  # noqa: E402
from compiler.verify.stages import at_inference, stages  # noqa: E402
from compiler.verify.tolerances import WHOLE_NET  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.verify.nets import STAGES, narrow, tiny  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="interpreted kernels only")

ONE = Options(sizes=((17, 24),), batches=(2,), images=("noise",))

NETWORKS: list[tuple[str, dict[str, Any], int, tuple[int, int], int]] = [
    ("deeplabv3", {"depth": 50}, 4, (33, 33), 20),
    ("unet", {"width": 16, "depth": 2}, 1, (20, 23), 7),
    ("tiramisu", {"depth": 56}, 1, (32, 33), 10),
    ("deeplabv2_crf", {"scales": []}, 4, (33, 33), 8),
    ("internimage", {}, 1, (32, 32), 3),
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
    network = narrow(network, factor) if factor > 1 else network
    options = Options(sizes=(size,), batches=(1,), images=("noise",))
    with router.recorded() as routes:
        report = against_targets(network, None, ("triton",), options)
    assert report.passed, report
    assert routes == {}  # the runner records for itself
    assert "in Triton's interpreter" in report.ways["triton"]
    calls = int(report.ways["triton"].rsplit(": ", 1)[1].split()[0])
    assert calls >= least, report.ways
    known = [stage.name for stage in stages(at_inference(network))]
    rows = [row.name for row in report.rows if row.kind == "stage"]
    assert rows == [name for name in known if name in rows]
    assert len(rows) > len(known) / 2
    assert all(0 < row.figures.err < WHOLE_NET / 5 for row in report.rows if row.kind == "output")
