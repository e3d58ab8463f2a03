from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from compiler.weights import (
    KeyMap,
    MismatchError,
    Weights,
    initialise,
    load,
    load_with_report,
)
from segdsl.diagnostics import Diagnostic, SegError, Severity
from segdsl.source import Source, Span
from segdsl.types import ONES, ZEROS, Param


class Save(Protocol):
    def __call__(
        self, weights: Weights | dict[str, Param], name: str = "x.safetensors"
    ) -> Path: ...


def bn(path: str, channels: int) -> dict[str, Param]:
    return {
        f"{path}.weight": Param((channels,), ONES),
        f"{path}.bias": Param((channels,), ZEROS),
        f"{path}.running_mean": Param((channels,), ZEROS, learned=False),
        f"{path}.running_var": Param((channels,), ONES, learned=False),
        f"{path}.num_batches_tracked": Param((), ZEROS, learned=False, dtype="i64"),
    }


def resnet(prefix: str = "", blocks: int = 11) -> dict[str, Param]:
    net = {f"{prefix}conv1.weight": Param((8, 3, 7, 7)), **bn(f"{prefix}bn1", 8)}
    for i in range(blocks):
        net[f"{prefix}layer1.{i}.conv1.weight"] = Param((8, 8, 3, 3))
        net |= bn(f"{prefix}layer1.{i}.bn1", 8)
    return net


def fcn(classes: int, aux: bool = True) -> dict[str, Param]:
    net = resnet("backbone.", 2)
    for head in ["classifier"] + ["aux_classifier"] * aux:
        net[f"{head}.0.weight"] = Param((4, 8, 3, 3))
        net |= bn(f"{head}.1", 4)
        net[f"{head}.4.weight"] = Param((classes, 4, 1, 1))
        net[f"{head}.4.bias"] = Param((classes,), fan_in=4)
    return net


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    def save(weights: Weights | dict[str, Param], name: str = "x.safetensors") -> Path:
        table = weights if isinstance(weights, Weights) else initialise(weights, 1)
        table.to_safetensors(tmp_path / name)
        return tmp_path / name

    return save


def error(path: Path, net: dict[str, Param], **options: object) -> Diagnostic:
    with pytest.raises(SegError) as caught:
        load(path, net, **options)  # type: ignore[arg-type]
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def helps(diagnostic: Diagnostic) -> str:
    return "\n".join(help.text for help in diagnostic.helps)


def pasted(diagnostic: Diagnostic) -> KeyMap:
    (text,) = [help.text for help in diagnostic.helps if "[[rule]]" in help.text]
    return KeyMap.parse(text[text.index("[[rule]]") :])


def test_a_file_that_fits_comes_in_the_order_of_the_net(saved: Save) -> None:
    net = fcn(21)
    loaded = load_with_report(saved(net), net)
    assert loaded.weights.equals(initialise(net, 1))
    assert loaded.report.format == "safetensors"
    assert (loaded.report.filled, loaded.report.extra, loaded.report.warnings) == ((), (), ())


def test_other_number_of_classes(saved: Save) -> None:
    source = Source("net.seg", "seg 1\nhead = conv(21, 1)\n")
    path = saved(fcn(19))
    with pytest.raises(MismatchError) as caught:
        load(path, fcn(21), owners={"classifier.4.weight": Span(source, 6, 10)})
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E5003"
    assert diagnostic.span is None
    assert diagnostic.message.startswith(f"4 of {len(fcn(21))} weights differ from")
    assert "x.safetensors" in diagnostic.message
    table = "\n".join(diagnostic.notes)
    for head in ("classifier", "aux_classifier"):
        assert f"`{head}.4`: another shape" in table
        assert f"{head}.4.bias" in table
    assert "file [19, 4, 1, 1]  net [21, 4, 1, 1]  net.seg:2" in table
    assert "the file has 19 channels there, this net 21" in table
    assert "--set classes=19" in helps(diagnostic)
    assert [label.span.line for label in diagnostic.labels] == [2]
    assert [(d.name, d.verdict) for d in caught.value.differences] == [
        (f"{head}.4.{leaf}", "shape")
        for head in ("classifier", "aux_classifier")
        for leaf in ("weight", "bias")
    ]


def test_input_channels_are_not_called_classes(saved: Save) -> None:
    net = resnet() | {"conv1.weight": Param((8, 1, 7, 7))}
    diagnostic = error(saved(resnet()), net)
    assert "made for 3 input channels" in "\n".join(diagnostic.notes)
    assert "classes" not in helps(diagnostic)


def test_a_prefix_is_named_and_stripped_on_demand_only(saved: Save) -> None:
    net = fcn(21)
    path = saved(initialise(net, 1).renamed(lambda name: f"module.{name}"))
    diagnostic = error(path, net)
    assert diagnostic.code == "E5004"
    assert f"all {len(net)} names" in diagnostic.message
    assert helps(diagnostic) == "--strip-prefix module."
    loaded = load_with_report(path, net, strip_prefix="module.")
    assert loaded.weights.equals(initialise(net, 1))
    assert len(loaded.report.stripped) == len(net)
    assert loaded.report.renamed == ()


def test_a_prefix_is_found_behind_another_one_and_beside_other_classes(saved: Save) -> None:
    path = saved(initialise(fcn(19), 1).renamed(lambda name: f"module.model.{name}"))
    assert helps(error(path, fcn(21))) == "--strip-prefix module.model."
    assert helps(error(path, fcn(21), strip_prefix="module.")) == "--strip-prefix module.model."
    assert error(path, fcn(21), strip_prefix="module.model.").code == "E5003"


def test_a_prefix_that_no_name_has_is_an_error(saved: Save) -> None:
    diagnostic = error(saved(fcn(21)), fcn(21), strip_prefix="modul.")
    assert diagnostic.code == "E5004"
    assert "no name of" in diagnostic.message


def test_extra_weights_are_errors_unless_allowed(saved: Save) -> None:
    path, net = saved(fcn(21)), fcn(21, aux=False)
    diagnostic = error(path, net)
    assert "has 7 weights that this net does not have" in diagnostic.message
    assert "--allow-extra 'aux_classifier.*'" in helps(diagnostic)
    loaded = load_with_report(path, net, allow_extra=["aux_classifier.*"])
    assert list(loaded.weights) == list(net)
    assert len(loaded.report.extra) == 8
    assert error(path, net, allow_extra=["aux_classifier.4.*"]).code == "E5003"


def test_missing_weights_are_errors_unless_allowed(saved: Save) -> None:
    path, net = saved(fcn(21, aux=False)), fcn(21)
    diagnostic = error(path, net)
    assert "--allow-missing 'aux_classifier.*'" in helps(diagnostic)
    loaded = load_with_report(path, net, allow_missing=["aux_classifier.*"], seed=5)
    assert list(loaded.weights) == list(net)
    assert len(loaded.report.filled) == 8
    for name in net:
        fresh = name in loaded.report.filled
        assert fresh == name.startswith("aux")
        expected = initialise(net, 5 if fresh else 1)[name]
        assert np.array_equal(loaded.weights[name], expected)


def test_counters_may_be_absent_or_extra(saved: Save) -> None:
    net = resnet()
    bare = {name: param for name, param in net.items() if "num_batches" not in name}
    loaded = load_with_report(saved(bare), net)
    assert loaded.weights["bn1.num_batches_tracked"] == 0
    assert loaded.weights["bn1.num_batches_tracked"].dtype == np.int64
    assert len(loaded.report.filled) == 12
    assert list(load(saved(net), bare)) == list(bare)


def test_a_bare_backbone_gets_one_rule_ready_to_paste(saved: Save) -> None:
    path, net = saved(resnet()), resnet("backbone.")
    diagnostic = error(path, net)
    key_map = pasted(diagnostic)
    assert [(rule.source.text, rule.target) for rule in key_map.rules] == [
        ("{a...}", "backbone.{a...}")
    ]
    loaded = load_with_report(path, net, key_map=key_map)
    for name in net:
        assert np.array_equal(loaded.weights[name], initialise(resnet(), 1)[name[9:]])
    assert len(loaded.report.renamed) == len(net)


def test_old_names_get_rules_that_make_the_file_fit(saved: Save, tmp_path: Path) -> None:
    net = fcn(21) | {"head.weight": Param((3, 8))}
    old = initialise(net, 1).renamed(
        lambda name: name.replace("bn1", "norm.1").replace("head", "last_layer")
    )
    path = saved(old)
    diagnostic = error(path, net)
    text = helps(diagnostic)
    rules = tmp_path / "k.toml"
    rules.write_text(text[text.index("[[rule]]") :])
    assert len(tomllib.loads(rules.read_text())["rule"]) <= 4
    assert load(path, net, key_map=rules).equals(initialise(net, 1))


def test_fully_connected_becomes_convolution_by_a_rule_only(saved: Save) -> None:
    vgg = {"features.0.weight": Param((8, 3, 3, 3)), "classifier.0.weight": Param((16, 392))}
    net = {"features.0.weight": Param((8, 3, 3, 3)), "classifier.0.weight": Param((16, 8, 7, 7))}
    path = saved(vgg)
    key_map = pasted(error(path, net))
    assert key_map.rules[0].reshape == (16, 8, 7, 7)
    got = load(path, net, key_map=key_map)["classifier.0.weight"]
    assert np.array_equal(got.reshape(16, 392), initialise(vgg, 1)["classifier.0.weight"])
    renamed = {"features.0.weight": Param((8, 3, 3, 3)), "fc6.weight": Param((16, 8, 7, 7))}
    assert list(load(path, renamed, key_map=pasted(error(path, renamed)))) == list(renamed)


def test_another_network_is_called_so(saved: Save) -> None:
    net = {f"down.{i}.{j}.weight": Param((16 << i, 5 + j, 3, 3)) for i in range(4) for j in (0, 2)}
    diagnostic = error(saved(fcn(21)), net)
    notes = "\n".join(diagnostic.notes)
    assert "looks like another network" in diagnostic.notes[0]
    assert "[[rule]]" not in helps(diagnostic)
    for name in [*net, *fcn(21)]:
        assert name in notes or "num_batches" in name


def test_wider_networks_list_all_names(saved: Save) -> None:
    shapes = {name: [2 * size for size in p.shape] for name, p in resnet().items() if p.shape}
    wide = Weights({name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    net = {name: p for name, p in resnet().items() if p.shape}
    diagnostic = error(saved(wide), net)
    assert diagnostic.message.startswith(f"{len(net)} of {len(net)} ")
    assert "everything: another shape" in diagnostic.notes[-1]
    assert all(name in diagnostic.notes[-1] for name in net)


def test_element_types(saved: Save) -> None:
    net = {"x": Param((3,), ONES), "n": Param((), ZEROS, dtype="i64")}
    for kind in ("f2", "f8"):
        path = saved(Weights({"x": np.array([0.1, 2, 3], kind), "n": np.array(4, "i4")}))
        loaded = load_with_report(path, net)
        assert loaded.weights["x"].dtype == np.float32
        assert np.array_equal(loaded.weights["x"], np.array([0.1, 2, 3], kind).astype("f4"))
        assert [name for name, _, _ in loaded.report.converted] == ["x", "n"]
    diagnostic = error(saved(Weights({"x": np.arange(3), "n": np.array(1.0)})), net)
    notes = "\n".join(diagnostic.notes)
    assert "another element type" in notes
    assert "file i64 [3]  net f32 [3]" in notes
    assert "file f64 []   net i64 []" in notes


def test_values_that_are_not_finite_are_warnings(saved: Save) -> None:
    net = {"x": Param((3,), ONES), "y": Param((2,), ONES), "z": Param((1,), ONES)}
    bad = {"x": np.array([np.nan, 1, np.inf], "f4"), "y": np.ones(2, "f4"), "z": np.array([1e300])}
    loaded = load_with_report(saved(Weights(bad)), net)
    assert [(w.code, w.severity) for w in loaded.report.warnings] == [
        ("W7015", Severity.WARNING)
    ] * 2
    assert loaded.report.warnings[0].message.startswith("`x` holds 2 values of 3")
    assert loaded.report.warnings[1].message.startswith("`z`")
    assert np.isnan(loaded.weights["x"][0])


def key_map(body: str) -> KeyMap:
    return KeyMap.parse("[[rule]]\n" + body)


def test_rules_that_do_not_fit(saved: Save) -> None:
    net = {"x": Param((3,), ONES), "y": Param((3,), ONES), "n": Param((1,), ZEROS, dtype="bool")}
    path = saved(net)
    for body, words in {
        'from = "x"\nto = "y"': "both become `y`",
        'from = "x"\nreshape = [2, 2]': "cannot be reshaped",
        'from = "x"\npermute = [1, 0]': "has 2 axes",
        'from = "x"\nflip_channels = true': "input channels",
        'from = "n"\nnegate = true': "change the sign of BOOL",
    }.items():
        diagnostic = error(path, net, key_map=key_map(body))
        assert diagnostic.code == "E5012"
        assert words in diagnostic.message


def test_dropped_names_and_rules_without_use(saved: Save) -> None:
    path, net = saved(fcn(21)), fcn(21, aux=False)
    rules = KeyMap.parse(
        '[[rule]]\nfrom = "aux_classifier.{a...}"\ndrop = true\n'
        '[[rule]]\nfrom = "nothing"\nto = "x"\n'
    )
    loaded = load_with_report(path, net, key_map=rules)
    assert len(loaded.report.dropped) == 8
    assert loaded.report.unused_rules == (2,)
    diagnostic = error(path, fcn(19, aux=False), key_map=rules)
    assert "rules of the key map that matched no name: 2" in diagnostic.notes


def test_names_of_strangers_are_shown_safely(saved: Save) -> None:
    path = saved(Weights({"a\x1b[31m\n\u202eb": np.ones(2)}), "y\x1b.safetensors")
    diagnostic = error(path, {"x": Param((3,), ONES)})
    for text in (diagnostic.message, *diagnostic.notes, helps(diagnostic)):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_content_tells_the_format_not_the_name(saved: Save) -> None:
    net = resnet()
    assert len(load(saved(net, "x.pt"), net)) == len(net)
    # A header of 640 bytes begins with 0x80 0x02, as a pickle does.
    table = Weights({"x": np.ones(1, "f4")})
    for size in range(400, 700):
        path = saved(table, "x.bin")
        table.to_safetensors(path, {"pad": "x" * size})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert list(load(path, {"x": Param((1,), ONES)})) == ["x"]
