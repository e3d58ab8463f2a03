"""Every stock spec: the file passes all checks, and public optimisers find nothing left to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need

onnx = need("onnx")
runtime = need("onnxruntime")
optimizer = need("onnxscript.optimizer")

import onnx_ir as ir  # noqa: E402
from onnx_ir.passes import common  # noqa: E402

from compiler.to_onnx import to_onnx  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.to_onnx.light import light  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

STOCK = (Path(__file__).parents[3] / "specs").glob("*.seg")
SPECS = sorted(path.stem for path in STOCK if "crf" not in path.read_text("utf-8"))
"""Without those that end in a CRF: not all methods have a form in ONNX."""
SIZES = [None, (224, 256)]
SHORT: dict[str, dict[str, Any]] = {
    name: {"depths": [1, 2, 1, 1]} for name in ("internimage", "upernet_internimage")
}
"""Settings for the slow optimiser: the blocks of a stage are alike."""


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def by_onnxscript(model: Any) -> Counter[str]:
    return kinds(optimizer.optimize(model))


def by_onnx_ir(model: Any) -> Counter[str]:
    """Common subexpressions, identities, dead nodes, equal and lifted constants."""
    passes = (
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.LiftConstantsToInitializersPass(),
        common.DeduplicateInitializersPass(),
        common.RemoveUnusedNodesPass(),
    )
    made = ir.from_proto(model)
    before = len(made.graph.initializers)
    for one in passes:
        made = one(made).model
    assert len(made.graph.initializers) == before
    return kinds(ir.to_proto(made))


@pytest.mark.parametrize("size", SIZES, ids=["free", "fixed"])
@pytest.mark.parametrize("name", SPECS)
def test_nothing_is_left_to_do(name: str, size: tuple[int, int] | None) -> None:
    model = light(load(name, **SHORT.get(name, {})), size=size)
    whole = kinds(model)
    assert not {"Identity", "Constant", "Dropout", "BatchNormalization"} & set(whole) - norms(name)
    assert by_onnx_ir(model) == whole
    assert by_onnxscript(model) == whole


def norms(name: str) -> set[str]:
    """A norm before a convolution cannot be folded into it."""
    return {"BatchNormalization"} if name == "tiramisu" else set()


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_every_check_passes(name: str, optimized: bool) -> None:
    """At free sizes; fixed ones are inferred with numbers, against the shapes that are stated."""
    made = load(name)
    for size in SIZES:
        model = light(made, size=size, optimized=optimized)
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
        assert len(inferred.graph.value_info) == len(model.graph.value_info)


CRF = """\
seg 1
net T() {
  input image: f32[N, 3, H, W]
  x = image -> conv(4, 3, pad=1) @c
  output y = x -> mean_field([gaussian(1.5), bilateral(image, 1.0, 1.5)], method=METHOD,
                             iterations=2)
}
"""


@pytest.mark.parametrize("method", ["window, window=3", "exact"])
def test_nothing_of_a_crf_is_left_to_do_at_free_sizes(method: str) -> None:
    """onnxscript takes the 1e-20 that guard two divisions for zeros; they stay.

    At fixed sizes it also works out maps of kernels, which would be as large as pictures.
    """
    model = light(graph(CRF.replace("METHOD", method)), unroll=True, dense=True)
    assert kinds(model) - by_onnxscript(model) == Counter(Add=2)
    assert by_onnx_ir(model) == kinds(model)


def test_the_optimizers_would_find_something() -> None:
    kept = onnx.load_from_string(to_onnx(load("resnet", depth=18), optimize=False))
    assert kinds(kept)["BatchNormalization"] == 20
    assert by_onnxscript(kept)["BatchNormalization"] == 0
    with_identity = light(graph(net("output y = image")))
    copies = [onnx.helper.make_node("Relu", ["image"], [name]) for name in ("a", "b")]
    with_identity.graph.node.extend([*copies, onnx.helper.make_node("Add", ["a", "b"], ["z"])])
    with_identity.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, None))
    assert by_onnx_ir(with_identity)["Relu"] == 1


@pytest.mark.parametrize("size", SIZES, ids=["free", "fixed"])
@pytest.mark.parametrize("name", ["resnet"])
def test_the_runtime_itself_only_fuses(
    name: str, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    """Its basic level removes, folds and moves; fusing into its own operators comes after it."""
    made: Graph = load(name, depth=18)
    content = to_onnx(made, None, None, size=size)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "after.onnx")
    options.log_severity_level = 3
    runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    after = onnx.load(tmp_path / "after.onnx")
    assert kinds(after) == kinds(onnx.load_from_string(content))


def test_a_dead_twin_lends_no_type() -> None:
    """Found by a random program: of two equal nodes the dead one, with another type, was kept."""
    network = graph(
        "seg 1\nnet T() {\n  input image: f32[1, 2, 5, 5]\n"
        '  output y = image -> mean_field([bilateral(image, 1.0, 1.5, norm="mean")], '
        "method=window)\n}\n"
    )
    model = light(network)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
