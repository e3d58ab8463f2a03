"""What random programs found, by name: each disagreement of the targets with its cause.

`test_fuzz.py` finds them; where the cause lies outside, the programs that it writes avoid the case
and the test here holds what each side does.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.to_torch import to_torch  # noqa: E402
from tests.compiler.to_onnx.agreement import compare  # noqa: E402
from tests.compiler.to_onnx.runs import fixture, run_onnx  # noqa: E402
from tests.support.grown import examine_text  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402
from tests.support.written import Written  # noqa: E402


def agree(text: str, **sizes: int) -> None:
    program = examine_text(text)
    assert not program.failed
    assert not compare(Written(text, program, sizes))


BLOCK = """\
block B(p: tensor, q: tensor) -> (y: tensor) {{
  z = {}
  y = 1.5 - q
}}"""
CALLS = """\
a = image -> relu
b = image -> B(a) @b1
c = b -> B(a) @b2
output y = c -> tanh"""


def test_a_block_whose_port_only_an_unread_statement_reads() -> None:
    """Ours, fixed: the torch source passed the port a value that was never computed."""
    agree(net(CALLS, BLOCK.format("q -> pad(like=p)")), N=1, H=8, W=6)


def test_a_block_with_an_unread_layer_on_its_port() -> None:
    """The same with arrays: they stay in the state_dict, though nothing computes their input."""
    agree(net(CALLS, BLOCK.format("p -> conv(2, 3, pad=1) @c")), N=1, H=8, W=6)


def test_torch_refuses_a_group_of_one_value() -> None:
    """torch's: at batch 1 its group norm fails, even in evaluation; the result is the offset."""
    made = graph(net("output y = image -> global_avg_pool -> group_norm(3)"))
    weights, image = fixture(made), np.ones((1, 3, 4, 5), np.float32)
    with pytest.raises(ValueError, match="more than 1 value"):
        to_torch(made, weights).eval()(torch.from_numpy(image))
    (ours,) = run_onnx(to_onnx(made, None, weights), {"image": image}).values()
    (bias,) = (array for path, array in weights.items() if path.endswith("bias"))
    np.testing.assert_allclose(ours.ravel(), bias, atol=1e-6)


def test_indices_beyond_a_map_that_is_not_named() -> None:
    """The author's: without `like`, gaps between windows make the result smaller than the map.

    torch refuses the place at run time. Named, the size is that of the map.
    """
    window = "2, stride=[3, 2]"
    body = f"p = image -> max_pool({window}, indices=true)\noutput y = p.values -> "
    undo = body + f"max_unpool(p.indices, kernel={window}"
    given = "input image: f32[N, 3, H, W] where H >= 2, W >= 2"
    image = np.random.default_rng(1).random((1, 3, 2, 3), np.float32)
    image[..., 1, 1] = 2.0
    made = graph(net(undo + ")", given=given))
    with pytest.raises(RuntimeError, match="invalid max index"):
        to_torch(made).eval()(torch.from_numpy(image))
    agree(net(undo + ", like=image)", given=given), N=1, H=2, W=3)


@pytest.mark.parametrize("parts", ["1", "[3]"])
def test_a_split_into_one_part(parts: str) -> None:
    """Ours, fixed: a block whose result it was returned a tuple."""
    body = f"  a = p -> conv(3, 1) @c\n  y = a -> split({parts})\n"
    block = f"block B(p: tensor) -> (y: tensor) {{\n{body}}}"
    agree(net("a = image -> B @b\noutput y = a -> relu -> split(1)", block), N=1, H=4, W=5)


@pytest.mark.parametrize("mode", ["nearest", "nearest_exact", "bilinear"])
@pytest.mark.parametrize("scale", ["1.1", "1.2", "2.4", "[1.2, 2.25]"])
@pytest.mark.parametrize("size", [(5, 2), (3, 4), (9, 3), (2, 7)])
def test_a_factor_that_keeps_or_doubles_a_size(
    mode: str, scale: str, size: tuple[int, int]
) -> None:
    """Ours, fixed: torch ignores the factor where 2 pixels times 1.2 are 2, or times 2.4 are 4.

    And nearest_exact does not, but ONNX Runtime copies a map that keeps its size.
    """
    height, width = size
    agree(net(f'output y = image -> resize({scale}, mode="{mode}")'), N=1, H=height, W=width)


def test_onnx_runtime_copies_a_map_that_keeps_its_size() -> None:
    """The runtime's: the file says to interpolate by the factor, as torch does."""
    made = graph(net('output y = image -> resize(1.2, mode="bicubic")'))
    image = np.random.default_rng(0).random((1, 3, 3, 4), np.float32)
    (ours,) = run_onnx(to_onnx(made, None, fixture(made)), {"image": image}).values()
    theirs = to_torch(made).eval()(torch.from_numpy(image)).numpy()
    assert np.array_equal(ours, image)
    assert np.abs(theirs - image).max() > 0.01
    (ours,) = run_onnx(
        to_onnx(made, None, fixture(made)), {"image": image[..., :3, :3].repeat(2, 2)}
    ).values()
    theirs = to_torch(made).eval()(torch.from_numpy(image[..., :3, :3].repeat(2, 2))).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
