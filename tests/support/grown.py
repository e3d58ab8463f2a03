"""Random programs of the language.

Grown as text so that a failure shrinks to a small `.seg` file.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from segdsl.program import Program, examine_source
from segdsl.source import Source

SIZE_CODES = {"E3004", "E3006", "E3002", "E3001"}


@dataclass(frozen=True)
class Grown:
    """A program that has a graph and accepts some size below 65; perhaps not every size."""

    text: str
    program: Program


def examine_text(text: str) -> Program:
    """What segdsl knows of a text."""
    return examine_source(Source("grown.seg", text), None)


def write(statements: list[str], last: str) -> str:
    """The program of some statements."""
    body = "\n".join(f"  {line}" for line in statements)
    return (
        "seg 1\n\nnet Grown() {\n  input x0: f32[N, 4, H, W]\n"
        f"{body}\n  output result = {last}\n}}\n"
    )


def usable(program: Program) -> bool:
    """Whether sizes are the only thing that may be wrong, and some small size is right."""
    if program.graph is None or any(d.code not in {"E3004", "E3006"} for d in program.diagnostics):
        return False
    if not program.graph.outputs:  # a statement was refused outright
        return False
    smallest = [known.minimum for name, known in program.accepted.items() if name != "N"]
    return len(smallest) == 2 and all(n is not None and n <= 64 for n in smallest)


@st.composite
def statements(draw: st.DrawFn, live: list[str], number: int) -> str:
    """One statement that binds `x<number>`."""
    x = draw(st.sampled_from(live))
    y = draw(st.sampled_from(live))
    small = st.integers(1, 4)
    k, s, d, p = (
        draw(small),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        draw(st.integers(0, 2)),
    )
    q, t = draw(small), draw(st.integers(1, 2))
    out = draw(st.sampled_from([2, 4, 6]))
    ceil = draw(st.sampled_from(["true", "false"]))
    mode = draw(st.sampled_from(["nearest", "bilinear", "bicubic", "nearest_exact"]))
    forms = [
        f"{x} -> conv({out}, [{k}, {q}], stride=[{s}, {t}], pad=[{p}, {t}], dilation={d})",
        f"{x} -> conv({out}, 3, pad=same, stride={s}, dilation={d}, groups=2)",
        f"{x} -> conv_transpose({out}, {k}, stride={s}, pad={min(p, k - 1)})",
        f"{x} -> conv_transpose({out}, 3, stride=2, pad=1, output_pad=1)",
        f"{x} -> max_pool({k + 1}, stride={s}, pad={min(p, (k + 1) // 2)}, ceil={ceil})",
        f"{x} -> avg_pool({k + 1}, stride={s}, pad={min(p, (k + 1) // 2)}, ceil={ceil})",
        f'{x} -> resize({draw(st.sampled_from(["2", "0.5", "1.5", "3"]))}, mode="{mode}")',
        f"{x} -> resize(like={y}, mode=bilinear, align_corners={ceil})",
        f"{x} -> crop(like={y}, offset=centre)",
        f"{x} -> pad([{p}, {k}, {s}, {d}], mode=zeros)",
        f"{x} -> bn -> relu",
        f"{x} -> relu -> max_pool(2) -> conv_transpose(4, 2, stride=2)",
        f"concat([{x}, {y}])",
        f"{x} + ({y} -> conv({out}, 1)) * 0.5",
        f"{x} * ({x} -> global_avg_pool -> sigmoid)",
        f"{x} -> adaptive_avg_pool({k})",
        f"{x} -> pixel_shuffle(2)",
        f"max([{x}, {y}])",
        f"{x} -> repeat {t} as k {{ conv(4, 3, pad=1) @r{number}.{{k}} -> silu }}",
    ]
    return f"x{number} = {draw(st.sampled_from(forms))}"


@st.composite
def programs(draw: st.DrawFn, most: int = 8) -> Grown:
    """A program of up to `most` statements; statements that the checker refuses are dropped."""
    kept: list[str] = []
    live = ["x0"]
    program = examine_text(write(kept, "x0"))
    for number in range(1, draw(st.integers(3, most)) + 1):
        line = draw(statements(live, number))
        tried = examine_text(write([*kept, line], f"x{number}"))
        if usable(tried):
            kept.append(line)
            live.append(f"x{number}")
            program = tried
    return Grown(write(kept, live[-1]), program)
