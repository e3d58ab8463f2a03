"""Imports: what they find, and what they refuse to read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from segdsl.analysis.params import params
from segdsl.diagnostics import SegError
from segdsl.imports import Reader, read_text
from segdsl.limits import Limits
from segdsl.program import Program, examine, parse
from segdsl.source import Source
from tests.support.programs import codes, net

BLOCK = "seg 1\nblock A(x: tensor) -> (y: tensor) {\n  y = x -> relu\n}\nconst K = 4\n"


def write(folder: Path, **texts: str) -> Path:
    """Files by name (`__` is a folder); answers the path of `main`."""
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".seg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "main.seg"


def found(program: Program) -> list[tuple[str, str]]:
    return [(d.code, d.span.text if d.span else "") for d in program.diagnostics]


def use(items: str, body: str = "output y = image -> relu") -> str:
    return net(body, items)


@pytest.mark.parametrize(
    ("items", "body"),
    [
        ("from parts.more import A", "output y = image -> A"),
        ("from parts.more import A as B, K", "output y = image -> B -> conv(K, 1)"),
        ('import "parts/more.seg" as p', "output y = image -> p.A -> conv(p.K, 1)"),
    ],
)
def test_what_an_import_brings(tmp_path: Path, items: str, body: str) -> None:
    main = write(tmp_path, main=use(items, body), parts__more=BLOCK)
    assert found(examine(main)) == []


def test_paths_start_at_the_importing_file(tmp_path: Path) -> None:
    block = "block B(x: tensor) -> (y: tensor) {\n y = x -> Inner\n}\n"
    inner = f"seg 1\nfrom other import A as Inner\n{block}"
    texts = {"parts__more": inner, "parts__other": BLOCK}
    main = write(tmp_path, main=use("from parts.more import B", "output y = image -> B"), **texts)
    assert found(examine(main)) == []


def test_nothing_is_exported_again(tmp_path: Path) -> None:
    inner = "seg 1\nfrom other import A\n"
    main = write(tmp_path, main=use("from more import A"), more=inner, other=BLOCK)
    assert found(examine(main)) == [("E1007", "A")]


def test_a_file_is_read_once(tmp_path: Path) -> None:
    one = "seg 1\nfrom base import A\nblock {0}(x: tensor) -> (y: tensor) {{\n y = x -> A\n}}\n"
    main = write(
        tmp_path,
        main=use("from b import B\nfrom c import C", "output y = image -> B -> C"),
        b=one.format("B"),
        c=one.format("C"),
        base=BLOCK.replace("relu", "rellu"),
    )
    assert found(examine(main)) == [("E1001", "rellu")]


@pytest.mark.parametrize(
    ("items", "code", "marked", "help"),
    [
        ("from more import a", "E1007", "a", "did you mean `A`?"),
        ("from moer import A", "E1007", "moer", "did you mean `more.seg`?"),
        ('import "moer.seg" as m', "E1007", '"moer.seg"', "did you mean `more.seg`?"),
        ("from std.block import SE", "E1007", "std.block", "did you mean `std.blocks`?"),
        ("from std import SE", "E1007", "std", None),
        ("from std.blocks import se", "E1007", "se", "did you mean `SE`?"),
        ('import "more.txt" as m', "E1010", '"more.txt"', None),
        ('import "/etc/more.seg" as m', "E1010", '"/etc/more.seg"', None),
        ('import "c:more.seg" as m', "E1010", '"c:more.seg"', None),
        ('import "a\\\\more.seg" as m', "E1010", '"a\\\\more.seg"', None),
        ('import "https://x.org/a.seg" as m', "E1010", '"https://x.org/a.seg"', None),
        ('import "../more.seg" as m', "E1010", '"../more.seg"', "--include"),
        ('import "in/../../more.seg" as m', "E1010", '"in/../../more.seg"', "--include"),
        ("from more import A\nfrom more import A", "E1005", "A", None),
    ],
)
def test_what_imports_refuse(
    tmp_path: Path, items: str, code: str, marked: str, help: str | None
) -> None:
    write(tmp_path, more=BLOCK)
    main = write(tmp_path / "inner", main=use(items), more=BLOCK)
    program = examine(main)
    assert found(program) == [(code, marked)]
    if help:
        assert help in program.diagnostics[0].helps[0].text


def test_include_opens_another_folder(tmp_path: Path) -> None:
    write(tmp_path, more=BLOCK)
    main = write(
        tmp_path / "inner", main=use('import "../more.seg" as m', "output y = image -> m.A")
    )
    assert found(examine(main, include=[tmp_path])) == []


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, secret=BLOCK)
    main = write(tmp_path / "inner", main=use("from link import A"))
    (tmp_path / "inner" / "link.seg").symlink_to(tmp_path / "secret.seg")
    assert found(examine(main)) == [("E1010", "link")]


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    main = write(tmp_path, main=use("from folder import A\nfrom pipe import A as B"))
    (tmp_path / "folder.seg").mkdir()
    os.mkfifo(tmp_path / "pipe.seg")
    refused = [code for code, _ in found(examine(main))]
    assert refused == ["E1010", "E1010"]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_circles(tmp_path: Path, length: int) -> None:
    names = ["main", *(f"m{i}" for i in range(1, length))]
    texts = {
        name: f'seg 1\nimport "{names[(i + 1) % length]}.seg" as next\n'
        for i, name in enumerate(names)
    }
    texts["main"] = use(f'import "{names[1 % length]}.seg" as next')
    (diagnostic,) = examine(write(tmp_path, **texts)).diagnostics
    assert diagnostic.code == "E1008"
    assert diagnostic.message.endswith(" → ".join(f"{n}.seg" for n in [*names, "main"]))


def test_depth_and_number_of_files(tmp_path: Path) -> None:
    texts = {f"m{i}": f'seg 1\nimport "m{i + 1}.seg" as next\n' for i in range(4)}
    main = write(tmp_path, main=use('import "m0.seg" as next'), m4="seg 1\nconst A = 1\n", **texts)
    assert found(examine(main)) == []
    deep = examine(main, limits=replace(Limits(), import_depth=3))
    many = examine(main, limits=replace(Limits(), files=3))
    assert [code for code, _ in found(deep)] == ["E1011"]
    assert [code for code, _ in found(many)] == ["E1011"]


def test_all_files_together(tmp_path: Path) -> None:
    main = write(tmp_path, main=use("from more import A"), more=BLOCK)
    limits = replace(Limits(), program_bytes=20)
    assert [code for code, _ in found(examine(main, limits=limits))] == ["E0020"]


def test_a_text_without_a_folder_imports_from_std_only() -> None:
    assert codes(use("from std.blocks import SE")) == []
    assert codes(use("from more import A")) == ["E1010"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "E0104"),
        (b" \n", "E0104"),
        (b"seg 1\xff", "E0103"),
        (b"seg 1\0", "E0103"),
        (b"x" * 2000, "E0020"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "a.seg"
    path.write_bytes(data)
    with pytest.raises(SegError) as error:
        read_text(path, replace(Limits(), file_bytes=1999))
    assert [d.code for d in error.value.diagnostics] == [code]


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "a.seg").mkdir()
    assert [d.code for d in examine(tmp_path / "a.seg").diagnostics] == ["E0101"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.seg"
    path.write_bytes(b"\xef\xbb\xbfseg 1\n")
    assert read_text(path, Limits()) == "seg 1\n"


DCN = "seg 1\n{0}net T() {{\n  input x: f32[N, 4, H, W]\n  output y = x -> dcnv3(groups=2) @d\n}}\n"


def test_dcnv3_needs_no_import() -> None:
    assert "d.input_proj.weight" in params(parse(DCN.format("")))


def test_a_block_of_the_file_comes_before_the_library() -> None:
    own = "block dcnv3(x: [N, C, h, w], groups: int) -> (y: [N, C, h, w]) {\n  y = x -> relu\n}\n"
    assert not params(parse(DCN.format(own)))


def test_only_a_file_that_uses_the_word_reads_the_library() -> None:
    for text, names in ((DCN.format(""), {"dcnv3"}), (DCN.format("").replace("dcnv3", "f"), set())):
        module = Reader(()).main(Source("t.seg", text), None, "t")
        assert module.items.keys() - {"T"} == names


def test_the_word_is_proposed() -> None:
    with pytest.raises(SegError) as caught:
        parse(DCN.format("").replace("dcnv3", "dcnv"))
    assert "did you mean `dcnv3`" in caught.value.diagnostics[0].helps[0].text
