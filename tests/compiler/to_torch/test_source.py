"""The emitted text: determinism, layout, safety, names, weights."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.to_torch.emit import carried_by, emit
from compiler.to_torch.guard import check_source
from compiler.to_torch.layout import WIDTH, fitted
from compiler.to_torch.lower import EmissionError, literal
from compiler.to_torch.names import MODULE_ATTRIBUTES, TAKEN, Names, cleaned, identifier
from segdsl.diagnostics import SegError
from segdsl.library import stock_names
from segdsl.ops.activation import Relu
from segdsl.ops.conv import Conv
from segdsl.ops.ports import Weight
from segdsl.program import load
from segdsl.types import Pair
from tests.support.emitted import without_libraries
from tests.support.graphs import Builder

ROOT = Path(__file__).parents[3]
K1 = Pair(1, 1)


def small(at: str = "head", name: str = "Net") -> Builder:
    builder = Builder(name)
    builder.output(builder.add(Conv(2, K1), builder.input(), at=at))
    return builder


# -- the whole text


LONGER = {"internimage": 260, "upernet_internimage": 360}
"""Lines of networks whose 30 blocks differ, each by its rate of stochastic depth."""


@pytest.mark.parametrize("name", stock_names())
def test_stock_specs_read_well(name: str) -> None:
    text = emit(load(name))
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if line != line.rstrip()]
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert len(without_libraries(text).splitlines()) <= LONGER.get(name, 200)


@pytest.mark.parametrize("name", ["deeplabv3", "tiramisu", "unet", "unet_resnet34"])
def test_formatters_leave_it_alone(name: str, tmp_path: Path) -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    file = tmp_path / "net.py"
    file.write_text(emit(load(name)))
    for arguments in (["check", "--select", "E,F,W"], ["format", "--check"]):
        options = ["--isolated", "--line-length", str(WIDTH), str(file)]
        run = subprocess.run([ruff, *arguments, *options], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout


def test_equal_bytes_under_any_hash_seed() -> None:
    script = (
        "import hashlib\nfrom compiler.to_torch.emit import emit\nfrom segdsl.program import load\n"
        "for name in ('deeplabv3', 'tiramisu', 'unet'):\n"
        "    for flat in (False, True):\n"
        "        print(hashlib.sha256(emit(load(name), flat=flat).encode()).hexdigest())\n"
    )
    found = set()
    for seed in ("0", "1", "77"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout)
    assert len(found) == 1
    assert len(found.pop().split()) == 6


def test_emitting_loads_no_torch() -> None:
    script = (
        "import sys\nfrom compiler.to_torch.emit import emit\nfrom segdsl.program import load\n"
        "emit(load('unet'))\nprint('torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"


def test_the_header_says_what_goes_in_and_out() -> None:
    graph = load("unet")
    text = emit(graph, accepts=["H % 16 == 0", "W % 16 == 0"])
    doc = ast.get_docstring(ast.parse(text))
    assert doc is not None
    assert "float32[N, 3, H, W]" in doc
    assert "accepts  H % 16 == 0\naccepts  W % 16 == 0" in doc
    assert "31,037,698 parameters" in doc


def test_long_chains_are_written_in_parts() -> None:
    builder = Builder()
    x = builder.input()
    for i in range(1300):
        x = builder.add(Relu(), builder.add(Conv(3, K1), x, at=f"c{i}"))
    builder.output(x)
    for flat in (False, True):
        tree = ast.parse(emit(builder.graph, flat=flat))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        assert max(len(function.body) for function in functions) <= 1002


# -- names


def hostile() -> list[str]:
    words = [*sorted(MODULE_ATTRIBUTES), "class", "lambda", "None", "True", "import", "__x", "__"]
    return words


@pytest.mark.parametrize("word", hostile())
def test_impossible_paths_are_refused(word: str) -> None:
    for at in (word, f"a.{word}.b", f"{word}.0"):
        with pytest.raises(SegError) as caught:
            emit(small(at).graph)
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.code == "E6004"
        assert f"`{word}`" in diagnostic.message
        assert diagnostic.helps


def test_a_bare_array_cannot_be_a_number() -> None:
    builder = Builder()
    builder.input()
    builder.output(builder.weight(Weight((1, 3, 1, 1)), "a.0"))
    with pytest.raises(SegError) as caught:
        emit(builder.graph)
    assert caught.value.diagnostics[0].code == "E6004"


@pytest.mark.parametrize("word", ["x", "f", "torch", "nn", "F", "Tensor", "self", "print", "case"])
@pytest.mark.parametrize("path", ["forward_", "type_", "x", "f", "items", "keys", "pop", "9a", "0"])
def test_awkward_names_work(word: str, path: str) -> None:
    torch = pytest.importorskip("torch")
    from compiler.to_torch.build import build

    builder = Builder(word)
    x = builder.input(name=word)
    with builder.instance(word, path, **{"x": 1}):
        y = builder.add(Conv(3, K1), x, at=path, label=word)
        y = builder.add(Conv(3, K1), y, at=f"other.{path}", label=word)
    y = builder.add(Conv(3, K1), y, at=f"again.{path}")
    builder.output(y, word)
    image = torch.rand(2, 3, 8, 8)
    found = build(builder.graph).eval()(image)
    assert torch.equal(found, build(builder.graph, flat=True).eval()(image))


@given(text=st.text(min_size=1, max_size=12))
def test_identifiers_are_names_and_never_taken(text: str) -> None:
    try:
        name = identifier(text)
    except EmissionError:
        return
    assert name.isascii()
    assert name.isidentifier()
    assert name not in TAKEN
    assert name in (text, text + "_")


def test_fresh_names_differ() -> None:
    names = Names(frozenset({"Up_3"}))
    given = [names.fresh("Up") for _ in range(4)]
    assert given == ["Up", "Up_2", "Up_4", "Up_5"]
    assert Names().fresh("class") == "class_"


def test_attributes_of_modules_are_known() -> None:
    """Every attribute of the installed torch's modules is refused as a path part."""
    torch = pytest.importorskip("torch")
    found = {name for name in dir(torch.nn.Module()) if not name.startswith("__")}
    assert found <= MODULE_ATTRIBUTES
    containers = {name for name in dir(torch.nn.ModuleDict()) if not name.startswith("__")} - found
    from compiler.to_torch.names import CONTAINER_ATTRIBUTES

    assert containers == CONTAINER_ATTRIBUTES


# -- texts that the user gives


@given(text=st.text(max_size=80))
def test_comments_are_one_printable_line(text: str) -> None:
    kept = cleaned(text)
    assert "\n" not in kept
    assert '"""' not in kept
    assert all(32 <= ord(c) < 127 for c in kept)


@pytest.mark.parametrize(
    "text",
    ['"""\nimport os\n"""', "\\", "'''", '"', "\N{LINE SEPARATOR}import os", "x\x00y", "\r\nraise"],
)
def test_docs_and_file_names_cannot_break_out(text: str) -> None:
    builder = small()
    builder.graph.source = text
    builder.graph.doc = (text, text)
    tree = ast.parse(emit(builder.graph))
    clean = ast.parse(emit(small().graph))
    shape = [type(node).__name__ for node in tree.body]
    assert shape == [type(node).__name__ for node in clean.body]


@given(value=st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.none()))
def test_literals_mean_what_they_say(value: object) -> None:
    assume(value == value)  # not NaN
    try:
        text = literal(value)  # type: ignore[arg-type]
    except EmissionError:
        assert value in (float("inf"), float("-inf"))
        return
    again = ast.literal_eval(text)
    assert again == value
    assert type(again) is type(value)


# -- lines


PIECES = st.recursive(
    st.sampled_from(["x", "width", "nn.Conv2d", '"a, (b"', "12", "f(x) for x in y"]),
    lambda inner: st.builds(
        lambda head, items, pair: f"{head}{pair[0]}{', '.join(items)}{pair[1]}",
        st.sampled_from(["f", "nn.Sequential", "torch.cat", ""]),
        st.lists(inner, min_size=1, max_size=6),
        st.just("()"),
    ),
    max_leaves=40,
)


@settings(max_examples=100)
@given(piece=PIECES, indent=st.sampled_from([4, 8, 12]))
def test_broken_lines_are_the_same_statement(piece: str, indent: int) -> None:
    statement = f"name = f({piece})"
    try:
        wanted = ast.dump(ast.parse(statement))
    except SyntaxError:
        assume(False)
        raise
    lines = fitted(statement, indent, ["comment"])
    margin = " " * indent
    assert all(line.startswith(margin) for line in lines)
    text = "\n".join(line[indent:] for line in lines)
    assert ast.dump(ast.parse(text)) == wanted


def test_subscripts_are_not_broken() -> None:
    long = "x" * 120
    assert fitted(f"a = b[{long}]", 0) == [f"a = b[{long}]"]


# -- the guard


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from torch import hub",
        "torch.load('x')",
        "torch.hub.load('x', 'y')",
        "nn.Module.__subclasses__()",
        "eval('1')",
        "x = open('f')",
        "__import__('os')",
        "getattr(x, 'y')",
        "exec('')",
        "f = lambda: 1",
        "del x",
        "while True:\n    pass",
        "async def f():\n    pass",
        "class A:\n    def __reduce__(self):\n        return 1",
        "with x:\n    pass",
        "x = b''",
        "global x",
        "try:\n    x\nexcept E:\n    y",
        "raise X",
        "(",
    ],
)
def test_the_guard_refuses(text: str) -> None:
    with pytest.raises(EmissionError):
        check_source(text)


def test_everything_that_is_emitted_passes_the_guard() -> None:
    for name in stock_names():
        graph = load(name)
        check_source(emit(graph), carried_by(graph))


def test_names_survive_json() -> None:
    """The header is plain text: it can be shown anywhere."""
    assert json.loads(json.dumps(emit(small().graph))) == emit(small().graph)
