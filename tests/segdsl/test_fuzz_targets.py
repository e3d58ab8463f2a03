"""What `benchmarks/fuzz.py` fuzzes: its targets on kept cases, and a short time of it in every run.

A case that once broke a target lies in `tests/data/fuzz/<target>/`, named after what was wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdsl.fmt import format_source
from segdsl.source import Source
from tests.support.fuzz_targets import (
    TARGETS,
    check_text,
    keymap_seeds,
    safetensors_seeds,
    seg_seeds,
)
from tests.support.written import Written, written

KEPT = Path(__file__).parents[1] / "data" / "fuzz"
CASES = sorted(path for path in KEPT.glob("*/*") if path.is_file())
LIGHT = [name for name in TARGETS if name != "checkpoint"]  # that one needs torch


@pytest.mark.parametrize("case", CASES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_kept_cases(case: Path) -> None:
    if case.parent.name == "checkpoint":
        pytest.importorskip("torch")
    TARGETS[case.parent.name].run(case.read_bytes())


SEEDS = seg_seeds()
NUMBERS = (0, 1, -1, 128, 129, 1025, 1026, 65536, 65537, 2**20, 2**20 + 1, 2**31, 2**63, 10**18)
WORDS = (
    "1e999", "1e308", "0.0", "class", "__x", "for_", "None", "\ufb01lter", "\u202e", "\0",
    "\x1b[2J", '"""', "'", "\\", "@.", "@a.{i}", "{{", "[[[[", "]]]]", "->", "repeat",
)  # fmt: skip
BOUNDARIES = (*map(str, NUMBERS), *WORDS)


@st.composite
def hurt(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with one to three pieces replaced by bytes, boundaries or pieces of others."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 24)))
        other = draw(st.sampled_from(seeds))
        place = draw(st.integers(0, len(other)))
        piece = draw(
            st.binary(max_size=8)
            | st.sampled_from(BOUNDARIES).map(lambda word: word.encode())
            | st.just(other[place : place + 30])
        )
        data = data[:start] + piece + data[end:]
    return data[:4096]


@settings(max_examples=100)
@given(hurt(SEEDS))
def test_hurt_programs(data: bytes) -> None:
    for name in ("parse", "formats", "check", "fmt"):
        TARGETS[name].run(data)


@settings(max_examples=300)
@given(hurt(safetensors_seeds()))
def test_hurt_safetensors(data: bytes) -> None:
    TARGETS["safetensors"].run(data)


@settings(max_examples=300)
@given(hurt(keymap_seeds()))
def test_hurt_key_maps(data: bytes) -> None:
    TARGETS["keymap"].run(data)


def test_numbers_that_python_refuses_to_read() -> None:
    """`int` of 5,000 digits is a ValueError that tomllib passes on."""
    TARGETS["keymap"].run(b"[[rule]]\nfrom = 'a'\nreshape = [" + b"9" * 5000 + b"]\n")


@pytest.mark.parametrize("name", LIGHT)
def test_seeds_and_bytes(name: str) -> None:
    for seed in [*TARGETS[name].seeds()[:20], b"", b"\0", b"\xff\xfe", b"seg 1\n" * 100]:
        TARGETS[name].run(seed)


@settings(max_examples=15)
@given(written())
def test_written_programs_go_through_everything(program: Written) -> None:
    """Lints, fixes, summary, receptive fields and the formatter, on valid programs."""
    assert not check_text(program.text).failed
    once = format_source(Source("written.seg", program.text))
    assert not check_text(once).failed
