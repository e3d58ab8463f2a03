"""Targets beside the reference: right ones pass, a planted mistake is found where it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.peers import need

need("torch")
need("onnxruntime")

import onnx_ir as ir  # noqa: E402

from compiler import verify  # noqa: E402
from compiler.to_onnx.conv import conv as onnx_conv  # noqa: E402
from compiler.to_onnx.lower import emit  # noqa: E402
from compiler.to_onnx.resize import resize as onnx_resize  # noqa: E402
from compiler.to_onnx.site import Site  # noqa: E402
from compiler.verify import engine, runners  # noqa: E402
from compiler.verify.comparisons import Options, against_targets  # noqa: E402
from compiler.verify.inputs import accepted_sizes  # noqa: E402
from compiler.verify.report import Report  # noqa: E402
from compiler.verify.stages import at_inference, stages  # noqa: E402
from compiler.verify.tolerances import RESIZE, WHOLE_NET, one_operator  # noqa: E402
from compiler.weights import Weights, initialise  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.ops.conv import Conv  # noqa: E402
from segdsl.ops.resize import Resize  # noqa: E402
from segdsl.program import load  # noqa: E402
from tests.compiler.verify.nets import STAGES, STOCK, TINY, narrow, tiny  # noqa: E402
from tests.support.programs import graph, net  # noqa: E402

ONE = Options(sizes=((17, 24),), batches=(2,), images=("noise",))
BOTH = ("torch", "onnx")


def fixture(graph: Graph) -> Weights:
    return initialise(params(graph), style="fixture")


def line(text: str) -> int:
    """The line of `TINY` that begins so."""
    return next(i for i, row in enumerate(TINY.splitlines(), 1) if row.strip().startswith(text))


@pytest.mark.parametrize(("name", "settings", "size"), STOCK, ids=[row[0] for row in STOCK])
def test_stock_networks_pass(name: str, settings: dict[str, Any], size: tuple[int, int]) -> None:
    graph = narrow(load(name, **settings))
    options = Options(sizes=(size,), batches=(1,), images=("noise",))
    report = against_targets(graph, None, BOTH, options)
    assert report.passed, report
    named = [stage.name for stage in stages(at_inference(graph))]
    outputs = [row.name for row in report.rows if row.kind == "output" and row.target == "onnx"]
    for target in BOTH:
        rows = [row for row in report.rows if row.target == target and row.kind == "stage"]
        assert [row.name for row in rows] == named
        assert sum(row.figures.verdict == "faint" for row in rows) == 0
    assert outputs
    # Two ways of computing never agree to the last bit: this is a comparison of two things.
    assert all(0 < row.figures.err < WHOLE_NET / 10 for row in report.rows if row.kind == "output")


@pytest.mark.parametrize("modulated", [False, True])
def test_a_norm_behind_a_deformable_block(modulated: bool) -> None:
    """In the ONNX file it is worked into the convolution: only that stage is not compared there."""
    graph = narrow(load("dcn_resnet50", modulated=modulated, deform=[False, True, False, True]))
    options = Options(sizes=((33, 40),), batches=(2,), images=("noise",))
    report = against_targets(graph, None, BOTH, options)
    assert report.passed, report
    rows = {t: {r.name for r in report.rows if r.target == t and r.kind == "stage"} for t in BOTH}
    assert len(rows["torch"] - rows["onnx"]) == 7
    assert all(name.endswith(".conv2") for name in rows["torch"] - rows["onnx"])


def test_default_runs_differ_in_size_batch_and_picture() -> None:
    report = verify(tiny())
    assert report.passed
    assert [str(case) for case in report.cases] == [
        f"{n}x3x{size} {image}"
        for n in (1, 2)
        for size in ("65x97", "64x96")
        for image in ("noise", "constant")
    ]
    assert [row.name for row in report.rows if row.target == "onnx"] == [*STAGES, "mask"]


def test_every_node_has_a_row_but_what_was_folded() -> None:
    graph = tiny()
    report = against_targets(graph, None, BOTH, replace(ONE, every=True))
    rows = {t: [r.name for r in report.rows if r.target == t and r.kind == "stage"] for t in BOTH}
    nodes = [s.name for s in stages(at_inference(graph), every=True)]
    assert rows["torch"] == nodes
    folded = {s.name for s in stages(graph, every=True) if isinstance(s.node.op, Conv)}
    assert set(nodes) - set(rows["onnx"]) == folded - {"mask", graph.stages["mask"].node}
    assert report.passed


def test_the_function_survives_its_package() -> None:
    """`compiler.verify` is a function and a package; importing modules must not hide it."""
    import compiler

    assert compiler.verify is verify
    assert compiler.verify(tiny(), sizes=[(9, 8)], batches=[1], targets=["torch"]).passed


def planted(
    monkeypatch: pytest.MonkeyPatch, target: str, spoil: Callable[[Weights], Weights]
) -> None:
    """Make one target compute with other weights than the reference."""
    make = runners.RUNNERS[target]
    monkeypatch.setitem(
        runners.RUNNERS,
        target,
        lambda subject: make(replace(subject, weights=spoil(subject.weights))),
    )


def shifted(name: str, by: float) -> Callable[[Weights], Weights]:
    def spoil(weights: Weights) -> Weights:
        array = weights[name].copy()
        array.flat[-1] += by
        return weights.replaced({name: array})

    return spoil


@pytest.mark.parametrize("target", BOTH)
@pytest.mark.parametrize(
    ("weight", "stage", "text"),
    [
        ("stem.weight", "first", "first ="),
        ("norm.running_mean", "first", "first ="),
        ("body.conv.weight", "body", "y ="),
        ("body.bn.bias", "body", "y ="),
        ("head.bias", "mask", "output mask"),
    ],
)
def test_a_wrong_weight_is_found_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch, target: str, weight: str, stage: str, text: str
) -> None:
    planted(monkeypatch, target, shifted(weight, 0.5))
    report = against_targets(tiny(), None, BOTH, ONE)
    assert not report.passed
    (found,) = report.departures
    assert (found.row.target, found.row.name) == (target, stage)
    before = STAGES[: STAGES.index(stage)]
    rows = [row for row in report.rows if row.target == target]
    assert [row.figures.verdict for row in rows if row.name in before] == ["pass"] * len(before)
    assert all(not row.figures.wrong for row in report.rows if row.target != target)
    (diagnostic,) = report.diagnostics()
    assert diagnostic.code == "E6020"
    assert diagnostic.span is not None
    assert diagnostic.span.line == line(text)


def test_a_small_mistake_within_the_limit_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "onnx", shifted("head.bias", 1e-5))
    assert against_targets(tiny(), None, BOTH, ONE).passed


def test_a_wrong_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emit function that writes align_corners where the program does not."""

    def wrong(op: Resize, site: Site, x: ir.Value, *like: ir.Value) -> ir.Value:
        found = onnx_resize(replace(op, align_corners=True), site, x, *like)
        assert isinstance(found, ir.Value)
        return found

    try:
        emit.register(Resize, wrong)
        report = against_targets(tiny(), None, BOTH, ONE)
    finally:
        emit.register(Resize, onnx_resize)
    (found,) = report.departures
    assert (found.row.target, found.row.name) == ("onnx", "wide")
    assert found.node is not None
    assert found.node.node.op.name == "resize"
    assert [d.span.line for d in report.diagnostics() if d.span] == [line("wide =")]


def test_a_wrong_node_in_a_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage is the whole block; the second look finds the node in it."""

    def wrong(op: Conv, site: Site, x: ir.Value) -> ir.Value:
        found = onnx_conv(op, site, x)
        return site.add("Neg", found) if site.node.path == "body.conv" else found

    try:
        emit.register(Conv, wrong)
        report = against_targets(tiny(), None, ["onnx"], ONE)
    finally:
        emit.register(Conv, onnx_conv)
    (found,) = report.departures
    assert found.row.name == "body"
    assert found.node is not None
    # The norm is folded into the convolution: that is the last of the fused operators.
    assert found.node.name == "body.bn"
    assert "first node: bn `body.bn`" in " ".join(report.diagnostics()[0].notes)


def test_a_mistake_in_the_untouched_file_only_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a runtime fuses wrongly shows in the file that exposes nothing."""
    from compiler.verify.onnx_runner import OnnxRunner

    run = OnnxRunner.run

    def wrong(self: OnnxRunner, *args: Any) -> runners.Ran:
        ran = run(self, *args)
        return replace(ran, outputs={name: y + 1.0 for name, y in ran.outputs.items()})

    monkeypatch.setattr(OnnxRunner, "run", wrong)
    report = against_targets(tiny(), None, ["onnx"], ONE)
    (found,) = report.departures
    assert (found.row.kind, found.row.name, found.count) == ("output", "mask", 1)
    assert "every node by itself is within" in " ".join(report.diagnostics()[0].notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_their_own_verdict(value: float) -> None:
    graph = tiny()
    array = fixture(graph)["body.conv.weight"].copy()
    array[0, 0, 0, 0] = value
    weights = fixture(graph).replaced({"body.conv.weight": array})
    report = against_targets(graph, weights, BOTH, ONE)
    assert [d.row.name for d in report.departures] == ["body", "body"]
    verdicts = {row.name: row.figures.verdict for row in report.rows}
    assert (verdicts["first"], verdicts["body"]) == ("pass", "nan")
    (diagnostic,) = report.diagnostics()
    assert diagnostic.code == "E6021"
    assert "float64 torch is not finite at stage `body`" in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.line == line("y =")
    assert "the weight `body.conv.weight` holds NaN or infinity" in diagnostic.notes


def test_nan_of_one_target_blames_it(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "torch", shifted("head.weight", np.nan))
    report = against_targets(tiny(), None, BOTH, ONE)
    (diagnostic,) = report.diagnostics()
    assert diagnostic.code == "E6021"
    assert diagnostic.message == "`torch` is not finite at stage `mask`"


def test_chunks_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that do not fit into memory at once are compared in several passes."""
    graph = tiny()
    options = replace(ONE, every=True)
    whole = against_targets(graph, None, BOTH, options)
    chosen = stages(at_inference(graph), every=True)
    parts = engine.chunks(graph, chosen, whole.cases, 100_000)
    assert [stage for part in parts for stage in part] == list(chosen)
    assert len(parts) > 3
    monkeypatch.setattr(engine.chunks, "__defaults__", (100_000,))
    assert against_targets(graph, None, BOTH, options).rows == whole.rows


def test_equal_seeds_give_equal_reports() -> None:
    first, again = (against_targets(tiny(), None, BOTH, ONE) for _ in range(2))
    other = against_targets(tiny(), None, BOTH, replace(ONE, seed=1))
    assert first.rows == again.rows
    assert first.rows != other.rows


def test_own_initialisers_pass_too() -> None:
    assert verify(tiny(), init="own", sizes=[(9, 8)], batches=[1]).passed


@pytest.mark.parametrize("names", [["tensorrt"], ["torhc"], ["torch", "torch"], []])
def test_unknown_targets_are_refused(names: list[str]) -> None:
    with pytest.raises(SegError) as refused:
        verify(tiny(), targets=names)
    assert [d.code for d in refused.value.diagnostics] == ["E6022"]


def test_sizes_that_are_not_accepted_are_refused() -> None:
    with pytest.raises(SegError) as refused:
        verify(tiny(), sizes=[(7, 8)])
    assert [d.code for d in refused.value.diagnostics] == ["E3014"]
    assert 7 not in accepted_sizes(tiny())["H"]


def test_a_report_prints() -> None:
    report: Report = against_targets(tiny(), None, BOTH, ONE)
    text = str(report)
    assert text.count("pass") == len(report.rows) + 2
    assert len(report.text(1).splitlines()) < len(text.splitlines())


@pytest.mark.parametrize(
    ("body", "products"),
    [
        ("output y = image -> conv(8, 3, pad=1, bias=false) @a", 64 * 9),
        ("output y = image -> conv(8, 1) @a", 65),
        ("output y = image -> conv_transpose(8, 2, stride=2) @a", 65),
        ("output y = image -> global_avg_pool -> flatten -> linear(9) @a", 65 + 17 * 24),
        ("output y = image -> avg_pool(3, stride=1, pad=1)", 9),
        ("output y = image -> bn @a", 2),
        ("output y = image + image", 1),
        ("output y = image -> relu", 1),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_one_operator_is_within_its_own_limit(body: str, products: int, seed: int) -> None:
    """relL2 grows with the root of the number of products, far below the limit of a network."""
    of = graph(net(body, given="input image: f32[N, 64, H, W]"))
    report = against_targets(of, None, BOTH, replace(ONE, seed=seed))
    limit = one_operator("f32", products)
    assert all(row.figures.rel_l2 <= limit for row in report.rows), report


def test_a_resize_is_within_its_own_limit() -> None:
    body = "output y = resize(image, to=[37, 41], mode=bilinear)"
    report = against_targets(graph(net(body)), None, BOTH, ONE)
    # The range of the noise is 2.
    assert all(row.figures.max_abs <= RESIZE * 2 for row in report.rows), report


def test_places_of_maxima_are_counted() -> None:
    """Whole numbers are compared by their share, and a constant image would have none."""
    body = """\
a = image -> conv(8, 3, pad=1) @a
p, i = a -> max_pool(2, indices=true)
u = max_unpool(p, i, like=a)
output mask = u -> conv(3, 1) @c"""
    even = "input image: f32[N, 3, H, W] where H % 4 == 0, W % 4 == 0"
    report = verify(graph(net(body, given=even)), batches=[1])
    assert report.passed, report
    assert {case.image for case in report.cases} == {"noise"}
    places = [row for row in report.rows if row.name == "i"]
    assert [(row.target, row.dtype, row.figures.agreement) for row in places] == [
        ("torch", "int64", 1.0),
        ("onnx", "int64", 1.0),
    ]


def test_networks_of_vectors_and_of_nothing() -> None:
    vector = graph(net("output y = v -> linear(4) @a", given="input v: f32[N, 12]"))
    assert verify(vector).passed
    assert verify(graph(net("output y = image")), batches=[1]).passed
