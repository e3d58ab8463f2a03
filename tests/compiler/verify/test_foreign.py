"""ONNX files of any maker beside a network: what is compared, and what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need

torch = need("torch")
need("onnxruntime")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from compiler.to_onnx import to_onnx  # noqa: E402
from compiler.verify.compare import Gate  # noqa: E402
from compiler.verify.comparisons import Options, against_file  # noqa: E402
from compiler.verify.report import Report  # noqa: E402
from compiler.weights import Weights, initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.diagnostics import Diagnostic, SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.render import render  # noqa: E402
from tests.compiler.verify.nets import tiny  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

SIZE = Options(sizes=((17, 24),), batches=(2,), images=("noise",))
TWO = net(
    "output low = image -> conv(4, 1) @a\noutput high = other -> conv(4, 1) @b",
    given="input image: f32[N, 3, H, W]\ninput other: f32[N, 5, H, W]",
)


def weights(of: Graph, seed: int = 0) -> Weights:
    return initialise(params(of), seed, style="fixture")


def written(of: Graph, path: Path, **options: Any) -> str:
    to_onnx(of, path, weights(of), **options)
    return str(path)


def edited(path: str, change: Any) -> str:
    """The file with a changed model."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def renamed(model: Any, old: str, new: str) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new if name == old else name


def refused(of: Graph, path: str, options: Options = SIZE) -> Diagnostic:
    with pytest.raises(SegError) as found:
        against_file(of, None, path, options)
    (diagnostic,) = found.value.diagnostics
    return diagnostic


def saved(path: Path, op: str, dtype: int, arrays: Sequence[Any] = (), **attributes: Any) -> str:
    """A file with one node."""
    shape: list[str | int | None] = ["N", 3, "H", "W"]
    image = helper.make_tensor_value_info("image", dtype, shape)
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 3, None, None])
    names = ["image", *(array.name for array in arrays)]
    node = helper.make_node(op, names, ["mask"], **attributes)
    made = helper.make_graph([node], "g", [image], [mask], list(arrays))
    onnx.save(
        helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]), path
    )
    return str(path)


def only(report: Report) -> Any:
    (row,) = report.rows
    return row.figures


def test_our_file_passes_and_other_weights_do_not(tmp_path: Path) -> None:
    of = tiny()
    path = written(of, tmp_path / "net.onnx")
    assert against_file(of, weights(of), path, SIZE).passed
    report = against_file(of, weights(of, 1), path, SIZE)
    assert [d.code for d in report.diagnostics()] == ["E6020"]
    assert [row.kind for row in report.rows] == ["output"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_of_torch_passes(tmp_path: Path) -> None:
    """A real foreign exporter: other names of inputs and outputs, a static size, Constant nodes."""
    from compiler.to_torch import to_torch

    of = tiny()
    module = to_torch(of, weights(of)).eval()
    path = str(tmp_path / "torch.onnx")
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, 19, 26),),
        path,
        input_names=["pixels"],
        output_names=["logits"],
        dynamo=False,  # torch's other exporter needs onnxscript
    )
    report = against_file(of, weights(of), path, Options(images=("noise",)))
    assert report.passed, report
    assert [case.shape for case in report.cases] == [(1, 3, 19, 26)]
    assert not against_file(of, weights(of, 1), path, Options(images=("noise",))).passed


def test_the_size_that_the_file_states_is_taken(tmp_path: Path) -> None:
    of = tiny()
    path = written(of, tmp_path / "net.onnx", size=(21, 30))
    report = against_file(of, weights(of), path, Options(images=("noise",)))
    assert [case.shape for case in report.cases] == [(1, 3, 21, 30), (2, 3, 21, 30)]
    assert refused(of, path).code == "E3014"


def test_inputs_go_by_name_then_by_shape(tmp_path: Path) -> None:
    of = graph(TWO)
    path = written(of, tmp_path / "two.onnx")

    def swap(model: Any) -> None:
        first, second = (onnx.ValueInfoProto() for _ in range(2))
        first.CopyFrom(model.graph.input[0])
        second.CopyFrom(model.graph.input[1])
        model.graph.input[0].CopyFrom(second)
        model.graph.input[1].CopyFrom(first)
        renamed(model, "image", "left")
        renamed(model, "other", "right")

    assert against_file(of, weights(of), edited(path, swap), SIZE).passed


def test_inputs_that_cannot_be_told_apart_need_names(tmp_path: Path) -> None:
    of = graph(TWO.replace("N, 5", "N, 3"))
    path = written(of, tmp_path / "two.onnx")

    def rename(model: Any) -> None:
        renamed(model, "image", "left")
        renamed(model, "other", "right")

    edited(path, rename)
    found = refused(of, path)
    assert found.code == "E6024"
    assert "`left` float32[?, 3, ?, ?]" in found.notes[1]
    right = Options(**{**vars(SIZE), "inputs": {"image": "left", "other": "right"}})
    wrong = Options(**{**vars(SIZE), "inputs": {"image": "right", "other": "left"}})
    assert against_file(of, weights(of), path, right).passed
    assert not against_file(of, weights(of), path, wrong).passed


def test_messages_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    of, two = tiny(), graph(TWO)
    written(two, Path("two.onnx"))
    saved(Path("half.onnx"), "Cast", TensorProto.FLOAT16, to=1)
    to_onnx(graph(net("output a = image\noutput b = image")), Path("ab.onnx"))
    saved(Path("nope.onnx"), "Nope", TensorProto.FLOAT)
    texts = [render([refused(of, f"{name}.onnx")]) for name in ("two", "half", "ab", "nope")]
    text = re.sub(r"Runtime [0-9.]+ ", "Runtime X ", "\n".join(texts))
    text = re.sub(r"note: This is an invalid model.*", "note: ITS WORDS", text)
    assert text == MESSAGES


MESSAGES = """\
error[E6024]: the inputs of `two.onnx` are not those of the network
 = note: the network takes `image` float32[?, 3, ?, ?]
 = note: `two.onnx` takes `image` float32[?, 3, ?, ?], `other` float32[?, 5, ?, ?]
 = explain: segdsl explain E6024

1 error; nothing was written
error[E6025]: input `image` of `half.onnx` holds float16, ours float32
 = help: write the file with the network's own inputs, its insides in any type
 = explain: segdsl explain E6025

1 error; nothing was written
error[E6026]: the outputs of `ab.onnx` are not those of the network
 = note: the network gives `mask`
 = note: `ab.onnx` gives `a`, `b`
 = help: say which is which: `--output OURS=THEIRS`
 = explain: segdsl explain E6026

1 error; nothing was written
error[E6027]: ONNX Runtime X cannot load `nope.onnx`
 = note: ITS WORDS
 = explain: segdsl explain E6027

1 error; nothing was written"""


@pytest.mark.parametrize(
    ("kind", "names", "code"),
    [
        ("inputs", {"image": "imagee"}, "E6024"),
        ("inputs", {"picture": "image"}, "E6024"),
        ("outputs", {"mask": "nothing"}, "E6026"),
        ("outputs", {"other": "mask"}, "E6026"),
    ],
)
def test_names_that_are_not_there(
    tmp_path: Path, kind: str, names: dict[str, str], code: str
) -> None:
    of = tiny()
    path = written(of, tmp_path / "net.onnx")
    assert refused(of, path, Options(**{**vars(SIZE), kind: names})).code == code


def test_one_name_for_two() -> None:
    from compiler.verify.matching import match_outputs

    with pytest.raises(SegError, match="two outputs"):
        match_outputs(["a", "b"], ["x", "y"], {"a": "x", "b": "x"}, "it")


def test_other_channels_types_and_numbers_of_inputs(tmp_path: Path) -> None:
    of = tiny()
    other = graph(net("output mask = image -> conv(3, 1) @a", given="input image: f32[N, 4, H, W]"))
    assert refused(of, written(other, tmp_path / "channels.onnx")).code == "E6024"
    assert refused(of, written(graph(TWO), tmp_path / "two.onnx")).code == "E6024"
    found = refused(of, saved(tmp_path / "half.onnx", "Cast", TensorProto.FLOAT16, to=1))
    assert (found.code, "holds float16, ours float32" in found.message) == ("E6025", True)


def test_outputs_go_by_name_or_by_order(tmp_path: Path) -> None:
    of = graph(TWO)
    path = written(of, tmp_path / "two.onnx")

    def rename(model: Any) -> None:
        renamed(model, "low", "a")
        renamed(model, "high", "b")

    edited(path, rename)
    assert against_file(of, weights(of), path, SIZE).passed
    swapped = Options(**{**vars(SIZE), "outputs": {"low": "b", "high": "a"}})
    assert not against_file(of, weights(of), path, swapped).passed
    edited(path, lambda model: model.graph.output.pop())
    assert refused(of, path).code == "E6026"


def test_other_shapes_of_an_output_are_a_departure(tmp_path: Path) -> None:
    of = graph(net("output mask = image -> conv(3, 1) @a"))
    other = graph(net("output mask = image -> conv(4, 1) @a"))
    report = against_file(of, None, written(other, tmp_path / "net.onnx"), SIZE)
    assert only(report).verdict == "shape"
    (diagnostic,) = report.diagnostics()
    assert "shape [2, 4, 17, 24] instead of [2, 3, 17, 24]" in diagnostic.notes[0]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\xff\xff", None])
def test_files_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    assert refused(tiny(), str(path)).code == "E6023"
    assert refused(tiny(), str(tmp_path)).code == "E6023"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)
    assert "larger than" in refused(tiny(), str(path)).message


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = Path(written(tiny(), tmp_path / "net.onnx"))
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        assert refused(tiny(), str(path)).code in ("E6023", "E6027")


def outside(model: Any, location: str) -> None:
    """Say that the first array lies in another file."""
    array = model.graph.initializer[0]
    content = numpy_helper.to_array(array)
    array.ClearField("raw_data")
    array.data_location = TensorProto.EXTERNAL
    del array.external_data[:]
    for key, value in (("location", location), ("length", str(content.nbytes))):
        array.external_data.add(key=key, value=value)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret", "absent"])
def test_arrays_outside_the_folder_are_not_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(1 << 16))
    path = written(tiny(), folder / "net.onnx")
    model = onnx.load(path)
    outside(model, location)
    Path(path).write_bytes(model.SerializeToString())
    assert refused(tiny(), path).code == "E6023"


def test_a_link_beside_the_file_is_not_followed(tmp_path: Path) -> None:
    path = written(tiny(), tmp_path / "net.onnx")
    model = onnx.load(path)
    outside(model, "link")
    Path(path).write_bytes(model.SerializeToString())
    (tmp_path / "data").write_bytes(bytes(1 << 16))
    os.symlink(tmp_path / "data", tmp_path / "link")
    assert refused(tiny(), path).code == "E6023"


def test_arrays_beside_the_file_are_read(tmp_path: Path) -> None:
    of = tiny()
    path = written(of, tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="beside.bin", size_threshold=512)
    assert (tmp_path / "beside.bin").is_file()
    assert against_file(of, weights(of), path, SIZE).passed


@pytest.mark.parametrize(("opset", "ir_version"), [(99, 8), (18, 99)])
def test_what_the_runtime_cannot_read(tmp_path: Path, opset: int, ir_version: int) -> None:
    def change(model: Any) -> None:
        model.opset_import[0].version = opset
        model.ir_version = ir_version

    path = edited(written(tiny(), tmp_path / "net.onnx"), change)
    found = refused(tiny(), path)
    assert found.code == "E6027"
    assert str(opset if opset == 99 else ir_version) in found.notes[0]


def test_a_file_that_fails_as_it_runs(tmp_path: Path) -> None:
    """Free sizes that the file does not really take."""
    to = numpy_helper.from_array(np.array([1, 3, 5, 5]), "to")
    path = saved(tmp_path / "net.onnx", "Reshape", TensorProto.FLOAT, arrays=[to])
    assert refused(tiny(), path).code == "E6027"


def test_half_precision_by_classes(tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    of = tiny()
    path = written(of, tmp_path / "net.onnx")
    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.save(model, path)
    assert not against_file(of, weights(of), path, SIZE).passed
    argmax = Options(**{**vars(SIZE), "gate": Gate.argmax(0.99)})
    report = against_file(of, weights(of), path, argmax)
    assert report.passed
    share = only(report).agreement
    assert share is not None
    assert 0.99 <= share <= 1.0
    assert only(report).miou > 0.9
    assert not against_file(of, weights(of, 1), path, argmax).passed


def test_a_file_that_gives_classes(tmp_path: Path) -> None:
    of = tiny()
    path = written(of, tmp_path / "net.onnx")

    def add_argmax(model: Any) -> None:
        renamed(model, "mask", "scores")
        node = helper.make_node("ArgMax", ["scores"], ["mask"], axis=1, keepdims=0)
        model.graph.node.append(node)
        del model.graph.output[:]
        mask = helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", "H", "W"])
        model.graph.output.append(mask)

    edited(path, add_argmax)
    found = refused(of, path)
    assert found.code == "E6025"
    assert [help.text for help in found.helps] == ["`--gate argmax` compares classes"]
    argmax = Options(**{**vars(SIZE), "gate": Gate.argmax(0.999)})
    assert against_file(of, weights(of), path, argmax).passed
    assert not against_file(of, weights(of, 1), path, argmax).passed
