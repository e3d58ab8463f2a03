"""What a file says: names, types, metadata, opset; and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.peers import need

onnx = need("onnx")
need("onnxruntime")

from compiler import to_onnx  # noqa: E402
from compiler.to_onnx import files  # noqa: E402
from compiler.to_onnx.build import Options, build  # noqa: E402
from compiler.to_onnx.opsets import HIGHEST, LOWEST, ir_version  # noqa: E402
from compiler.weights import Weights, initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Node  # noqa: E402
from segdsl.ops.activation import Relu  # noqa: E402
from segdsl.ops.combine import PadToMultiple  # noqa: E402
from segdsl.printer import print_graph  # noqa: E402
from segdsl.program import load  # noqa: E402
from segdsl.types import Pair  # noqa: E402
from tests.compiler.to_onnx.runs import checked, run_onnx, session  # noqa: E402
from tests.support.graphs import Builder  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

SMALL = net(
    "x = image -> conv(4, 3, pad=1) @stem.conv -> bn @stem.bn -> relu\n"
    "output mask = resize(x, like=image, mode=bilinear)"
)
LARGE = SMALL.replace("conv(4,", "conv(64,")
CEIL_INPUT = "input image: f32[N, 3, H, W] where H >= 5, W >= 5"
CEIL = net(
    "output y = image -> max_pool(3, stride=2, ceil=true)",
    given="input image: f32[N, 3, H, W] where H >= 2, W >= 2",
)


def codes(refused: pytest.ExceptionInfo[SegError]) -> list[str]:
    return [d.code for d in refused.value.diagnostics]


def test_names_are_paths_and_types_are_stated() -> None:
    model = checked(to_onnx(graph(SMALL)))
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    assert conv.name == "stem/conv"
    assert list(conv.input) == ["image", "stem.conv.weight", "stem.conv.bias"]
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["mask"]
    assert model.graph.name == "T"
    stated = {info.name for info in model.graph.value_info}
    made = {name for node in model.graph.node for name in node.output}
    assert stated == made - {"mask"}


def test_free_sizes_are_our_formulas() -> None:
    model = checked(to_onnx(load("unet_resnet34")))
    (image,) = model.graph.input
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["N", 3, "H", "W"]
    shapes = {
        info.name: [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim]
        for info in model.graph.value_info
    }
    assert shapes["encoder/conv1"] == ["N", 64, "(H + 1)//2", "(W + 1)//2"]
    assert not any("unk" in str(dim) for dims in shapes.values() for dim in dims)


@pytest.mark.parametrize("name", ["unet_resnet34", "deeplabv3", "tiramisu"])
def test_names_are_unique_and_graphs_clean(name: str) -> None:
    model = onnx.load_from_string(to_onnx(load(name)))
    nodes = [node.name for node in model.graph.node]
    made = [name for node in model.graph.node for name in node.output]
    arrays = [array.name for array in model.graph.initializer]
    read = {name for node in model.graph.node for name in node.input}
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)
    assert len({*made, *arrays, "image"}) == len(made) + len(arrays) + 1
    assert set(arrays) <= read
    assert {*made} <= read | {output.name for output in model.graph.output}
    kinds = [node.op_type for node in model.graph.node]
    assert not {"Identity", "Constant", "Dropout"} & set(kinds)
    shapes = [node.input[0] for node in model.graph.node if node.op_type == "Shape"]
    assert len(set(shapes)) == len(shapes)


def test_metadata(tmp_path: Path) -> None:
    made = graph(SMALL)
    file = tmp_path / "w.safetensors"
    initialise(params(made), 3).to_safetensors(file)
    model = onnx.load_from_string(to_onnx(made, None, file, class_names=["a", "b", "c", "d"]))
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(found["classes"]) == ["a", "b", "c", "d"]
    assert found["segdsl.weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    printed = print_graph(made).encode()
    assert found["segdsl.spec_sha256"] == hashlib.sha256(printed).hexdigest()
    assert json.loads(found["segdsl.accepts"])["H"] == "H >= 1"
    assert (model.producer_name, found["segdsl.net"]) == ("segdsl", "T")


def test_given_arrays_are_written() -> None:
    made = graph(net("output y = image -> conv(4, 3, pad=1) @c"))
    weights = initialise(params(made), 7)
    model = onnx.load_from_string(to_onnx(made, None, weights))
    for array in model.graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(array), weights[array.name])


def test_equal_arguments_give_equal_bytes_in_any_process() -> None:
    script = (
        "import sys, hashlib, segdsl, compiler;"
        "content = compiler.to_onnx(segdsl.load('resnet', depth=18));"
        "heavy = [m for m in ('torch', 'onnxruntime', 'onnxscript', 'triton') if m in sys.modules];"
        "print(hashlib.sha256(content).hexdigest(), heavy)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    (only,) = found
    assert only.endswith(" []")


@pytest.mark.parametrize("opset", range(LOWEST, HIGHEST + 1))
def test_every_opset_runs_and_has_its_ir_version(opset: int) -> None:
    made = graph(SMALL)
    content = to_onnx(made, opset=opset)
    model = checked(content)
    assert (model.opset_import[0].version, model.ir_version) == (opset, ir_version(opset))
    inputs = {"image": np.ones((1, 3, 9, 8), np.float32)}
    (ours,) = run_onnx(content, inputs).values()
    (lowest,) = run_onnx(to_onnx(made), inputs).values()
    np.testing.assert_allclose(ours, lowest, atol=1e-6)


def test_ir_versions_are_those_of_onnx() -> None:
    table = {row[2]: row[1] for row in reversed(onnx.helper.VERSION_TABLE)}
    found = {opset: ir_version(opset) for opset in range(LOWEST, HIGHEST + 1)}
    assert found == {opset: table[opset] for opset in found}


def test_ceil_at_free_sizes_takes_the_opset_that_defines_it() -> None:
    made = graph(CEIL)
    model = checked(to_onnx(made))
    assert model.opset_import[0].version == 22
    raised = {entry.key: entry.value for entry in model.metadata_props}["segdsl.opset_raised_by"]
    assert "ceil" in raised
    assert checked(to_onnx(made, size=(9, 9))).opset_import[0].version == 18
    with pytest.raises(SegError) as refused:
        to_onnx(made, opset=21)
    assert codes(refused) == ["E6001"]
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.span is not None
    assert diagnostic.span.text.startswith("max_pool")
    assert "opset 22" in diagnostic.helps[0].text


def test_pads_that_runtimes_refuse_are_not_written() -> None:
    """At a known size too, if the end of the map would be padded by the kernel or more."""
    made = graph(
        net("output y = image -> max_pool(2, stride=4, dilation=4, ceil=true)", given=CEIL_INPUT)
    )
    assert checked(to_onnx(made, size=(6, 6))).opset_import[0].version == 22
    with pytest.raises(SegError) as refused:
        to_onnx(made, size=(6, 6), opset=18)
    assert codes(refused) == ["E6001"]
    assert [help.text for help in refused.value.diagnostics[0].helps] == [
        "opset 22 can: `--opset 22`"
    ]


@pytest.mark.parametrize("opset", [1, LOWEST - 1, HIGHEST + 1])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(SegError) as refused:
        to_onnx(graph(SMALL), opset=opset)
    assert codes(refused) == ["E6003"]


def test_sizes_that_the_network_does_not_accept_are_refused() -> None:
    with pytest.raises(SegError) as refused:
        to_onnx(graph(CEIL), size=(1, 9))
    assert codes(refused) == ["E3014"]
    with pytest.raises(ValueError, match="needs `size`"):
        to_onnx(graph(CEIL), batch=2)


def test_fixed_sizes_are_fixed() -> None:
    made = graph(SMALL)
    shape = session(to_onnx(made, size=(9, 8), batch=2)).get_outputs()[0].shape
    assert shape == [2, 4, 9, 8]
    assert session(to_onnx(made, size=(9, 8))).get_inputs()[0].shape == ["N", 3, 9, 8]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    with pytest.raises(SegError) as refused:
        to_onnx(graph(SMALL), target, Weights({}))
    assert codes(refused) == ["E5003"]
    assert not target.exists()


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    made, target = graph(SMALL), tmp_path / "net.onnx"
    assert to_onnx(made, target) is None
    assert target.read_bytes() == to_onnx(made)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    with pytest.raises(SegError) as refused:
        to_onnx(made, tmp_path / "none" / "net.onnx")
    assert codes(refused) == ["E0106"]


def test_the_weights_are_never_overwritten(tmp_path: Path) -> None:
    made, file = graph(SMALL), tmp_path / "w.safetensors"
    initialise(params(made), 3).to_safetensors(file)
    before = file.read_bytes()
    with pytest.raises(SegError) as refused:
        to_onnx(made, file, file)
    assert codes(refused) == ["E0106"]
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["net.onnx", "net.data"])
def test_large_arrays_lie_beside_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = graph(SMALL)
    inside = to_onnx(made)
    monkeypatch.setattr(files, "MAX_IN_ONE", 100)
    with pytest.raises(SegError) as refused:
        to_onnx(made)
    assert codes(refused) == ["E6010"]
    target = tmp_path / name
    to_onnx(made, target)
    (beside,) = (path for path in tmp_path.iterdir() if path.name != name)
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    assert beside.name == f"{name}.{digest[:16]}.data"
    moved = tmp_path.rename(tmp_path.with_name(f"moved_{name}"))
    onnx.checker.check_model(str(moved / name), full_check=True)
    inputs = {"image": np.ones((1, 3, 9, 8), np.float32)}
    (ours,) = run_onnx(str(moved / name), inputs).values()
    (wanted,) = run_onnx(inside, inputs).values()
    assert np.array_equal(ours, wanted)


def test_a_model_takes_the_arrays_of_its_forerunner_away(tmp_path: Path) -> None:
    """And nothing else: not those of a neighbour, nor files that only look alike."""
    made, target = graph(LARGE), tmp_path / "net.onnx"
    weights = [initialise(params(made), seed) for seed in (1, 2)]
    neighbour = tmp_path / "net.onnx.onnx"
    files.save(build(made, weights[0], Options()), neighbour, most=100)
    (beside,) = set(tmp_path.iterdir()) - {neighbour}
    kept = {neighbour, beside, tmp_path / "net.onnx.data", tmp_path / "net.onnx.0123.data"}
    kept.add(tmp_path / f"net.onnx.{'0' * 16}.data.txt")
    for path in kept - {neighbour, beside}:
        path.write_bytes(b"mine")
    first, model = files.save(build(made, weights[0], Options()), target, most=100)
    again, _ = files.save(build(made, weights[0], Options()), target, most=100)
    second, _ = files.save(build(made, weights[1], Options()), target, most=100)
    assert model == target
    assert first == again != second
    assert set(tmp_path.iterdir()) == {*kept, target, second}
    run_onnx(str(target), {"image": np.ones((1, 3, 9, 8), np.float32)})
    assert files.save(build(made, weights[1], Options()), target) == (target,)
    assert set(tmp_path.iterdir()) == {*kept, target}


def test_arrays_beside_a_link(tmp_path: Path) -> None:
    """They lie beside the file; a link in another folder would not find them."""
    made = graph(LARGE)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "near.onnx").symlink_to("real.onnx")
    (other / "far.onnx").symlink_to(tmp_path / "real.onnx")
    with pytest.raises(SegError) as refused:
        files.save(build(made, None, Options()), other / "far.onnx", most=100)
    assert "a link into another folder" in refused.value.diagnostics[0].message
    assert (tmp_path / "real.onnx").read_bytes() == b"old"
    beside, _ = files.save(build(made, None, Options()), tmp_path / "near.onnx", most=100)
    assert beside.name.startswith("real.onnx.")
    for name in ("near.onnx", "real.onnx"):
        run_onnx(str(tmp_path / name), {"image": np.ones((1, 3, 9, 8), np.float32)})


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """ONNX's strings are UTF-8: the second file's name is escaped, so that it can be stated."""
    name = os.fsdecode(b"a\xff.onnx")
    beside, target = files.save(build(graph(LARGE), None, Options()), tmp_path / name, most=100)
    assert beside.name.startswith("a\\udcff.onnx.")
    model = onnx.load_from_string(target.read_bytes())
    places = {
        entry.value
        for array in model.graph.initializer
        for entry in array.external_data
        if entry.key == "location"
    }
    assert places == {beside.name}


def test_one_value_under_two_names_and_an_input_as_output() -> None:
    made = graph(net("y = image -> relu\noutput a = y\noutput b = y\noutput c = image"))
    content = to_onnx(made)
    checked(content)
    inputs = {"image": np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 2, 2)}
    found = run_onnx(content, inputs)
    relu = np.maximum(inputs["image"], 0)
    assert list(found) == ["a", "b", "c"]
    assert all(
        np.array_equal(found[k], v)
        for k, v in zip("abc", (relu, relu, inputs["image"]), strict=True)
    )


def test_shared_weights_are_one_array() -> None:
    body = "layer f = conv(3, 3, pad=1) @c\noutput y = image -> f -> relu -> f"
    model = onnx.load_from_string(to_onnx(graph(net(body))))
    assert [array.name for array in model.graph.initializer] == ["c.weight", "c.bias"]


def test_helpers_never_take_the_name_of_a_node() -> None:
    builder = Builder()
    image = builder.input()
    padded = builder.graph.add(Node("p", PadToMultiple(Pair(4, 4))), [image])
    relu = builder.graph.add(Node("p.Shape", Relu()), [padded])
    builder.output(relu, "p/Neg")
    content = to_onnx(builder.graph)
    checked(content)
    (found,) = run_onnx(content, {"image": np.ones((1, 3, 3, 5), np.float32)}).values()
    assert found.shape == (1, 3, 4, 8)
