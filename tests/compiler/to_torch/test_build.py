"""The module in memory: weights, modes of torch, life as a Python object."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")

from torch.export import Dim, export  # noqa: E402

from compiler.to_torch import to_torch  # noqa: E402
from compiler.to_torch.emit import emit  # noqa: E402
from compiler.weights import Weights, initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load, parse  # noqa: E402

SMALL = """seg 1
net Small(classes: int = 2) {
  input image: f32[N, 3, H, W] where H % 2 == 0, W % 2 == 0
  a = image -> conv(8, 3, pad=1) @conv1 -> bn @bn1 -> relu
  b = a -> max_pool(2) -> conv(8, 3, pad=1, train=false) @conv2 -> relu -> dropout(0.3)
  c = b -> resize(2x, mode=nearest)
  output mask = concat([a, c]) -> conv(classes, 1) @head
  output gate = b -> global_avg_pool -> conv(8, 1) @gate -> sigmoid
}
"""


@pytest.fixture
def graph() -> Graph:
    return parse(SMALL)


IMAGE = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5))


def close(a: object, b: object) -> None:
    assert isinstance(a, tuple)
    assert isinstance(b, tuple)
    for left, right in zip(a, b, strict=True):
        assert torch.equal(left, right)


def test_equal_seeds_give_equal_modules(graph: Graph) -> None:
    first, second = to_torch(graph), to_torch(graph)
    wanted = initialise(params(graph), seed=0)
    for name, tensor in first.state_dict().items():
        assert np.array_equal(tensor.numpy(), wanted[name])
        assert tensor.data_ptr() != second.state_dict()[name].data_ptr()


def test_weights_given_as_a_table_and_as_a_file(graph: Graph, tmp_path: Path) -> None:
    table = initialise(params(graph), seed=9, style="fixture")
    file = tmp_path / "w.safetensors"
    table.to_safetensors(file)
    close(to_torch(graph, table).eval()(IMAGE), to_torch(graph, file).eval()(IMAGE))
    close(to_torch(graph, table).eval()(IMAGE), to_torch(graph, str(file)).eval()(IMAGE))


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_weights_of_another_network_are_refused(graph: Graph, change: str) -> None:
    arrays = dict(initialise(params(graph)))
    if change == "missing":
        del arrays["head.weight"]
    elif change == "extra":
        arrays["other.weight"] = arrays["head.weight"]
    elif change == "shape":
        arrays["head.weight"] = arrays["head.weight"][:1]
    else:
        arrays["head.weight"] = arrays["head.weight"].astype(np.float64)
    with pytest.raises(SegError) as caught:
        to_torch(graph, Weights(arrays))
    assert caught.value.diagnostics[0].code == "E5003"


def test_weights_of_a_wrong_type_are_a_type_error(graph: Graph) -> None:
    with pytest.raises(TypeError, match="dict"):
        to_torch(graph, {})  # type: ignore[arg-type]


def test_frozen_arrays_do_not_train(graph: Graph) -> None:
    module = to_torch(graph)
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    assert frozen == ["conv2.weight", "conv2.bias"]


def test_every_trained_parameter_gets_a_gradient(graph: Graph) -> None:
    module = to_torch(graph)
    sum(y.square().mean() for y in module(IMAGE)).backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all()


def test_outputs_have_names(graph: Graph) -> None:
    found = to_torch(graph).eval()(IMAGE)
    assert found._fields == ("mask", "gate")
    assert found.mask.shape == (2, 2, 16, 24)


def test_life_as_an_object(graph: Graph) -> None:
    module = to_torch(graph).eval()
    wanted = module(IMAGE)
    close(copy.deepcopy(module)(IMAGE), wanted)
    close(pickle.loads(pickle.dumps(module))(IMAGE), wanted)
    assert inspect.getsource(type(module)).startswith("class Small(nn.Module):")
    with pytest.raises(RuntimeError) as caught:
        module(torch.rand(2, 4, 16, 24))
    shown = "".join(traceback.format_exception(caught.value))
    assert "self.bn1(self.conv1(image))" in shown


def test_half_double_channels_last_autocast(graph: Graph) -> None:
    module = to_torch(graph).eval()
    wanted = module(IMAGE).mask
    assert copy.deepcopy(module).bfloat16()(IMAGE.bfloat16()).mask.dtype == torch.bfloat16
    assert copy.deepcopy(module).half()(IMAGE.half()).mask.dtype == torch.float16
    double = copy.deepcopy(module).double()(IMAGE.double()).mask
    assert (double - wanted).abs().max() < 1e-5
    last = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = last(IMAGE.contiguous(memory_format=torch.channels_last)).mask
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - wanted).abs().max() < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(IMAGE).mask.dtype == torch.bfloat16


def test_compile_without_breaks(graph: Graph) -> None:
    module = to_torch(graph).eval()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(compiled(IMAGE), module(IMAGE), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_jit_trace(graph: Graph) -> None:
    module = to_torch(graph).eval()
    close(torch.jit.trace(module, IMAGE)(IMAGE), module(IMAGE))


EXPORTED = {
    "small": (SMALL, (32, 48), 2),
    "unet": ("unet", (32, 48), 1),
    "tiramisu": ("tiramisu", (64, 96), 1),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_export_for_any_size(name: str) -> None:
    source, (height, width), step = EXPORTED[name]
    settings: dict[str, Any] = {"unet": {"width": 2}, "tiramisu": {"depth": 56}}.get(name, {})
    graph = parse(source) if name == "small" else load(source, **settings)
    module = to_torch(graph).eval()
    least = height // step
    sizes = {0: Dim("N"), 2: Dim("H", min=least), 3: Dim("W", min=least)}
    if step > 1:
        sizes = {0: Dim("N"), 2: step * Dim("H", min=8), 3: step * Dim("W", min=8)}
    program = export(module, (torch.rand(2, 3, height, width),), dynamic_shapes=(sizes,)).module()
    for shape in ((3, 3, height + 6, width + 2), (1, 3, height, width + 10)):
        image = torch.rand(shape)
        ours, theirs = program(image), module(image)
        for a, b in zip(
            *((y if isinstance(y, tuple) else (y,)) for y in (ours, theirs)), strict=True
        ):
            torch.testing.assert_close(a, b)


def test_the_written_file_needs_only_torch(graph: Graph, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(emit(graph))
    script = (
        "import sys, torch\nsys.modules['segdsl'] = sys.modules['compiler'] = None\n"
        "from small import Small\n"
        "print(tuple(Small(classes=5).eval()(torch.rand(2, 3, 8, 8)).mask.shape))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "(2, 5, 8, 8)\n"


def test_dropout_draws_as_torch_does() -> None:
    graph = parse(
        "seg 1\nnet D() {\n input image: f32[N, 3, H, W]\n"
        " a = image -> dropout(0.4) -> dropout(0.2, channels=true)\n"
        " output y = a + drop_path(image, 0.5)\n}\n"
    )
    module = to_torch(graph)
    torch.manual_seed(4)
    found = module(IMAGE)
    torch.manual_seed(4)
    a = torch.nn.functional.dropout2d(torch.nn.functional.dropout(IMAGE, 0.4), 0.2)
    noise = torch.empty(2, 1, 1, 1).bernoulli_(0.5).div_(0.5)
    assert torch.equal(found, a + IMAGE * noise)
    assert torch.equal(module.eval()(IMAGE), IMAGE + IMAGE)
