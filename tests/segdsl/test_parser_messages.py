"""Each mistake of a text and the exact words for it."""

from __future__ import annotations

import pytest

from segdsl.diagnostics import Applicability, Diagnostic, Severity
from segdsl.parser import parse
from segdsl.source import Source
from segdsl.version import __version__


def said(
    code: str,
    message: str,
    text: str,
    labels: tuple[tuple[str, str], ...] = (),
    notes: tuple[str, ...] = (),
    helps: tuple[tuple[str, str], ...] = (),
) -> tuple[object, ...]:
    """A diagnostic as the tests write it: `text` is what stands in its span."""
    return (code, message, text, labels, notes, helps)


def in_a_body(lines: str) -> str:
    inner = "".join(f"  {line}\n" for line in lines.split("\n"))
    return "seg 1\nnet A() {\n" + inner + "}\n"


IN_A_BODY: list[tuple[str, list[object]]] = [
    (
        "x = y -> conv(64, 3\nz = x",
        [
            said(
                "E0001",
                "this `(` is never closed",
                "(",
                helps=(("add `)` before the end of line 3", "likely"),),
            )
        ],
    ),
    (
        "x = y -> conv(64, 3\n  -> relu\nz = x",
        [
            said(
                "E0001",
                "this `(` is never closed",
                "(",
                helps=(("add `)` before the end of line 3", "likely"),),
            )
        ],
    ),
    (
        "x = [f(1, 2]",
        [said("E0001", "this `(` is never closed", "(", helps=(("add `)` after `2`", "likely"),))],
    ),
    (
        "x = f(g(a, 3], b)",
        [
            said(
                "E0001",
                "this `(` is never closed",
                "(",
                labels=(("]", "`]` does not close it"),),
                helps=(("write `)`", "likely"),),
            )
        ],
    ),
    (
        "x = conv(64, 3]\ny = 2",
        [
            said(
                "E0001",
                "this `(` is never closed",
                "(",
                labels=(("]", "`]` does not close it"),),
                helps=(("write `)`", "likely"),),
            )
        ],
    ),
    (
        "x = f(a, b}\ny = 2",
        [
            said(
                "E0001",
                "this `(` is never closed",
                "(",
                labels=(("}", "`}` does not close it"),),
                helps=(("write `)`", "likely"),),
            )
        ],
    ),
    (
        "x = y -> repeat 3 { relu\nz = x",
        [
            said(
                "E0001",
                "this `{` is never closed",
                "{",
                helps=(("add `}` before the end of line 3", "likely"),),
            )
        ],
    ),
    (
        'x = "abc\ny = 3',
        [
            said(
                "E0001",
                'this `"` is never closed',
                '"',
                helps=(('add `"` before the end of line 3', "likely"),),
            )
        ],
    ),
    (
        "x = 'abc",
        [
            said(
                "E0001",
                "this `'` is never closed",
                "'",
                helps=(("put the string in double quotes", "template"),),
            )
        ],
    ),
    (
        "x = conv @layer{i + 1\ny = 3",
        [
            said(
                "E0001",
                "this `{` is never closed",
                "{",
                notes=("the `{}` of a weight path hold one expression: `@layer{i + 1}.0`",),
            )
        ],
    ),
    (
        "x = f(y -> relu))\nz = x",
        [said("E0002", "this `)` closes nothing", ")", helps=(("remove it", "likely"),))],
    ),
    (
        "x = f([a], b]\n  , c)",
        [said("E0002", "this `]` closes nothing", "]", helps=(("remove it", "likely"),))],
    ),
    (
        "if a {\n  x = 3\n  }\n}\ny = 3",
        [said("E0002", "this `}` closes nothing", "}", helps=(("remove it", "likely"),))],
    ),
    (
        "if a\n  x = 3\n}\ny = 3",
        [
            said(
                "E0015",
                "the statement stops after `a`",
                "a",
                notes=("expected `{`",),
                helps=(("add `{`", "likely"),),
            )
        ],
    ),
    (
        "x = y ->\nz = x",
        [
            said(
                "E0003",
                "the pipeline stops after `->`",
                "->",
                notes=("an operation must follow, as in `-> relu`",),
            )
        ],
    ),
    (
        "x = y => relu",
        [
            said(
                "E0004", "`=>` is not an operator of .seg", "=>", helps=(("write `->`", "certain"),)
            )
        ],
    ),
    (
        "x = y |> relu",
        [
            said(
                "E0004", "`|>` is not an operator of .seg", "|>", helps=(("write `->`", "certain"),)
            )
        ],
    ),
    (
        "x = y - > relu",
        [
            said(
                "E0004",
                "`- >` is not an operator of .seg",
                "- >",
                helps=(("write `->`", "certain"),),
            )
        ],
    ),
    (
        "x = a && b || !c",
        [
            said(
                "E0004",
                "`&&` is not an operator of .seg",
                "&&",
                helps=(("write `and`", "certain"),),
            ),
            said(
                "E0004", "`||` is not an operator of .seg", "||", helps=(("write `or`", "certain"),)
            ),
            said(
                "E0004", "`!` is not an operator of .seg", "!", helps=(("write `not`", "certain"),)
            ),
        ],
    ),
    (
        "x = a; y = b",
        [
            said(
                "E0004",
                "`;` is not an operator of .seg",
                ";",
                notes=("a statement ends with its line",),
                helps=(("begin a new line", "likely"),),
            )
        ],
    ),
    (
        "x -= 3",
        [
            said(
                "E0004",
                "`-=` is not an operator of .seg",
                "-=",
                helps=(("write `x = x - …`, with `x` declared by `var`", "template"),),
            )
        ],
    ),
    (
        "x = a <> b",
        [
            said(
                "E0004", "`<>` is not an operator of .seg", "<>", helps=(("write `!=`", "certain"),)
            )
        ],
    ),
    (
        "x = resize(mode='bilinear')",
        [
            said(
                "E0005",
                "strings take double quotes",
                "'bilinear'",
                helps=(('`"bilinear"`, or the bare name `bilinear`', "certain"),),
            )
        ],
    ),
    (
        "x = f('a b')",
        [said("E0005", "strings take double quotes", "'a b'", helps=(('`"a b"`', "certain"),))],
    ),
    (
        "fro i in range(3) {\n  x = 3\n}",
        [
            said(
                "E0006",
                "`fro` starts no statement",
                "fro",
                helps=(("did you mean `for`?", "likely"),),
            )
        ],
    ),
    (
        "ouput y = x",
        [
            said(
                "E0006",
                "`ouput` starts no statement",
                "ouput",
                helps=(("did you mean `output`?", "likely"),),
            )
        ],
    ),
    ("a b", [said("E0006", "`a` starts no statement", "a")]),
    (
        "let x = 3",
        [
            said(
                "E0007",
                "names are bound with `x = …`; `let` is not needed",
                "let",
                helps=(
                    ("remove `let`", "certain"),
                    ("`var x = …` if it changes in a loop", "template"),
                ),
            )
        ],
    ),
    (
        "x := 3",
        [
            said(
                "E0007",
                "names are bound with `x = …`; `:=` is not needed",
                ":=",
                helps=(
                    ("write `=`", "certain"),
                    ("`var x = …` if it changes in a loop", "template"),
                ),
            )
        ],
    ),
    (
        "if aux:\n  x = y\nelse:\n  x = z",
        [
            said("E0008", "blocks use braces", ":", helps=(("`if aux { … }`", "template"),)),
            said("E0008", "blocks use braces", ":", helps=(("`else { … }`", "template"),)),
        ],
    ),
    (
        "for i in xs:\n  x = y",
        [said("E0008", "blocks use braces", ":", helps=(("`for i in xs { … }`", "template"),))],
    ),
    (
        "x = conv(64 3)",
        [
            said(
                "E0009",
                "a comma is missing between the arguments `64` and `3`",
                "3",
                helps=(("add `,`", "likely"),),
            )
        ],
    ),
    (
        "x = conv(y -> conv(3 4) 3)",
        [
            said(
                "E0009",
                "a comma is missing between the arguments `3` and `4`",
                "4",
                helps=(("add `,`", "likely"),),
            ),
            said(
                "E0009",
                "a comma is missing between the arguments `y -> conv(3 4)` and `3`",
                "3",
                helps=(("add `,`", "likely"),),
            ),
        ],
    ),
    (
        "x = [1 2]",
        [
            said(
                "E0009",
                "a comma is missing between the elements `1` and `2`",
                "2",
                helps=(("add `,`", "likely"),),
            )
        ],
    ),
    ("x = lambda", [said("E1009", "`lambda` is a keyword of Python and no name", "lambda")]),
    ("return x", [said("E1009", "`return` is a keyword of Python and no name", "return")]),
    (
        "if a {\n}\nelif b {\n}",
        [
            said(
                "E1009",
                "`elif` is a keyword of Python and no name",
                "elif",
                helps=(("write `else if`", "likely"),),
            )
        ],
    ),
    (
        "x = None",
        [
            said(
                "E1009",
                "`None` is a keyword of Python and no name",
                "None",
                helps=(("write `none`", "likely"),),
            )
        ],
    ),
    ("while x {\n}", [said("E1009", "`while` is reserved for later editions", "while")]),
    ("x = __a", [said("E1009", "`__a`: no name begins with two underscores", "__a")]),
    (
        "input = 3",
        [said("E1009", "`input` is a word of the language and cannot be a name here", "input")],
    ),
    (
        "x = f(for=3)",
        [said("E1009", "`for` is a word of the language and cannot be a name here", "for")],
    ),
    (
        "x = 007",
        [said("E0012", "`007` has a leading zero", "007", helps=(("write `7`", "certain"),))],
    ),
    ("x = 1.", [said("E0012", "`1.` is not a number", "1.", helps=(("write `1.0`", "certain"),))]),
    ("x = .5", [said("E0012", "`.5` is not a number", ".5", helps=(("write `0.5`", "certain"),))]),
    (
        "x = 0x10",
        [
            said(
                "E0012",
                "`0x10` is not a number",
                "0x10",
                notes=("a number may end in a unit: px, x, K, M or G",),
            )
        ],
    ),
    (
        "x = 1e1000",
        [said("E0012", "the exponent of this number has 4 digits; the limit is 3", "1e1000")],
    ),
    ("x = 1e999", [said("E0012", "`1e999` is too large for a number", "1e999")]),
    ("x = 1e-999", [said("E0012", "`1e-999` is too small for a number", "1e-999")]),
    (
        "x = 1234567890123456789",
        [said("E0012", "this number has 19 digits; the limit is 18", "1234567890123456789")],
    ),
    (
        "x = 12.5abc",
        [
            said(
                "E0012",
                "`12.5abc` is not a number",
                "12.5abc",
                notes=("a number may end in a unit: px, x, K, M or G",),
            )
        ],
    ),
    (
        "x = 3km",
        [
            said(
                "E0012",
                "`3km` is not a number",
                "3km",
                notes=("a number may end in a unit: px, x, K, M or G",),
            )
        ],
    ),
    (
        "x = caf\u00e9",
        [
            said(
                "E0013",
                "`\u00e9` (U+00E9) is not allowed here",
                "\u00e9",
                notes=("characters beyond ASCII stand only in strings and comments",),
            )
        ],
    ),
    (
        "x = y \u2192 relu",
        [
            said(
                "E0013",
                "`\u2192` (U+2192) is not allowed here",
                "\u2192",
                notes=("characters beyond ASCII stand only in strings and comments",),
                helps=(("write `->`", "likely"),),
            )
        ],
    ),
    (
        "x = a\xa0+ b",
        [
            said(
                "E0013",
                "U+00A0 is not allowed here",
                "\xa0",
                notes=("characters beyond ASCII stand only in strings and comments",),
                helps=(("write a plain space", "certain"),),
            )
        ],
    ),
    (
        'x = "a\u202eb"',
        [
            said(
                "E0013",
                "the character U+202E is not allowed in a .seg file",
                "\u202e",
                helps=(("remove it", "certain"),),
            )
        ],
    ),
    ("x = a $ b", [said("E0013", "`$` is not allowed here", "$")]),
    (
        'x = "a\\q"',
        [said("E0013", "`\\q` is no escape", "\\q", notes=('the escapes are \\" \\\\ \\n \\t',))],
    ),
    (
        "x = a\x07 + b",
        [
            said(
                "E0013",
                "the character U+0007 is not allowed in a .seg file",
                "\x07",
                helps=(("remove it", "certain"),),
            )
        ],
    ),
    (
        "x = f @{",
        [
            said(
                "E0001",
                "this `{` is never closed",
                "{",
                notes=("the `{}` of a weight path hold one expression: `@layer{i + 1}.0`",),
            )
        ],
    ),
    (
        "x = f @-a",
        [
            said(
                "E0014",
                "`@-a` is not a weight path",
                "@-a",
                notes=("weight paths look like `@conv1`, `@layer{i + 1}.0` and `@.`",),
            )
        ],
    ),
    (
        "x = f @a.",
        [
            said(
                "E0014",
                "`@a.` is not a weight path",
                "@a.",
                notes=("weight paths look like `@conv1`, `@layer{i + 1}.0` and `@.`",),
            )
        ],
    ),
    (
        "x = f @a{}",
        [
            said(
                "E0014", "the `{}` of a weight path hold an expression, as in `@layer{i + 1}`", "{}"
            )
        ],
    ),
    (
        "x = f @a{1 +}",
        [said("E0015", "the expression stops after `+`", "+", notes=("expected a value",))],
    ),
    ("x = f @a{1 2}", [said("E0014", "`2` cannot stand here", "2")]),
    (
        "x =\ny = 3",
        [said("E0015", "the statement stops after `=`", "=", notes=("a value must follow",))],
    ),
    (
        "x = 3 +\noutput y = 3",
        [said("E0015", "the statement stops after `+`", "+", notes=("a value must follow",))],
    ),
    (
        "output",
        [said("E0015", "the statement stops after `output`", "output", notes=("expected a name",))],
    ),
    ("input x", [said("E0015", "the statement stops after `x`", "x", notes=("expected `:`",))]),
    (
        "output y: [N, C] =",
        [said("E0015", "the statement stops after `=`", "=", notes=("a value must follow",))],
    ),
    ("if a", [said("E0015", "the statement stops after `a`", "a", notes=("expected `{`",))]),
    (
        "x = a if b",
        [said("E0015", "the statement stops after `b`", "b", notes=("expected `else`",))],
    ),
    ("x = (1 +)", [said("E0014", "`)` cannot stand here", ")", notes=("expected a value",))]),
    ("x = -> relu", [said("E0014", "`->` cannot stand here", "->", notes=("expected a value",))]),
    (
        "if x = 3 {\n}",
        [
            said(
                "E0014", "`=` cannot stand here", "=", helps=(("to compare, write `==`", "likely"),)
            )
        ],
    ),
    (
        "x = [f(i) for i in xs]",
        [
            said(
                "E0014",
                "`for` cannot stand here",
                "for",
                helps=(("loops in lists begin with `for`: `[for i in xs: f(i)]`", "template"),),
            )
        ],
    ),
    (
        "net B() {\n}",
        [
            said(
                "E0014",
                "`net` cannot stand here",
                "net",
                notes=("imports, `const`, `block` and `net` stand outside of blocks and nets",),
            )
        ],
    ),
    (
        "x = 3 3",
        [
            said(
                "E0014",
                "`3` cannot stand here",
                "3",
                notes=("expected the end of the line or `}`",),
            )
        ],
    ),
    ("for i {\n}", [said("E0014", "`{` cannot stand here", "{", notes=("expected `in` or `,`",))]),
    (
        "init = 3",
        [said("E1009", "`init` is a word of the language and cannot be a name here", "init")],
    ),
    (
        "x = y as z",
        [
            said(
                "E0014",
                "`as` cannot stand here",
                "as",
                notes=("expected the end of the line or `}`",),
            )
        ],
    ),
    ("@p", [said("E0014", "`@p` cannot stand here", "@p", notes=("expected a statement or `}`",))]),
    ("check a within 2px%", [said("E2013", "`within` takes a percentage, not `2px`", "2px")]),
]
FILES: list[tuple[str, list[object]]] = [
    (
        "seg 3\nnet A() {\n}\n",
        [
            said(
                "E0010",
                f"this file needs edition 3; segdsl {__version__} knows 1",
                "3",
                helps=(("upgrade, or lower the edition", "likely"),),
            )
        ],
    ),
    (
        "seg 1x\n",
        [
            said(
                "E0010",
                f"this file needs edition 1x; segdsl {__version__} knows 1",
                "1x",
                helps=(("upgrade, or lower the edition", "likely"),),
            )
        ],
    ),
    (
        "net A() {\n}\n",
        [
            said(
                "E0011",
                "the first line must name the edition: `seg 1`",
                "net",
                helps=(("insert `seg 1`", "certain"),),
            )
        ],
    ),
    (
        "1\nnet A() {\n}\n",
        [
            said(
                "E0011",
                "the first line must name the edition: `seg 1`",
                "1",
                helps=(("write `seg 1`", "likely"),),
            )
        ],
    ),
    (
        "const A = 1\nseg 1\n",
        [said("E0011", "`seg 1` must be the first line of the file, and stand once", "seg")],
    ),
    ("seg one\n", [said("E0014", "`one` cannot stand here", "one", notes=("expected a number",))]),
    (
        "seg 1\nseg 1\n",
        [said("E0011", "`seg 1` must be the first line of the file, and stand once", "seg")],
    ),
    ("", [said("E0104", "this file is empty", "")]),
    ("  \n# hi\n", [said("E0104", "this file is empty", "")]),
    ("$\n", [said("E0013", "`$` is not allowed here", "$")]),
    ("a\x00b", [said("E0103", "this is no text: it holds a NUL", "\x00")]),
    (
        "seg 1\nblok A() {\n  x = 3\n}\n",
        [
            said(
                "E0006",
                "`blok` starts no statement",
                "blok",
                helps=(("did you mean `block`?", "likely"),),
            )
        ],
    ),
    (
        "seg 1\nx = 3\ny = 4\n",
        [
            said(
                "E0014",
                "`x` cannot stand here",
                "x",
                notes=(
                    "only imports, `const`, `block` and `net` stand outside of blocks and nets",
                ),
            )
        ],
    ),
    (
        "seg 1\nnet A()\n{\n  x = 3\n}\n",
        [
            said(
                "E0014",
                "`{` cannot stand here",
                "{",
                notes=("`{` stands at the end of the line that it belongs to",),
                helps=(("put it there", "certain"),),
            )
        ],
    ),
    (
        "seg 1\nnet A(x: int {\n  x = 3\n}\n",
        [
            said(
                "E0001", "this `(` is never closed", "(", helps=(("add `)` after `int`", "likely"),)
            )
        ],
    ),
    (
        "seg 1\nnet A(x: int y: int) {\n}\n",
        [
            said(
                "E0009",
                "a comma is missing between the parameters `x: int` and `y: int`",
                "y",
                helps=(("add `,`", "likely"),),
            )
        ],
    ),
    (
        "seg 1\nnet true() {\n}\n",
        [said("E1009", "`true` is a word of the language and cannot be a name here", "true")],
    ),
    (
        "seg 1\nnet A() {\n  x = 3\nnet B() {\n}\n",
        [
            said(
                "E0001",
                "this `{` is never closed",
                "{",
                helps=(("add `}` below line 3", "likely"),),
            )
        ],
    ),
    (
        "seg 1\nnet A() {\n  if b {\n    x = 3\n}\nnet B() {\n}\n",
        [
            said(
                "E0001",
                "this `{` is never closed",
                "{",
                helps=(("add `}` below line 4", "likely"),),
            )
        ],
    ),
    (
        "seg 1\nnet A() {\n}\n}\n",
        [said("E0002", "this `}` closes nothing", "}", helps=(("remove it", "likely"),))],
    ),
    (
        "seg 1\nfrom a import\n",
        [said("E0015", "the statement stops after `import`", "import", notes=("expected a name",))],
    ),
    (
        'seg 1\nimport "x"\n',
        [said("E0015", 'the statement stops after `"x"`', '"x"', notes=("expected `as`",))],
    ),
    (
        "seg 1\nimport x as y\n",
        [
            said(
                "E0014", "`x` cannot stand here", "x", notes=("expected a string in double quotes",)
            )
        ],
    ),
    ("seg 1\nnet A {\n}\n", [said("E0014", "`{` cannot stand here", "{", notes=("expected `(`",))]),
    (
        "seg 1\nconst class = 1\n",
        [said("E1009", "`class` is a keyword of Python and no name", "class")],
    ),
]


def read(text: str) -> tuple[Diagnostic, ...]:
    return parse(Source("test.seg", text))[1]


def plain(diagnostic: Diagnostic) -> tuple[object, ...]:
    assert diagnostic.span is not None
    assert diagnostic.severity is Severity.ERROR
    return (
        diagnostic.code,
        diagnostic.message,
        diagnostic.span.text,
        tuple((label.span.text, label.text) for label in diagnostic.labels),
        diagnostic.notes,
        tuple((h.text, h.applicability.value) for h in diagnostic.helps),
    )


@pytest.mark.parametrize(("lines", "expected"), IN_A_BODY, ids=[row[0] for row in IN_A_BODY])
def test_mistakes_in_a_body(lines: str, expected: list[object]) -> None:
    assert [plain(d) for d in read(in_a_body(lines))] == expected


@pytest.mark.parametrize(("text", "expected"), FILES, ids=[row[0] for row in FILES])
def test_mistakes_of_a_file(text: str, expected: list[object]) -> None:
    assert [plain(d) for d in read(text)] == expected


ALL = [in_a_body(row[0]) for row in IN_A_BODY] + [row[0] for row in FILES]


def mended(text: str, diagnostic: Diagnostic, applicability: Applicability) -> list[str]:
    """The text after each help of a diagnostic that is that safe."""
    results = []
    for help_ in diagnostic.helps:
        if help_.edits and help_.applicability is applicability:
            result = text
            for edit in sorted(help_.edits, key=lambda e: -e.span.start):
                result = result[: edit.span.start] + edit.text + result[edit.span.end :]
            results.append(result)
    return results


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("applicability", [Applicability.CERTAIN, Applicability.LIKELY])
def test_an_edit_mends_its_mistake_and_adds_none(text: str, applicability: Applicability) -> None:
    before = read(text)
    for diagnostic in before:
        for result in mended(text, diagnostic, applicability):
            assert len(read(result)) < len(before), result


def test_the_edits_were_tried() -> None:
    counts = [
        sum(len(mended(t, d, a)) for t in ALL for d in read(t))
        for a in (Applicability.CERTAIN, Applicability.LIKELY)
    ]
    assert counts[0] >= 15
    assert counts[1] >= 25


def test_every_code_of_syntax_has_a_row() -> None:
    codes = {d.code for text in ALL for d in read(text)}
    numbers = [*range(1, 16), 103, 104]
    assert {f"E{n:04}" for n in numbers} | {"E1009", "E2013"} == codes


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("seg 1\nnet A() {\n  x = conv(64 3)\n}\n", "E0009", (3, 15)),
        ("seg 1\r\nnet A() {\r\n\tx = y ->\r\n}\r\n", "E0003", (3, 8)),
        ('\ufeffseg 1\nnet A() {\n  "\u00e9\u00e9" -> f)\n}\n', "E0002", (3, 12)),
        ("seg 1\nnet A() {\n  x = f @a{i + (}\n}\n", "E0015", (3, 16)),
    ],
)
def test_places(text: str, code: str, place: tuple[int, int]) -> None:
    (diagnostic,) = read(text)
    assert diagnostic.span is not None
    assert diagnostic.code == code
    assert diagnostic.span.source.position(diagnostic.span.start) == place
