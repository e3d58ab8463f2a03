from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings

import compiler
from compiler.passes.drop_dead import drop_dead
from compiler.passes.rebuild import rebuilt
from compiler.pipeline import PASSES, run
from segdsl.analysis.shapes import shapes
from segdsl.diagnostics import SegError
from segdsl.ir import Graph, GraphError, Value
from segdsl.program import load
from segdsl.report import summary
from tests.support.grown import Grown, programs
from tests.support.programs import graph, net

SMALL = net("output y = image -> conv(4, 3, pad=1) @c -> bn @n -> relu -> dropout(0.5)")


def test_steps_say_what_each_pass_did() -> None:
    done = run(graph(SMALL))
    assert [(s.name, s.changed, s.before, s.after) for s in done.steps] == [
        ("drop_inference_noise", True, 6, 5),
        ("drop_dead", False, 5, 5),
        ("merge_common", False, 5, 5),
        ("fold_padding", False, 5, 5),
        ("fold_bn", True, 5, 4),
    ]


def test_optimizing_twice_changes_nothing() -> None:
    once = compiler.optimize(load("unet_resnet34"))
    assert compiler.optimize(once) is once


def test_a_pass_that_changes_an_output_is_named() -> None:
    def skips_the_last(graph: Graph) -> Graph:
        (name,) = graph.outputs
        new = graph.copy()
        new.rewire(name, [Value("image")])
        return new

    with pytest.raises(
        GraphError, match=r"skips_the_last' \(after drop_dead\) changed the outputs"
    ):
        run(graph(SMALL), [drop_dead, skips_the_last])


def test_a_pass_that_loses_an_operand_is_refused() -> None:
    def loses(graph: Graph) -> Graph:
        return rebuilt(graph, drop={"c"})

    with pytest.raises(GraphError):
        run(graph(SMALL), [loses])


@settings(max_examples=25)
@given(grown=programs())
def test_outputs_keep_their_types(grown: Grown) -> None:
    before = grown.program.graph
    assert before is not None
    copy = before.copy()
    after = run(before).graph
    old, new = shapes(before), shapes(after)
    assert after.outputs == before.outputs
    assert all(old[Value(n)] == new[Value(n)] for n in after.outputs)
    assert before == copy


def test_it_needs_no_heavy_library() -> None:
    script = (
        "import sys, compiler, segdsl; compiler.optimize(segdsl.load('unet_resnet34'));"
        "print([m for m in ('torch', 'onnx', 'onnx_ir', 'triton') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_order_is_the_documentation() -> None:
    names = [getattr(rewrite, "__name__", "") for rewrite in PASSES]
    folds = ["fold_padding", "fold_bn"]
    assert names == ["drop_inference_noise", "drop_dead", "merge_common", *folds]


def test_the_torch_target_refuses_folded_norms_in_words() -> None:
    pytest.importorskip("torch")
    with pytest.raises(SegError) as refused:
        compiler.to_torch(compiler.optimize(graph(SMALL)))
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == "E6001"
    assert "`c`" in diagnostic.message or "conv" in diagnostic.message


def test_an_optimized_graph_can_be_summed_up() -> None:
    before = load("unet_resnet34")
    after = compiler.optimize(before)
    assert summary(after).parameters == summary(before).parameters
