"""What an author writes into comments, names and strings stays text, in source and in ONNX."""

from __future__ import annotations

import ast
import builtins

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.to_torch.emit import emit
from segdsl.program import examine_source
from segdsl.source import Source

PIECES = (
    '"""', "'''", '"', "'", "\\", "\\n", "\\x22", "{", "}", "{{0}}", "%s", "#", "-->", "</script>",
    "\u202e", "\u2028", "\x1b[2J", "\ufb01lter", "class", "__import__", "\t", "é",
    "import builtins; builtins.segdsl_owned = 1",
    '"); import builtins; builtins.segdsl_owned = 1 #',
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)
NAMES = st.sampled_from(
    [
        "relu",
        "self",
        "torch",
        "forward",
        "class_",
        "lambda",
        "None",
        "print",
        "F",
        "nn",
        "x1",
        "def",
    ]
)


def source_of(doc: str, file: str, remark: str, name: str, block: str) -> str | None:
    """The emitted source of a program with these texts; None where the language refuses them."""
    text = (
        f"seg 1\n## {doc}\nblock {block}(x: tensor) -> (y: tensor) {{  # {remark}\n"
        f"  y = x -> conv(2, 1) @c\n}}\n## {doc}\nnet Tiny() {{\n  input image: f32[N, 3, H, W]\n"
        f"  {name} = image -> {block} @w  # {remark}\n  output mask = {name}\n}}\n"
    )
    program = examine_source(Source(file, text), None)
    return None if program.failed or program.graph is None else emit(program.graph)


def without_texts(source: str) -> str:
    """The syntax tree with every docstring and string emptied; comments are gone anyway."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


@settings(max_examples=60)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_texts_change_no_code(doc: str, file: str, remark: str) -> None:
    """The code is the same as with harmless texts, and running it does nothing else."""
    plain = source_of("doc", "net.seg", "remark", "a", "Part")
    hostile = source_of(doc, file, remark, "a", "Part")
    assume(hostile is not None)
    assert plain is not None
    assert hostile is not None
    assert without_texts(hostile) == without_texts(plain)
    exec(compile(hostile, "emitted.py", "exec"), {"__name__": "emitted"})
    assert not hasattr(builtins, "segdsl_owned")
    assert all(c.isprintable() or c == "\n" for c in hostile)


@settings(max_examples=40)
@given(NAMES, NAMES)
def test_names_are_only_names(name: str, block: str) -> None:
    source = source_of("doc", "net.seg", "remark", name, block.title())
    assume(source is not None)
    assert source is not None
    space: dict[str, object] = {"__name__": "emitted"}
    exec(compile(source, "emitted.py", "exec"), space)
    assert "Tiny" in space
