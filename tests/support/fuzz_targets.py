"""What is fuzzed: bytes in, success or a refusal with a place out, nothing else.

`TARGETS` are used by `benchmarks/fuzz.py` (atheris, or a plain mutator), by the tests that replay
the kept cases, and by those that draw their inputs.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.weights.checkpoint import RefusedError, contents_of
from compiler.weights.files import SafetensorsFile
from compiler.weights.isolated import check_zip
from compiler.weights.keymap import KeyMap
from compiler.weights.loading import kind_of
from segdsl import formats
from segdsl.diagnostics import Diagnostic, SegError
from segdsl.fixes import fix
from segdsl.fmt import format_source
from segdsl.limits import Limits
from segdsl.ops.base import OPS, signature
from segdsl.parser import comments, parse
from segdsl.parsing.tables import OPERATORS, WORDS
from segdsl.program import Program, examine_source
from segdsl.reach_report import as_json, text
from segdsl.reach_report.collect import analyse, reach_report
from segdsl.reach_report.stages import stages
from segdsl.render import render
from segdsl.report import summary
from segdsl.source import Source

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(nodes=3_000, steps=100_000)
"""Small caps: what they stop is stopped in the same way by large ones, and sooner."""

PLACELESS = {
    "E0102",  # which net: a choice of the command line
    "E4001",  # a file without a net has no place for it
}


CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no report may hold: controls, marks that turn the direction, lone surrogates."""


def judge(found: Sequence[Diagnostic], source: Source | None) -> None:
    """Every diagnostic has a code, a sentence, and spans inside their texts."""
    for diagnostic in found:
        assert re.fullmatch(r"[EW]\d{4}", diagnostic.code), diagnostic
        assert diagnostic.message.strip(), diagnostic
        assert source is None or diagnostic.span or diagnostic.code in PLACELESS, diagnostic
        edits = [edit.span for help_ in diagnostic.helps for edit in help_.edits]
        frames = [frame.span for frame in diagnostic.stack]
        labels = [label.span for label in diagnostic.labels]
        for span in (diagnostic.span, *labels, *edits, *frames):
            assert span is None or 0 <= span.start <= span.end <= len(span.source.text), diagnostic


def written(found: Sequence[Diagnostic]) -> None:
    """All formats can draw them, and no control character reaches a terminal."""
    texts = (render(found), formats.short(found), formats.json_lines(found), formats.github(found))
    for each in (*texts, formats.sarif(found)):
        assert CONTROL.search(each) is None, each


def as_text(data: bytes) -> str:
    """The text that bytes stand for; what is not UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def parse_bytes(data: bytes) -> None:
    """The parser answers with a tree and diagnostics, never with an exception."""
    source = Source("fuzz.seg", as_text(data))
    _, found = parse(source)
    judge(found, source)
    for span in comments(source):
        assert span.text.startswith("#")


def formats_bytes(data: bytes) -> None:
    """What the parser says of a text comes out in every format."""
    written(parse(Source("fuzz.seg", as_text(data)))[1])


def check_bytes(data: bytes) -> None:
    """All that `check`, `check --fix`, `summary` and `rf` do with a text."""
    check_text(as_text(data))


def check_text(content: str) -> Program:
    """The same; answers what is known of the program."""
    source = Source("fuzz.seg", content)
    program = examine_source(source, None, limits=LIMITS, every=True, lint=True)
    judge(program.diagnostics, source)
    assert CONTROL.search(render(program.diagnostics)) is None
    fix(source, program.diagnostics)
    if not program.failed and program.graph is not None:
        _reports(program)
    return program


def _reports(program: Program) -> None:
    """The reports of a program without errors."""
    assert program.graph is not None
    try:
        str(summary(program.graph))
        summary(program.graph).as_json()
        analysis = analyse(program.graph, program.accepted)
        report = reach_report(analysis, stages(program.graph))
        text.as_text(report)
        as_json.dumps(as_json.as_json(report))
    except SegError as error:
        judge(error.diagnostics, None)


def fmt_bytes(data: bytes) -> None:
    """A text without mistakes is formatted, and formatting it again changes nothing."""
    source = Source("fuzz.seg", as_text(data))
    try:
        once = format_source(source)
    except SegError as error:
        judge(error.diagnostics, source)
        return
    assert format_source(Source("fuzz.seg", once)) == once


def safetensors_bytes(data: bytes) -> None:
    """A header is refused, or every tensor of the file can be read."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        try:
            opened = SafetensorsFile("fuzz.safetensors", file)
            for name, entry in opened.table.items():
                assert opened.read(name).shape == entry.shape
        except SegError as error:
            judge(error.diagnostics, None)


NAMES = ("a", "a.b", "layer1.0.weight", "classifier.0.bias", "x" * 300, "", ".", "a..b")


def keymap_bytes(data: bytes) -> None:
    """A key map is refused, or its rules can be asked for any name."""
    try:
        rules = KeyMap.parse(as_text(data), "fuzz.toml")
    except SegError as error:
        judge(error.diagnostics, None)
        return
    for name in NAMES:
        found = rules.find(name)
        if found is not None and not found[1].drop:
            found[1].rename(found[2], name)


def checkpoint_bytes(data: bytes) -> None:
    """What the parent does with a torch file, and its child, both in this process.

    torch's own reader is part of it: whatever it raises must end as a refusal.
    """
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(data)
        file.flush()
        file.seek(0)
        try:
            kind = kind_of(file.name, file)
            if kind == "safetensors":
                return
            if kind == "zip":
                check_zip(file.name, file)
            from compiler.weights.checkpoint import array_of, unpickled

            contents = contents_of(unpickled(file.name, legacy=kind == "pickle"))
            for tensor in contents.tensors.values():
                array_of(tensor)
        except RefusedError as error:
            if not error.problem.isprintable():
                raise AssertionError(error.problem) from error
        except SegError as error:
            judge(error.diagnostics, None)


@dataclass(frozen=True)
class Target:
    """A function that must return for any bytes.

    Attributes:
        seeds: inputs to start from.
        longest: bytes of its longest input.
        words: pieces that a mutation may put in.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int
    words: Callable[[], list[str]]


def seg_seeds() -> list[bytes]:
    """Stock specs, the standard library, and the programs of the message tests."""
    files = [*(ROOT / "specs").glob("*.seg"), *(ROOT / "segdsl/std").glob("*.seg")]
    texts = [file.read_bytes() for file in sorted(files)]
    for page in sorted((ROOT / "tests/messages").glob("*.md")):
        texts += [t.encode() for t in re.findall(r"```seg\n(.*?)```", page.read_text(), re.DOTALL)]
    return texts


BOUNDARIES = tuple(
    map(str, (0, 1, 128, 129, 1025, 1026, 65536, 65537, 2**20, 2**20 + 1, 2**31, 2**63, 10**18))
)
"""Numbers about which caps are placed."""


def seg_words() -> list[str]:
    """The terminals of the grammar, the operations with their arguments, numbers near caps."""
    arguments = {name for op in OPS.values() for name in signature(op)}
    names = {op.name for op in OPS.values() if not op.internal}
    frame = ["seg 1\n", "net A() {\n", "input image: f32[N, 3, H, W]\n", "output y = ", "from std."]
    return sorted({*WORDS, *OPERATORS, *names, *arguments}) + frame + list(BOUNDARIES)


def json_words() -> list[str]:
    """What a safetensors header is written with."""
    keys = (
        "dtype",
        "shape",
        "data_offsets",
        "__metadata__",
        "F32",
        "BF16",
        "BOOL",
        "I64",
        "F8_E4M3",
    )
    return [f'"{key}"' for key in keys] + ["[0,0]", "{}", "null", "1e9", "-1", *BOUNDARIES]


def toml_words() -> list[str]:
    """What a key map is written with."""
    keys = ("from", "to", "drop", "reshape", "permute", "flip_channels", "negate")
    frame = [
        "[[rule]]\n",
        '"{a...}"',
        '"{i}"',
        " = true\n",
        " = [0]\n",
        "'" * 3,
        '"' * 3,
        "\\u0000",
    ]
    return [f"{key} = " for key in keys] + frame + list(BOUNDARIES)


def pickle_words() -> list[str]:
    """Names that a pickle of torch imports, and the members of its archive."""
    classes = ("FloatStorage", "_utils\n_rebuild_tensor_v2", "_utils\n_rebuild_parameter", "Size")
    frame = ["ccollections\nOrderedDict\n", "data.pkl", "byteorder", "PK\x03\x04", "PK\x01\x02"]
    return [f"ctorch\n{name}\n" for name in classes] + frame + ["cpu", "storage"]


def safetensors_seeds() -> list[bytes]:
    """Small valid files."""
    heads = [
        b"{}",
        b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}',
        b'{"__metadata__":{"k":"v"},"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},'
        b'"b":{"dtype":"BOOL","shape":[0],"data_offsets":[2,2]}}',
    ]
    return [len(head).to_bytes(8, "little") + head + b"\0" * 24 for head in heads]


def keymap_seeds() -> list[bytes]:
    """Small valid key maps."""
    return [
        b'[[rule]]\nfrom = "a.{b...}.{i}"\nto = "{b...}.c{i}"\n',
        b'[[rule]]\nfrom = "a"\ndrop = true\n\n[[rule]]\nfrom = "{x}"\nto = "y"\n'
        b"reshape = [1, 2]\npermute = [1, 0]\nflip_channels = true\nnegate = false\n",
    ]


def checkpoint_seeds() -> list[bytes]:
    """Small files as torch writes them, old and new."""
    import io

    import torch

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for new in (True, False):
            for content in ({"a": torch.ones(2)}, {"state_dict": {"b": torch.ones(1, 2).half()}}):
                stream = io.BytesIO()
                torch.save(content, stream, _use_new_zipfile_serialization=new)
                found.append(stream.getvalue())
    return found


TARGETS = {
    "parse": Target(parse_bytes, seg_seeds, 192, seg_words),
    "formats": Target(formats_bytes, seg_seeds, 128, seg_words),
    "check": Target(check_bytes, seg_seeds, 320, seg_words),
    "fmt": Target(fmt_bytes, seg_seeds, 320, seg_words),
    "safetensors": Target(safetensors_bytes, safetensors_seeds, 1024, json_words),
    "keymap": Target(keymap_bytes, keymap_seeds, 512, toml_words),
    "checkpoint": Target(checkpoint_bytes, checkpoint_seeds, 4096, pickle_words),
}
