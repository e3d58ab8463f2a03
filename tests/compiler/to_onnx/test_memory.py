"""Writing a file takes the memory of its largest arrays, not that of all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.peers import need

need("onnx_ir")

from compiler.weights import Weights  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

ROOT = Path(__file__).parents[3]
UNIT = "conv(256, 3, pad=1, bias=false) @c.{{i}} -> bn @n.{{i}}"
CHAIN = f"output y = image -> repeat {{}} as i {{{{ {UNIT} }}}}"
INPUT = "input image: f32[N, 256, H, W]"
SCRIPT = """
import sys
import segdsl, compiler
compiler.to_onnx(segdsl.load(sys.argv[1]), sys.argv[2], sys.argv[3])
print(next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) * 1024)
"""


def peak(folder: Path, turns: int) -> tuple[int, int]:
    """The most memory that writing a chain took, and the bytes of its weights."""
    text = net(CHAIN.format(turns), given=INPUT)
    arrays = {
        name: np.ones(param.shape, np.int64 if param.dtype == "i64" else np.float32)
        for name, param in params(graph(text)).items()
    }
    (folder / "net.seg").write_text(text)
    Weights(arrays).to_safetensors(folder / "w.safetensors")
    files = [str(folder / name) for name in ("net.seg", "net.onnx", "w.safetensors")]
    command = [sys.executable, "-c", SCRIPT, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert (folder / "net.onnx").stat().st_size > 0.99 * sum(a.nbytes for a in arrays.values())
    return int(done.stdout), sum(a.nbytes for a in arrays.values())


@pytest.mark.skipif(sys.platform != "linux", reason="memory in use is told by /proc")
def test_more_arrays_take_no_more_memory(tmp_path: Path) -> None:
    """Twenty arrays of 2.25 MiB against two, all with norms folded into them."""
    few, some = peak(tmp_path, 2)
    many, all_of_them = peak(tmp_path, 20)
    assert many - few <= 0.25 * (all_of_them - some)
