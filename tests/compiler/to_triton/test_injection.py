"""What an author writes stays text in the folder of the Triton target, and names stay names.

The folder is written, imported and run: its code is that of a harmless program, it does nothing
else, and it computes what the torch target computes.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")
torch = pytest.importorskip("torch")

from compiler import to_torch  # noqa: E402
from compiler.to_torch.emit import emit  # noqa: E402
from compiler.to_triton import folder  # noqa: E402
from compiler.to_triton.plan import plan  # noqa: E402
from compiler.to_triton.prepare import IN_MEMORY, fused_graph, prepare, runtime  # noqa: E402
from compiler.weights.init import initialise  # noqa: E402
from compiler.weights.table import Weights  # noqa: E402
from segdsl.analysis.params import owners, params  # noqa: E402
from segdsl.diagnostics import SegError  # noqa: E402
from segdsl.ir import Graph  # noqa: E402
from segdsl.program import examine_source  # noqa: E402
from segdsl.source import Source  # noqa: E402

PIECES = (
    '"""', "'''", '"', "'", "\\", "\\n", "\\x22", "{", "}", "{{0}}", "{net}", "%s", "#", "-->",
    "</script>", "\u202e", "\u2028", "\x1b[2J", "\ufb01lter", "class", "__import__", "\t", "é",
    "import builtins; builtins.segdsl_owned = 1",
    '"""\nimport builtins; builtins.segdsl_owned = 1 #',
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)
NUMBERED = itertools.count()
RESERVED = (
    "load", "net", "Path", "json", "torch", "policy", "read_weights", "WEIGHTS", "model", "kernels",
    "ConvBlock",
)  # fmt: skip


def program(
    doc: str = "doc",
    file: str = "a.seg",
    remark: str = "remark",
    net: str = "Tiny",
    name: str = "x",
) -> Graph | None:
    """A net with these texts; None where the language refuses them."""
    text = (
        f"seg 1\n## {doc}\nblock Part(x: tensor) -> (y: tensor) {{  # {remark}\n"
        f"  y = x -> conv(2, 3, pad=1) @c -> relu\n}}\n## {doc}\n"
        f"net {net}(label: str = \"a\") {{  # {remark}\n  input {name}: f32[N, 3, H, W]\n"
        f"  check 1 == 1 else \"{remark}\"\n"
        f"  output {name}2 = {name} -> Part @w  # {remark}\n}}\n"
    )  # fmt: skip
    found = examine_source(Source(file, text), None)
    return None if found.failed else found.graph


def arrays_of(graph: Graph) -> Weights:
    return Weights(dict(initialise(params(graph), seed=1, owners=owners(graph))))


def written(path: Path, graph: Graph) -> Path:
    target = path / f"folder_{next(NUMBERED)}"
    folder.write_folder(
        target, prepare(graph, arrays_of(graph)), plan(fused_graph(graph), None), ()
    )
    return target


@contextmanager
def imported(target: Path) -> Iterator[ModuleType]:
    """The folder as the package that it is; forgotten afterwards."""
    sys.path.insert(0, str(target.parent))
    try:
        importlib.invalidate_caches()
        yield importlib.import_module(target.name)
    finally:
        sys.path.remove(str(target.parent))
        for name in [n for n in sys.modules if n.split(".")[0] == target.name]:
            del sys.modules[name]


def without_texts(source: str) -> str:
    """The syntax tree with every docstring and string emptied; comments are gone anyway."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def model_text(graph: Graph) -> str:
    ready = fused_graph(graph)
    return emit(ready, runtime=runtime(ready, IN_MEMORY))


def agree(graph: Graph, package: ModuleType, net: str) -> None:
    """The loaded network computes what the torch target does."""
    loaded = package.load()
    assert type(loaded) is getattr(package, net)
    image = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = to_torch(graph, arrays_of(graph)).eval()(image)
        assert torch.allclose(loaded(image), wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_texts_change_no_code(doc: str, file: str, remark: str) -> None:
    """The model is that of harmless texts; executing it does nothing else, its plan is JSON."""
    plain, hostile = program(), program(doc, file, remark)
    assume(hostile is not None)
    assert plain is not None
    assert hostile is not None
    text = model_text(hostile)
    assert without_texts(text) == without_texts(model_text(plain))
    assert all(c.isprintable() or c == "\n" for c in text)
    json.loads(plan(fused_graph(hostile), None).as_json())
    exec(compile(text, "emitted.py", "exec"), {"__name__": "emitted"})
    assert not hasattr(builtins, "segdsl_owned")


HARMFUL = "import builtins; builtins.segdsl_owned = 1"
QUOTES = "'" * 3


@pytest.mark.parametrize("text", [f'"""\\n{HARMFUL} #', f"{QUOTES}; {HARMFUL}", "{net}{}\\\\"])
def test_a_folder_of_hostile_texts_runs(text: str, tmp_path: Path) -> None:
    """All of its own files are those of a harmless program, and compute the same."""
    plain, hostile = program(), program(text, f"{text}.seg", text.replace('"', "'"))
    assert plain is not None
    assert hostile is not None
    one, other = written(tmp_path, plain), written(tmp_path, hostile)
    for name in ("__init__.py", "model.py"):
        first, second = ((path / name).read_text("utf-8") for path in (one, other))
        assert without_texts(first) == without_texts(second)
    names = [
        sorted(p.relative_to(path).as_posix() for p in path.rglob("*")) for path in (one, other)
    ]
    assert names[0] == names[1]
    with imported(other) as package:
        agree(hostile, package, "Tiny")
    assert not hasattr(builtins, "segdsl_owned")


@pytest.mark.parametrize("net", RESERVED)
def test_a_net_may_have_any_name(net: str, tmp_path: Path) -> None:
    """A name that the package needs for itself gets an underscore there."""
    graph = program(net=net, name=f"{net}1")
    assert graph is not None
    target = written(tmp_path, graph)
    with imported(target) as package:
        shown = package.__all__[0]
        assert shown.startswith(net)
        assert len(set(package.__all__)) == 4
        assert all(hasattr(package, name) for name in package.__all__)
        agree(graph, package, shown)
        policy = importlib.import_module(f"{target.name}.kernels.router").policy
        assert package.policy is policy


@pytest.mark.parametrize("name", ["self", "torch", "net", "print"])
def test_values_may_have_any_name(name: str, tmp_path: Path) -> None:
    graph = program(name=name)
    assert graph is not None
    with imported(written(tmp_path, graph)) as package:
        agree(graph, package, "Tiny")


@pytest.mark.parametrize("name", ["class", "None", "1a", "a-b", "a b", "\ufb01lter", "a.b", 'a"b'])
def test_a_folder_that_cannot_be_imported_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SegError) as caught:
        folder.check_folder(tmp_path / name)
    assert [d.code for d in caught.value.diagnostics] == ["E0106"]
    assert not any(tmp_path.iterdir())
