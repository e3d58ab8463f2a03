"""The constructor arguments of an emitted net mean what the parameters of the `.seg` net mean."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import segdsl  # noqa: E402
from compiler.to_torch.build import execute  # noqa: E402
from compiler.to_torch.emit import emit, net_class  # noqa: E402
from segdsl.analysis.params import params  # noqa: E402
from segdsl.library import stock_names  # noqa: E402

OTHERS: dict[str, Any] = {"classes": 5, "width": 24, "rates": (6, 12, 18), "channels": 4}


@pytest.mark.parametrize("name", stock_names())
def test_arguments_change_what_the_parameters_change(name: str) -> None:
    graph = segdsl.load(name)
    cls = getattr(execute(emit(graph), graph.name), net_class(graph))
    arguments = [a for a in inspect.signature(cls.__init__).parameters if a != "self"]
    assert "classes" in arguments
    for argument in arguments:
        with torch.device("meta"):
            module = cls(**{argument: OTHERS[argument]})
        table = params(segdsl.load(name, **{argument: OTHERS[argument]}))
        expected = {path: tuple(param.shape) for path, param in table.items()}
        assert {k: tuple(v.shape) for k, v in module.state_dict().items()} == expected
