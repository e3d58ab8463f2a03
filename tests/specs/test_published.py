"""The stock specs against published facts; no torch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segdsl.analysis.cost import macs
from segdsl.analysis.params import count, params
from segdsl.ir import Graph
from segdsl.library import stock_folder, stock_names
from segdsl.program import examine, load
from segdsl.types import Param
from tests.specs.published import FORMS, Form, Key, keys, zoo

TORCH_NAMES = {"f32": "float32", "i64": "int64"}


def graph_of(form: Form) -> Graph:
    return load(form.spec, **form.settings)


def entries(table: dict[str, Param]) -> list[Key]:
    return [(name, tuple(p.shape), TORCH_NAMES[p.dtype]) for name, p in table.items()]


def test_every_stock_spec_is_tried() -> None:
    assert {form.spec for form in FORMS} == set(stock_names())
    assert {form.spec for form in FORMS if not form.settings} >= set(stock_names()) - {"resnet"}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_nothing_is_wrong_with_it(form: Form) -> None:
    program = examine(form.spec, settings=form.settings)
    assert program.diagnostics == ()
    assert program.graph is not None


@pytest.mark.parametrize("name", stock_names())
def test_it_states_its_facts_and_names_its_sources(name: str) -> None:
    text = (stock_folder() / f"{name}.seg").read_text(encoding="utf-8")
    for start in ("  check params == ", "  check macs(", "  check stride(", "  check shape("):
        assert f"\n{start}" in text
    for tag in ("@paper", "@code", "@weights"):
        assert f"\n## {tag} " in text


@pytest.mark.parametrize("name", stock_names())
def test_a_wrong_fact_is_found(name: str, tmp_path: Path) -> None:
    text = (stock_folder() / f"{name}.seg").read_text(encoding="utf-8")
    wrong, count = re.subn(r"(check params == [0-9_]*)", r"\g<1>0", text)
    wrong, more = re.subn(r"(check stride\(\S+\) == )", r"\g<1>1", wrong)
    assert (count, more) == (1, 1)
    file = tmp_path / "wrong.seg"
    file.write_text(wrong, encoding="utf-8")
    assert [d.code for d in examine(file).diagnostics] == ["E8001", "E8001"]


@pytest.mark.parametrize("form", [f for f in FORMS if f.zoo], ids=lambda form: form.id)
def test_parameters_and_macs_are_the_published(form: Form) -> None:
    assert form.zoo is not None
    fact = zoo(form.zoo, form.classes)
    graph = graph_of(form)
    batch, _, height, width = fact["input"]
    assert count(params(graph)) == fact["params"]
    found = sum(macs(graph, {"N": batch, "H": height, "W": width}).values())
    assert round(found / 1e9, 4) == fact["gmacs"]


@pytest.mark.parametrize("form", [f for f in FORMS if f.keys], ids=lambda form: form.id)
def test_the_weights_have_the_published_names_order_and_shapes(form: Form) -> None:
    assert form.keys is not None
    assert entries(params(graph_of(form))) == keys(form.keys)


def test_fcn8s_has_the_published_names_and_shapes() -> None:
    """As a set: the port declares all score layers before all deconvolutions."""
    table = params(load("fcn8s"))
    assert sorted(entries(table)) == sorted(keys("fcn8s_pytorch_fcn"))


@pytest.mark.parametrize("depth", [50, 101])
def test_upernet_on_resnet_has_the_published_parameters(depth: int) -> None:
    """ResNetV1c has those of timm's 50-D and 101-D, whose shortcuts pool without weights."""
    fact = zoo(f"UPerNet(resnet{depth}d) no LN", 150)
    assert count(params(load("upernet", depth=depth))) == fact["params"]


def test_fcn8s_deconvolutions_are_frozen_interpolation() -> None:
    table = params(load("fcn8s"))
    frozen = {name: param for name, param in table.items() if not param.trained}
    assert set(frozen) == {"upscore2.weight", "upscore_pool4.weight", "upscore8.weight"}
    assert {param.init.name for param in frozen.values()} == {"bilinear"}


def test_the_valid_unet_has_the_shapes_of_the_paper() -> None:
    """The list's names are made up and grouped by kind of layer; the shapes bind."""
    published = sorted(shape for _, shape, _ in keys("unet2015_reference"))
    table = params(load("unet", form="valid", channels=1))
    assert sorted(tuple(param.shape) for param in table.values()) == published
