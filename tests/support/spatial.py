"""Random programs with uncommon patterns of pixels, for receptive fields."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from tests.support.grown import Grown, examine_text, statements, usable, write

ZERO_TIMES = re.compile(r"(x\d+) \* \(")
"""A gate on a margin of zeros changes nothing, which no pattern of pixels can tell."""


@st.composite
def spatial_statements(draw: st.DrawFn, live: list[str], number: int) -> str:
    """One statement that binds `x<number>`, by an operator with an uncommon pattern of pixels."""
    x, y = draw(st.sampled_from(live)), draw(st.sampled_from(live))
    k, s, d, p, q, t = (draw(st.integers(1, n)) for n in (4, 3, 3, 2, 4, 3))
    sides = [draw(st.integers(0, 3)) for _ in range(4)]
    axis = draw(st.sampled_from(["height", "width"]))
    edge = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
    flag = draw(st.sampled_from(["true", "false"]))
    smooth = draw(st.sampled_from(["bilinear", "bicubic"]))
    any_mode = draw(st.sampled_from(["nearest", "nearest_exact", "bilinear", "bicubic"]))
    scale = draw(st.sampled_from(["0.25", "0.75", "1.25", "2.5", "[2, 0.5]", "[0.5, 3]"]))
    forms = [
        f"{x} -> conv(4, [{k}, {q}], stride=[{s}, {t}], pad={sides}, dilation=[{d}, {p}])",
        f"{x} -> conv_transpose(4, [{k}, {q}], stride=[{s}, {t}], dilation=[{p}, {d}])",
        f"{x} -> conv_transpose(4, {k + 1}, stride={s + 1}, pad={p - 1}, output_pad={p - 1})",
        f"{x} -> max_pool([{k}, {q}], stride=[{s}, {t}], dilation=[{d}, {p}], ceil={flag})",
        f"{x} -> avg_pool([{k}, {q}], stride=[{s}, {t}], ceil={flag})",
        f"{x} -> resize({scale}, mode={any_mode})",
        f"{x} -> resize({scale}, mode={smooth}, align_corners={flag})",
        f"{x} -> resize({scale}, mode={smooth}, antialias={flag})",
        f"{x} -> resize(to=[{k + s}, {q * t}], mode={any_mode})",
        f"{x} -> resize(like={y}, mode={any_mode})",
        f"{x} -> slice({p - 1}, none, axis={axis}, step={s})",
        f"{x} -> slice({-k}, none, axis={axis})",
        f"concat([{x}, {y}], axis={axis})",
        f"{x} -> pad({sides}, mode={edge})",
        f"{x} -> pad_to_multiple([{k}, {q}], mode={edge})",
        f"{x} -> pad(like={y}, mode={edge})",
        f"{x} -> crop(like={y}, offset=[{p - 1}, {s - 1}])",
        f"{x} -> pixel_unshuffle(2) -> conv(4, 1)",
        f"{x} -> adaptive_avg_pool([{k}, {q}])",
        f"{x} -> global_avg_pool -> resize(like={x}, mode={smooth})",
        f"{x} + {y}",
        f"{x} -> max_pool(2) -> conv(4, 3, pad=1) -> resize(like={x}, mode={any_mode})",
        f"concat([{x} -> max_pool(2) -> conv_transpose(4, {k + 1}, stride=2), {x}])",
        f"({x} -> conv(4, 3, pad=1, stride=2) -> resize(2x, mode=nearest)) + {x}",
    ]
    return f"x{number} = {draw(st.sampled_from(forms))}"


@st.composite
def spatial_programs(draw: st.DrawFn, most: int = 8) -> Grown:
    """A program of up to `most` statements, half of them of `spatial_statements`."""
    kept: list[str] = []
    live = ["x0"]
    program = examine_text(write(kept, "x0"))
    for number in range(1, draw(st.integers(2, most)) + 1):
        uncommon = draw(st.booleans())
        line = draw((spatial_statements if uncommon else statements)(live, number))
        line = ZERO_TIMES.sub(r"(\1 + 1.0) * (", line)
        tried = examine_text(write([*kept, line], f"x{number}"))
        if usable(tried):
            kept.append(line)
            live.append(f"x{number}")
            program = tried
    return Grown(write(kept, live[-1]), program)
