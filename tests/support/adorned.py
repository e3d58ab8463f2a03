"""Programs with every kind of statement, and the same with one thing changed.

A random program over all operators (`written`) gets whatever else the language has: constants,
imports, blocks with conditions, loops, lists, records, layers, weights, claims, checks, outputs for
training, deformable layers, random fields. `nearly` then changes one thing, as an author might by
mistake or a stranger on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from segdsl.parsing.tables import OPERATORS, WORDS
from tests.support.written import Written, written
from tests.support.written_calls import Draw

HEAD = "net Written(deep: bool = true) {\n"
TEXTS = r"""
const A§: [int] = [2 ** 2 - 1, 7 // 2, -3 % 2, 1_000 * 0]
----
a§ = image -> conv(A§[0], 1, bias=false) @a§ -> relu as r§
====
----
n§ = int("12") + ceil(7 / 2) - abs(-3) + floor(1.5e0)
z§ = image -> conv(n§, 1) @n§
====
----
xs§ = [for i in range(5): if i % 2 == 0: i + 1, *[9]][1:]
e§ = image -> conv(xs§[-1], 1) @e§
====
----
var v§ = []
for i, k in enumerate(reversed([1, 2])) {
  v§ += [image -> conv(k, 1) @v§.{i + 1}]
}
o§ = concat(v§)
====
----
if deep and not false or 1 < 2 <= 3 {
  q§ = image -> relu
} else if deep != true {
  q§ = image
} else {
  q§ = image + image
}
====
----
t§ = (image -> relu) if deep else image
s§ = sum([for t in [t§, image]: t])
====
----
layer l§ = conv(2, 1, init=normal(0.1), train=false) @l§
image -> l§ as once§ -> relu as twice§
====
----
weight g§: [image.channels] = constant(0.5)
h§ = image * per_channel(g§)
====
----
b§ = image -> conv(1, 3, pad=same) @i§
init "i§.*" = zeros
====
----
train output aux§ = image -> conv(2, 1, bias_init=zeros) @aux§
====
----
c§: [N, _, H, W] = image -> sigmoid
check stride(c§) == 1
====
----
k§ = image -> conv(1, 3, pad=1) @k§
check rf(k§).size == 3px
check shape(k§) == [N, 1, H, W]
====
----
check params >= 0
check 101 ~= 100 within 2% else "about \"a hundred\""
check image.channels in [1, 2, 3, 4] else "é \t \\"
====
## Two results.
## @paper arXiv:1411.4038
block Many§(x: [N, C, h, w], f: block, n: int = 2, mode: oneof("a", "b") = "a", l: [int] = [1, 2])
    -> (y: [N, C, h, w], z: tensor)
    where n % 2 == 0 else "n is even", C >= 1, len(l) == 2 {
  y = x -> f
  z = x -> repeat n as k { conv(C, 1) @{mode}.{k} }  # two turns
}
----
d§ = image -> Many§(relu, mode="b") @d§
u§ = d§.y + d§.z
v§, w§ = image -> Many§(tanh, 4) @m§
====
from std.blocks import ConvBNReLU as Unit§
----
m§ = image -> Unit§(2, stride=1) @u§
====
----
dc§ = image -> conv(4, 1) @s§ -> dcnv3(kernel=3, groups=2, softmax=deep) @dc§
====
----
of§ = image -> conv(18, 1) @of§
de§ = image -> deform_conv(of§, 2, 3, pad=1, offset_limit=2.5) @de§
====
----
sc§ = image -> conv(2, 1) @sc§
mf§ = sc§ -> mean_field([
  for w in [3, 5]: gaussian(sxy=w, compat=1),
  if deep: bilateral(image, sxy=[4px, 5], srgb=13, compat=[[0, 1], [1, 0]]),
], method="window", window=3, iterations=2, returns=logits)
====
from std.crf import DenseCRF as Field§
----
fc§ = image -> conv(2, 1) @fc§ -> Field§(image, iterations=1)
====
----
al§ = image -> conv(3, 1) @al§  # allow(W7010): it only takes part in a test
"""


@dataclass(frozen=True)
class Extra:
    """Items, and statements over `image` that use them; each `§` becomes a number of its own."""

    items: str
    body: str

    @property
    def sized(self) -> bool:
        """Whether it speaks of the sizes of the image by their names."""
        return "check stride" in self.body or "check shape" in self.body


EXTRAS = tuple(
    Extra(*(part.strip("\n") for part in text.split("----\n"))) for text in TEXTS.split("====\n")
)


@st.composite
def adorned(draw: st.DrawFn) -> str:
    """The text of a valid program with one to four of the extras among its statements."""
    program: Written = draw(written(most=4))
    head, body = program.text.split(HEAD)
    lines = body.split("\n")
    first = 1 + max(i for i, line in enumerate(lines) if line.startswith("  input "))
    free = any("[N, " in line for line in lines[:first])
    usable = [extra for extra in EXTRAS if free or not extra.sized]
    chosen = draw(st.lists(st.sampled_from(usable), min_size=1, max_size=4))
    for number, extra in enumerate(chosen):
        spots = [i for i in range(first, len(lines)) if _outermost(lines, first, i)]
        at = draw(st.sampled_from(spots))
        lines[at:at] = extra.body.replace("§", f"_{number}").split("\n")
    items = "\n".join(extra.items.replace("§", f"_{i}") for i, extra in enumerate(chosen))
    imports = "\n".join(line for line in items.split("\n") if line.startswith("from "))
    rest = "\n".join(line for line in items.split("\n") if not line.startswith("from "))
    start, blocks = head.split("\n", 1)
    return "\n".join([start, imports, rest, blocks, HEAD.strip(), *lines])


def _outermost(lines: list[str], first: int, at: int) -> bool:
    """Whether a line of the net begins a statement of its own body."""
    before = "\n".join(lines[first:at])
    opened = sum(before.count(a) - before.count(b) for a, b in ("()", "[]", "{}"))
    return opened == 0 and "".join(lines[at:]).strip() != ""


TOKEN = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?|\"[^\"\n]*\"|[ \t]+|->|\*\*|[<>=!~]=|\S|\n"
)
NUMBERS = (0, 1, 128, 129, 1025, 1026, 65536, 65537, 2**20, 2**20 + 1, 2**31, 2**63, 10**18, 10**19)
NAMES = (
    "x",
    "image",
    "N",
    "deep",
    "relu",
    "conv",
    "ConvBNReLU",
    "class",
    "__x",
    "a" * 65,
    "fi",
    "_",
)
VALUES = (
    "none",
    "true",
    "-1",
    "1.5",
    "1e999",
    "2x",
    "3px",
    "1%",
    "[]",
    '"a"',
    "[N, 3, H, W]",
    "H",
    "H/2",
)
PATHS = ("@w", "@.", "@w.{i}", "@{image}", "@a..b", "@" + "a." * 300 + "b")


def nearly(draw: Draw, text: str) -> str:
    """A text with one thing changed."""
    return str(draw(st.sampled_from(CHANGES))(draw, text))


def _token(draw: Draw, text: str) -> str:
    """A token left out, twice, or another one; numbers near caps."""
    tokens = TOKEN.findall(text)
    at = draw(st.sampled_from([i for i, token in enumerate(tokens) if not token.isspace()]))
    words = [*sorted({*WORDS, *OPERATORS}), *NAMES, *VALUES, *PATHS, *map(str, NUMBERS)]
    tokens[at] = draw(st.sampled_from(["", tokens[at] * 2, f"{tokens[at]} {tokens[at]}", *words]))
    return "".join(tokens)


def _number(draw: Draw, text: str) -> str:
    places = list(re.finditer(r"\b\d+\b", text))
    place = draw(st.sampled_from(places[1:] or places))
    return text[: place.start()] + str(draw(st.sampled_from(NUMBERS))) + text[place.end() :]


def _name(draw: Draw, text: str) -> str:
    """A name becomes another name of the program, or a bad one."""
    places = list(re.finditer(r"\b[A-Za-z_]\w*\b", text))
    place, other = draw(st.sampled_from(places)), draw(st.sampled_from(places))
    name = str(draw(st.sampled_from([other[0], *NAMES])))
    return text[: place.start()] + name + text[place.end() :]


def _line(draw: Draw, text: str) -> str:
    """A line is lost, stands twice, or somewhere else."""
    lines = text.split("\n")
    at, to = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match draw(st.integers(0, 2)):
        case 0:
            del lines[at]
        case 1:
            lines.insert(to, lines[at])
        case _:
            lines.insert(to, lines.pop(at))
    return "\n".join(lines)


def _wrapped(draw: Draw, text: str) -> str:
    """A word inside many brackets, or with a long chain behind it."""
    places = list(re.finditer(r"\b\w+\b", text))
    place, count = draw(st.sampled_from(places)), draw(st.sampled_from([1, 120, 128, 129, 300]))
    left, right = draw(st.sampled_from(["()", "[]", ("max(", ")"), ("-", ""), ("", " -> relu")]))
    inside: str = left * count + place[0] + right * count
    return text[: place.start()] + inside + text[place.end() :]


def _turns(draw: Draw, text: str) -> str:
    """The body of the net in a loop of many turns."""
    turns = str(draw(st.sampled_from(["0", "2", "image", "10 ** 9", "H", "range(3)"])))
    return text.replace(HEAD, f"{HEAD}for i in {turns} {{\n", 1) + "}\n"


CHANGES: tuple[Callable[[Draw, str], str], ...] = (
    _token, _token, _token, _number, _number, _name, _name, _line, _wrapped, _turns,
)  # fmt: skip
