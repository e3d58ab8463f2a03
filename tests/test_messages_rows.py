"""The 52 mistakes that people make, and the page of `tests/messages` that holds what is said.

A row is a mistake that the tool must answer well: its code, words that the answer must have, and
its pages. Three rows of the first plan have another answer now, which is said beside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "messages"
SAID = re.compile(r"^```(?:text|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CARET = re.compile(r"^ *\| .*\^", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One mistake."""

    number: int
    code: str
    words: tuple[str, ...]
    pages: tuple[str, ...]


def row(number: int, code: str, pages: str, *words: str) -> Row:
    return Row(number, code, words, tuple(pages.split()))


ROWS = (
    row(1, "E0001", "E0001_never_closed", "this `(` is never closed", "help: add `)`"),
    row(2, "E0002", "E0002_closes_nothing", "this `)` closes nothing", "help: remove it"),
    row(3, "E0003", "E0003_pipeline_stops", "the pipeline stops after `->`", "as in `-> relu`"),
    row(4, "E0004", "E0004_other_arrows", "`=>` is not an operator of .seg", "`|>` is not",
        "`- >` is not", "help: write `->`"),
    row(5, "E0005", "E0005_single_quotes", "strings take double quotes", "the bare name"),
    row(6, "E0006", "E0006_misspelt_statement", "`fro` starts no statement", "did you mean `for`?"),
    row(7, "E0007", "E0007_let", "names are bound with `x = …`", "`var x = …` if it changes"),
    row(8, "E0008", "E0008_no_braces", "blocks use braces", "`if aux { … }`"),
    row(9, "E0009", "E0009_missing_comma", "a comma is missing between the arguments `64` and `3`"),
    row(10, "E0010", "E0010_edition", "this file needs edition 3", "upgrade, or lower the edition"),
    row(11, "E1001", "E1001_misspelt_operation", "there is no operation or block `rellu`",
        "did you mean `relu`?"),
    row(12, "E1002", "E1002_pytorch_name E1002_whole_call E1002_keras_call E1002_caffe_join",
        "name; here it is `", "help: write `"),
    row(13, "E1003", "E1003_misspelt_name", "is not bound here", "did you mean `", "(line "),
    row(14, "E1004", "E1004_before_definition", "is used before line", "statements run from top"),
    row(15, "E1005", "E1005_bound_twice", "is already bound on line", "declare `var "),
    row(16, "E1006", "E1006_one_branch", "exists only when `", "bound here, in one branch",
        "bind it in the `else` branch too"),
    row(17, "E1007", "E1007_missing_file", "no file `", "next to this one", "did you mean `"),
    row(17, "E1008", "E1008_circle", "imports form a circle: "),
    row(18, "E2001", "E2001_misspelt_argument", "`conv` has no argument `kernal`",
        "did you mean `kernel`?", "it takes out, kernel, stride, pad, dilation, groups, bias"),
    row(18, "E2001", "E2001_keras_argument E2001_pytorch_arguments", "help: write `"),
    row(19, "E2002", "E2002_input_channels", "takes at most 2 unnamed arguments (out, kernel), 3 ",
        "help: write `conv(64, 3)`"),
    row(20, "E2003", "E2003_float_for_int", "must be a whole number, not 64.0", "write `64`"),
    row(21, "E2004", "E2004_missing_argument", "needs `first` (int)", "declared on line",
        "add `first=…`"),
    row(22, "E2005", "E2005_three_ranges", "`stride` must be at least 1, got 0",
        "`out` must be at least 1, got -8", "`p` must be at least 0 and below 1, got 1.5"),
    row(23, "E2006", "E2006_squeeze_excitation", "SE needs the channels to divide",
        "with C = 24, reduction = 16", "`reduction=12`"),
    row(24, "E2007", "E2007_choice", "`act` is one of ",
        "`swish` is Keras's name; here it is `silu`"),
    row(25, "E2008", "cli/E2008_set", "parameter `classes` of `FCN` must be a whole number; `abc`",
        "exit 2"),
    row(26, "E3001", "E3001_groups", "channels cannot be split into 5 groups", "the divisors are "),
    row(27, "E3002", "E3002_channels_of_a_sum",
        "`+` needs equal channels: `up7` has 21, `skip4` has",
        "project one first: `skip4 -> conv(21, 1)`"),
    row(28, "E3004", "E3004_skip_of_odd_size E3004_where_too_weak",
        "the two sides differ in height",
        "the two sides are ", "the floor of ", "this net accepts H = 4k, k >= 1", "nearest to ",
        "say so at the input", "crop(like="),
    row(29, "E3005", "E3005_different_strides", "these maps have different strides", "upsample "),
    row(30, "E3006", "E3006_kernel_does_not_fit", "kernel does not fit: the map is", "for H = 198",
        "where H >= 199", "`pad=3`"),
    row(31, "E3007", "E3007_declared_stride", "is declared at H/4 but is at H/8", "stride 2 here"),
    row(32, "E3008", "E3008_factor", "is declared at full size, but is ", "half of it",
        "`resize(16x)` or `resize(like=image)`"),
    row(33, "E3009", "E3009_same_with_even_kernel", "`pad=same` needs an odd kernel",
        "would pad 1 before and 2 after", "rejects strides above 1"),
    row(34, "E3010", "E3010_one_dimension_two_sizes", "is declared with height h (64), but has 32",
        "`h` is 64, first bound here"),
    row(35, "W7001", "W7001_dilation_without_pad W7001_in_a_block", "shrinks the map by ",
        "`pad=same` keeps its size"),
    row(36, "W7002", "W7002_rates_with_a_common_factor", "leave gaps (gridding)",
        "`segdsl rf --gaps` lists them"),
    row(37, "W7003", "W7003_only_padding W7003_fixed_size", "reads only padding outside one tap",
        "it acts as a 1x1 there"),
    row(38, "W7010", "W7010_unused_map", "is computed and never used", "name it `_"),
    row(39, "E4001", "E4001_no_output", "has no `output`", "write `output "),
    row(40, "E4002", "E4002_recursion", "contains itself through ", " → "),
    row(41, "E4003", "E4003_too_many_nodes", "the limit is 1,000", "`--max-nodes`"),
    row(42, "E5001", "E5001_one_path_twice E5001_two_calls", "names two different weights",
        "share the weights on purpose with `layer`"),
    row(43, "E5002", "E5002_no_index", "all 4 turns of this loop use ", "write `@convs.{i}`"),
    row(44, "E5003", "cli/E5003_other_classes", "4 of 6 weights differ from `voc.safetensors`",
        "4 differ under `classifier` and `aux_classifier`: the file has 19 channels there",
        "--set classes=19"),
    row(45, "E5004", "cli/E5004_prefix", "start with `module.`", "--strip-prefix module."),
    row(46, "E5005", "E5005_bilinear", "bilinear initialisation needs equal channels"),
    row(47, "E6001", "cli/E6001_lattice_in_onnx", "`mean_field(method=lattice)` has no ONNX form",
        "`method=window`", "`segdsl refine`"),
    # 48: writing needs no GPU, and `verify` says which kernels ran: tests/compiler/verify/
    # test_triton.py. 49: the ONNX target writes the windows of the pool as they follow the size.
    row(49, "", "cli/adaptive_pool_in_onnx", "wrote net.onnx"),
    row(50, "E8001", "E8001_parameters", "`params` is 1,922, not 2,000 (3.90% less)",
        "the largest part is `backbone.conv1`", "`params ~= 2_000 within 4%`"),
    row(51, "E0101", "cli/E0101_missing_file cli/E0101_folder", "error[E0101]: ", "exit 2"),
    row(52, "E0102", "cli/E0102_two_nets", "this file has 2 nets: `UNet` and `UNetSmall`",
        "--net UNet", "exit 2"),
)  # fmt: skip

PLACELESS = {"E0101", "E5003", "E5004", ""}
"""Mistakes that stand in no program."""


def said(page: str) -> str:
    (text,) = SAID.findall((HERE / f"{page}.md").read_text(encoding="utf-8"))
    return str(text)


def test_every_mistake_has_a_page() -> None:
    assert {r.number for r in ROWS} == set(range(1, 53)) - {48}
    assert all(r.pages for r in ROWS)


@pytest.mark.parametrize("mistake", ROWS, ids=lambda r: f"{r.number}-{r.code}")
def test_what_is_said_about_a_mistake(mistake: Row) -> None:
    """Every page says the code, with a caret; the first one holds all that the row asks for."""
    for page in mistake.pages:
        text = said(page)
        assert f"[{mistake.code}]: " in text or not mistake.code
        assert CARET.search(text) or mistake.code in PLACELESS
        codes = set(re.findall(r"^(?:error|warning)\[(\w+)\]", text, re.MULTILINE))
        assert codes <= {mistake.code}  # and nothing that only follows from it
    missing = [w for w in mistake.words if not any(w in said(page) for page in mistake.pages)]
    assert missing == []


def test_every_page_of_a_command_is_a_row() -> None:
    pages = {f"cli/{path.stem}" for path in (HERE / "cli").glob("*.md")}
    assert pages <= {page for r in ROWS for page in r.pages}
