"""Emitted conditional random fields against dense matrices in float64; the text they carry."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.peers import need

torch = need("torch")

import segdsl  # noqa: E402
from compiler.to_torch import to_torch  # noqa: E402
from compiler.to_torch.crf import DEFAULTS  # noqa: E402
from compiler.to_torch.emit import emit  # noqa: E402
from compiler.to_torch.guard import check_source  # noqa: E402
from compiler.to_torch.library import Library, library  # noqa: E402
from compiler.to_torch.lower import EmissionError  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from tests.support.crf_cases import Case, cases  # noqa: E402

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def run(case: Case, values: dict[str, Any], dtype: Any = torch.float64) -> Any:
    """The emitted module of a case on these inputs."""
    module = to_torch(segdsl.parse(case.text), Weights(case.weights)).to(dtype).eval()
    given = [torch.from_numpy(v) for v in values.values()]
    with torch.no_grad():
        found = module(*(v.to(dtype) if v.is_floating_point() else v for v in given))
    return found.double().numpy()


@settings(SLOW, max_examples=120)
@given(case=cases(), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_float64_is_what_dense_matrices_give(
    case: Case, height: int, width: int, seed: int
) -> None:
    values = case.inputs(2, height, width, seed)
    np.testing.assert_allclose(run(case, values), case.wanted(values), rtol=1e-9, atol=1e-9)


@settings(SLOW, max_examples=15)
@given(case=cases(), seed=st.integers(0, 99))
def test_it_computes_in_float32_whatever_the_network_has(case: Case, seed: int) -> None:
    values = case.inputs(1, 7, 8, seed)
    single = run(case, values, torch.float32)
    scores = values["s"].astype(np.float16).astype(np.float32)
    rounded = {**values, "s": scores}
    if case.dtype == "f32" and "g" in values:
        rounded["g"] = values["g"].astype(np.float16).astype(np.float32)
    for name, array in case.weights.items():
        case.weights[name] = array.astype(np.float16).astype(np.float32)
    half = run(case, rounded, torch.float16)
    assert half.shape == single.shape
    np.testing.assert_allclose(half, run(case, rounded, torch.float32), rtol=2e-3, atol=2e-3)


LATTICE = """seg 1
block Refine(x: [N, C, h, w], rgb: [N, G, h, w]) -> (y: [N, C, h, w]) {
  weight inner: [C, C] = eye(3.0)
  y = x -> mean_field([gaussian(sxy=3px, compat=inner), bilateral(rgb)], iterations=3)
}
net Net(classes: int = 4) {
  input image: f32[N, 3, H, W]
  input rgb: u8[N, 3, H, W]
  output y = image -> conv(classes, 3, pad=1) @score -> Refine(rgb) @refine
}
"""


def test_the_lattice_in_a_net_trains_what_it_can() -> None:
    torch.manual_seed(0)
    module = to_torch(segdsl.parse(LATTICE)).train()
    image = torch.randn(2, 3, 12, 14)
    rgb = torch.randint(0, 256, (2, 3, 12, 14), dtype=torch.uint8)
    out = module(image, rgb)
    torch.testing.assert_close(out.sum(1), torch.ones(2, 12, 14))
    out[:, 0].square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("method", ["window", "exact"])
def test_guides_and_widths_are_trained(method: str) -> None:
    text = f"""seg 1
net Net() {{
  input image: f32[N, 3, H, W]
  weight wide: [1] = constant(2.0)
  weight fine: [3] = constant(0.5)
  features = image -> conv(3, 1) @features
  output y = image -> conv(4, 1) @score -> mean_field([
    bilateral(features, sxy=wide, srgb=fine),
  ], method={method}, iterations=2)
}}
"""
    torch.manual_seed(0)
    module = to_torch(segdsl.parse(text)).train()
    module(torch.randn(1, 3, 7, 6))[:, 0].square().sum().backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    assert set(gradients) == {
        "wide", "fine", "features.weight", "features.bias", "score.weight", "score.bias",
    }  # fmt: skip
    moved = {name for name, g in gradients.items() if g is not None and g.abs().sum() > 0}
    # A bias moves all features alike, and kernels see differences only.
    assert moved >= set(gradients) - {"features.bias"}


def test_weights_follow_the_parameters_of_the_net() -> None:
    text = emit(segdsl.parse(LATTICE))
    assert "def __init__(self, classes: int = 4):" in text
    assert "self.inner = nn.Parameter(torch.zeros(cin, cin))" in text
    assert "gaussian(3.0, compat=self.inner)" in text


def test_only_what_differs_from_the_defaults_is_written() -> None:
    import inspect

    from compiler.crf.field import mean_field

    stated = inspect.signature(mean_field).parameters
    known = {n: p.default for n, p in stated.items() if p.kind is p.KEYWORD_ONLY}
    assert known == DEFAULTS


def test_the_file_needs_torch_alone(tmp_path: Path) -> None:
    """In a process of its own, where neither `compiler` nor `segdsl` can be imported."""
    (tmp_path / "net.py").write_text(emit(segdsl.parse(LATTICE)), encoding="utf-8")
    script = (
        "import sys\n"
        "sys.modules['compiler'] = sys.modules['segdsl'] = None\n"
        "import torch, net\n"
        "rgb = torch.randint(0, 256, (1, 3, 9, 8), dtype=torch.uint8)\n"
        "y = net.Net().eval()(torch.randn(1, 3, 9, 8), rgb)\n"
        "print(tuple(y.shape), bool(torch.isfinite(y).all()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "(1, 4, 9, 8) True\n", done.stderr


def test_it_pickles_and_flat_source_computes_the_same() -> None:
    graph = segdsl.parse(LATTICE)
    from compiler.to_torch.build import build

    image = torch.randn(1, 3, 8, 9)
    rgb = torch.randint(0, 256, (1, 3, 8, 9), dtype=torch.uint8)
    module = to_torch(graph).eval()
    wanted = module(image, rgb)
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(image, rgb), wanted)
    torch.testing.assert_close(build(graph, flat=True).eval()(image, rgb), wanted)


# -- the library in the file


def test_names_of_the_library_stay_its_own() -> None:
    """A block or a value of the writer's may be called as something in it."""
    names = library("mean_field").definitions
    assert {"Term", "mean_field", "gaussian"} <= names
    text = """seg 1
block Term(x: [N, C, h, w]) -> (y: [N, C, h, w]) { y = x -> conv(C, 1) @a -> relu }
net Lattice() {
  input gaussian: f32[N, 3, H, W]
  mean_fields = gaussian -> Term @term
  features = mean_fields -> mean_field([gaussian(sxy=2)], iterations=1)
  output bilateral = features * 2.0
}
"""
    module = to_torch(segdsl.parse(text)).eval()
    out = module(torch.randn(1, 3, 6, 5))
    torch.testing.assert_close(out.sum(1), torch.full((1, 6, 5), 2.0))
    defined = [
        n.name for n in ast.parse(emit(segdsl.parse(text))).body if isinstance(n, ast.ClassDef)
    ]
    assert len(defined) == len(set(defined))


def test_every_definition_is_embedded_once() -> None:
    found = library("mean_field")
    tree = ast.parse(found.text)
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))
    assert set(names) <= found.definitions


def test_the_guard_looks_at_everything_but_the_library() -> None:
    own = Library("def helper():\n    return open('x')", frozenset({"math"}), frozenset(),
                  frozenset({"helper"}), frozenset({"helper"}))  # fmt: skip
    text = f"import math\nimport torch\n\n\n{own.text}\n\n\nx = torch.zeros(1)\n"
    check_source(text, [own])
    with pytest.raises(EmissionError, match="name open"):
        check_source(text + "y = open('z')\n", [own])
    with pytest.raises(EmissionError, match="import"):
        check_source("import os\n" + text, [own])
    with pytest.raises(EmissionError, match="not in the emitted source"):
        check_source(text.replace("'x'", "'y'"), [own])
    with pytest.raises(EmissionError, match="import"):
        check_source(text, [])
