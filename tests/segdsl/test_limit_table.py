"""Each row of docs/limits.md: a program at the limit is accepted, one beyond it is refused.

Every program is checked as a user would, in a process whose processor time and address space the
kernel holds; what it took is recorded as a property of the test (`--junit-xml` writes them).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

import segdsl
from segdsl.limits import Limits
from segdsl.parser import parse
from segdsl.program import examine_source
from segdsl.render import render
from segdsl.source import Source

pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not hold RLIMIT_AS")

ROOT = Path(segdsl.__file__).parents[1]
MAIN = "main.seg"
IMAGE = "  input image: f32[N, 3, H, W]"
LARGE = f"{IMAGE} where H >= 2_000_000, W >= 2_000_000"
SECONDS = 30
MEBIBYTES = 1024
"""What anything within the caps may take: 20 s, with room for slow machines."""

SERVER = """
import io, json, os, resource, sys, time
from contextlib import redirect_stdout
from compiler.cli import main
seconds, mebibytes = int(sys.argv[1]), int(sys.argv[2])
for line in sys.stdin:
    command = json.loads(line)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
        with redirect_stdout(io.StringIO()) as text:
            code = main(command)
        errors = [json.loads(one)["code"] for one in text.getvalue().splitlines()]
        loaded = [name for name in ("torch", "onnx", "triton") if name in sys.modules]
        answer = {"exit": code, "codes": [e for e in errors if e[0] == "E"], "loaded": loaded}
        os.write(writer, json.dumps(answer).encode()[:4000])
        os._exit(0)
    os.close(writer)
    said = b""
    while part := os.read(reader, 4096):
        said += part
    os.close(reader)
    _, status, used = os.wait4(child, 0)
    answer = json.loads(said) if said else {"exit": None, "codes": [], "loaded": []}
    answer |= {"status": status, "seconds": used.ru_utime + used.ru_stime}
    print(json.dumps(answer | {"mebibytes": used.ru_maxrss / 1024}), flush=True)
"""


@dataclass(frozen=True)
class Row:
    """Programs at a limit and one beyond: a text, or all texts by file name."""

    fits: str | Mapping[str, str]
    beyond: str | Mapping[str, str]
    code: str


def net(body: str = "", items: str = "", inputs: str = IMAGE) -> str:
    return f"seg 1\n{items}\nnet T() {{\n{inputs}\n{body}\n  output y = image -> relu\n}}\n"


def bind(value: str) -> str:
    return net(f"  a = {value}")


def both(make: Callable[[int], str | Mapping[str, str]], limit: int, code: str) -> Row:
    return Row(make(limit), make(limit + 1), code)


def padded(size: int, text: str) -> str:
    """A text made as long as that with empty lines."""
    return text + "\n" * (size - len(text))


def imports(names: list[str]) -> str:
    return "\n".join(f'import "{name}.seg" as {name}' for name in names)


def many_files(count: int) -> dict[str, str]:
    names = [f"f{i}" for i in range(count - 1)]
    return {MAIN: net(items=imports(names)), **{f"{n}.seg": "seg 1\nconst A = 1\n" for n in names}}


def large_files(size: int) -> dict[str, str]:
    names = [f"f{i}" for i in range(4)]
    main = net(items=imports(names))
    sizes = [2**20, 2**20, 2**20, size - 3 * 2**20 - len(main)]
    texts = (padded(n, "seg 1\nconst A = 1\n") for n in sizes)
    return {MAIN: main, **{f"{name}.seg": text for name, text in zip(names, texts, strict=True)}}


def chain(count: int) -> dict[str, str]:
    """`count` files below the main one, each importing the next."""
    texts = {MAIN: net(items=imports(["f1"]))}
    for i in range(1, count):
        texts[f"f{i}.seg"] = f"seg 1\n{imports([f'f{i + 1}'])}\nconst A = 1\n"
    return texts | {f"f{count}.seg": "seg 1\nconst A = 1\n"}


def tokens(count: int) -> str:
    rest = count - parse(Source("x", bind("[]")))[0].tokens
    return bind("[" + "1," * (rest // 2) + "1" * (rest % 2) + "]")


def instances(count: int) -> str:
    ports = "(x: [N, C, h, w]) -> (y: [N, C, h, w])"
    blocks = [f"block B{i}{ports} {{\n  y = x -> B{i + 1}\n}}" for i in range(count - 1)]
    last = f"block B{count - 1}{ports} {{\n  y = x -> relu\n}}"
    return net("  a = image -> B0", "\n".join([*blocks, last]))


def evaluated(levels: int) -> str:
    """Sixteen instances inside one another, each inside sixty lists; `levels` more in the last."""
    ports = "(x: [N, C, h, w]) -> (y: [N, C, h, w])"

    def block(i: int, value: str, lists: int) -> str:
        return f"block B{i}{ports} {{\n  y = {'[' * lists}{value}{']' * lists}{'[0]' * lists}\n}}"

    blocks = [*(block(i, f"x -> B{i + 1}", 60) for i in range(16)), block(16, "x", levels)]
    return net("  a = image -> B0", "\n".join(blocks))


def sizes(count: int) -> str:
    """N, H, W and as many more as it takes."""
    more = [f"  input i{k}: f32[N, 3, S{k}, W]" for k in range(count - 3)]
    return net(inputs="\n".join([IMAGE, *more]))


LIMITS = Limits()
TABLE = {
    "file_bytes": both(lambda n: padded(n, net()), LIMITS.file_bytes, "E0020"),
    "files": both(many_files, LIMITS.files, "E1011"),
    "program_bytes": both(large_files, LIMITS.program_bytes, "E0020"),
    "import_depth": both(chain, LIMITS.import_depth, "E1011"),
    "tokens": both(tokens, LIMITS.tokens, "E0022"),
    "nesting": both(lambda n: bind("(" * (n - 1) + "1" + ")" * (n - 1)), LIMITS.nesting, "E0021"),
    "digits": both(lambda n: bind("9" * n), LIMITS.digits, "E0012"),
    "exponent_digits": both(lambda n: bind("1e" + "1".zfill(n)), LIMITS.exponent_digits, "E0012"),
    "name_length": both(lambda n: net(f"  {'a' * n} = 1"), LIMITS.name_length, "E1009"),
    "string_length": both(
        lambda n: net(f'  check 1 == 1 else "{"a" * n}"'), LIMITS.string_length, "E0013"
    ),
    "comment_length": both(lambda n: net(f"#{'a' * (n - 1)}"), LIMITS.comment_length, "E0013"),
    "path": both(
        lambda n: bind(f"image -> conv(1, 1) @a{'.a' * ((n - 1) // 2)}{'a' * (1 - n % 2)}"),
        LIMITS.path,
        "E5010",
    ),
    "integer_bits": Row(bind("2 ** 62 - 1 + 2 ** 62"), bind("2 ** 62 + 2 ** 62"), "E2020"),
    "list_length": both(lambda n: bind(f"range({n})"), LIMITS.list_length, "E4005"),
    "block_depth": both(instances, LIMITS.block_depth, "E0021"),
    "evaluation_depth": both(evaluated, 46, "E0021"),
    "steps": Row(
        bind("[for i in range(20_000): i]"),
        net("  for i in range(1_000) { for j in range(2_001) { z = i } }"),
        "E4006",
    ),
    "nodes": both(
        lambda n: bind(f"image -> repeat {n - 1 if n > LIMITS.nodes else n - 3} {{ relu }}"),
        LIMITS.nodes,
        "E4003",
    ),
    "operands": both(
        lambda n: bind(f"concat([for i in range({n}): image])"), LIMITS.operands, "E4007"
    ),
    "ports": both(
        lambda n: net("\n".join(f"  output y{i} = image" for i in range(n - 2))),
        LIMITS.ports,
        "E4007",
    ),
    "symbolic_sizes": both(sizes, LIMITS.symbolic_sizes, "E2018"),
    "parameters": Row(
        net("  weight w: [32_768, 65_536]"),
        net("  weight w: [32_768, 65_536]\n  weight b: [1]"),
        "E5008",
    ),
    "channels": both(lambda n: bind(f"image -> conv({n}, 1)"), LIMITS.channels, "E2009"),
    "kernel": both(lambda n: bind(f"image -> conv(1, {n}, pad=512)"), LIMITS.kernel, "E2009"),
    "window_attribute": both(
        lambda n: bind(f"image -> conv(1, 1, stride={n})"), LIMITS.window_attribute, "E2009"
    ),
    "kernel_extent": Row(
        net("  a = image -> conv(1, 16, dilation=65_536)", inputs=LARGE),
        net("  a = image -> conv(1, 17, dilation=61_681)", inputs=LARGE),
        "E2009",
    ),
    "image_side": both(
        lambda n: net(inputs=f"  input image: f32[N, 3, H, {n}]"), LIMITS.image_side, "E2019"
    ),
}  # fmt: skip
"""Programs by the field of `Limits`; those of `steps` are not the very edge, which takes 15 s."""

SHOWN = {"shown_diagnostics", "kept_diagnostics"}
"""Caps of what is said, which refuse nothing."""

Answer = dict[str, Any]
Check = Callable[[str | Mapping[str, str]], Answer]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """`segdsl check` in a process of its own: exit status, codes, seconds, mebibytes."""
    folder = tmp_path_factory.mktemp("limits")
    # An arena of malloc reserves 64 MiB of addresses for each thread, and uses none of them.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", SERVER, str(SECONDS), str(MEBIBYTES)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=folder
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        into, out = server.stdin, server.stdout

        def run(texts: str | Mapping[str, str]) -> Answer:
            files = {MAIN: texts} if isinstance(texts, str) else texts
            for old in folder.iterdir():
                old.unlink()
            for name, text in files.items():
                (folder / name).write_text(text)
            into.write(json.dumps(["check", MAIN, "--format", "json"]) + "\n")
            into.flush()
            answer: Answer = json.loads(out.readline())
            assert {path.name for path in folder.iterdir()} == set(files)
            return answer

        yield run
        into.close()


@pytest.mark.parametrize("name", TABLE)
def test_at_the_limit_and_one_beyond(
    name: str, check: Check, record_property: Callable[[str, object], None]
) -> None:
    row = TABLE[name]
    fits, beyond = check(row.fits), check(row.beyond)
    for kind, answer in (("fits", fits), ("beyond", beyond)):
        record_property(f"{kind}_seconds", round(answer["seconds"], 2))
        record_property(f"{kind}_mebibytes", round(answer["mebibytes"]))
    assert (fits["exit"], fits["codes"], fits["status"]) == (0, [], 0), fits
    assert beyond["exit"] in (1, 2), beyond
    assert (set(beyond["codes"]), beyond["status"]) == ({row.code}, 0), beyond
    assert fits["loaded"] == beyond["loaded"] == []


def test_every_limit_has_a_row() -> None:
    """The page, the dataclass and this table speak of the same limits, with the same codes."""
    page = (ROOT / "docs" / "limits.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    assert [field.name for field in fields(Limits)] == [*TABLE, *sorted(SHOWN, reverse=True)]
    codes = [cells[2].split("(")[0].strip() for cells in rows]
    assert codes == [*(row.code for row in TABLE.values()), "", ""]
    values = [int(cells[1].replace(",", "")) for cells in rows]
    assert values == [getattr(LIMITS, field.name) for field in fields(Limits)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (net(inputs="  input image: f32[N, 1_048_576, H, W]"), None),
        (net(inputs="  input image: f32[N, 1_048_577, H, W]"), "E2009"),
        (net("  check macs(H=16_777_216, W=8) >= 0"), None),
        (net("  check macs(H=16_777_217, W=8) >= 0"), "E2019"),
        (net("  check shape(image, W=16_777_217) == [N, 3, H, 16_777_217]"), "E2019"),
    ],
)
def test_other_places_of_a_limit(text: str, code: str | None) -> None:
    found = examine_source(Source("a.seg", text), None).diagnostics
    assert [d.code for d in found] == ([code] if code else [])
    assert all(d.span is not None for d in found)


def test_the_steps_of_a_program_to_the_very_edge() -> None:
    text = bind("[for i in range(1_000): i]")
    assert not examine_source(Source("a.seg", text), None, limits=Limits(steps=1_006)).failed
    found = examine_source(Source("a.seg", text), None, limits=Limits(steps=1_005)).diagnostics
    assert [d.code for d in found] == ["E4006"]


@pytest.mark.parametrize(("count", "said"), [(50, 50), (51, 50)])
def test_errors_that_are_shown(count: int, said: int) -> None:
    source = Source("a.seg", net("\n".join(f"  a{i} = )" for i in range(count))))
    found = parse(source)[1]
    text = render(found)
    assert len(found) == count
    assert text.count("error[E") == said
    assert ("1 more" in text) == (count > said), text[-300:]


def test_errors_that_are_kept() -> None:
    kept = LIMITS.kept_diagnostics
    for count, found in ((kept, kept), (kept + 500, kept)):
        text = net("\n".join(f"  a{i} = 3 3" for i in range(count)))
        assert found <= len(parse(Source("a.seg", text))[1]) <= found + 2
