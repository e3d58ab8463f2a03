from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.weights import Weights

TABLE = Weights(
    {"b.weight": np.ones((2, 3), np.float32), "b.bias": np.zeros(2, np.float32), "a": np.array(1)}
)


def test_it_is_an_ordered_mapping() -> None:
    assert list(TABLE) == ["b.weight", "b.bias", "a"]
    assert len(TABLE) == 3
    assert TABLE.nbytes == 24 + 8 + 8
    with pytest.raises(KeyError):
        TABLE["c"]


def test_it_cannot_be_changed_but_shares_memory() -> None:
    array = np.ones(3)
    table = Weights({"x": array})
    with pytest.raises(ValueError, match="read-only"):
        table["x"][0] = 2
    array[0] = 5
    assert table["x"][0] == 5
    with pytest.raises(TypeError):
        table["x"] = array  # type: ignore[index]


def test_select() -> None:
    assert list(TABLE.select("a", "b.*")) == ["b.weight", "b.bias", "a"]
    assert list(TABLE.select("*.bias")) == ["b.bias"]
    with pytest.raises(KeyError, match="no weight matches"):
        TABLE.select("a", "c*")


def test_renamed() -> None:
    assert list(TABLE.renamed({"a": "z"})) == ["b.weight", "b.bias", "z"]
    assert next(iter(TABLE.renamed(lambda path: "m." + path))) == "m.b.weight"
    with pytest.raises(KeyError):
        TABLE.renamed({"c": "d"})
    with pytest.raises(ValueError, match="two weights"):
        TABLE.renamed({"a": "b.bias"})


def test_replaced() -> None:
    new = TABLE.replaced({"a": np.array(9)})
    assert new["a"] == 9
    assert list(new) == list(TABLE)
    with pytest.raises(KeyError):
        TABLE.replaced({"c": np.array(9)})


def test_equality_is_of_bits() -> None:
    nan = Weights({"x": np.array([np.nan, 0.0])})
    assert nan.equals({"x": np.array([np.nan, 0.0])})
    assert not nan.equals({"x": np.array([np.nan, -0.0])})
    assert not nan.equals({"x": np.array([np.nan, 0.0], np.float32)})
    assert not nan.equals({"x": np.array([[np.nan, 0.0]])})
    assert not TABLE.equals(dict(reversed(list(TABLE.items()))))
    assert TABLE.equals(TABLE.renamed({}))


def test_written_bytes_do_not_depend_on_the_order(tmp_path: Path) -> None:
    TABLE.to_safetensors(tmp_path / "a")
    Weights(dict(reversed(list(TABLE.items())))).to_safetensors(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
