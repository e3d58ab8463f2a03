"""Write the pages under docs/ that say what the sources say: operators, limits, messages.

`make docs` runs it; a test compares the committed pages with fresh ones.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path

import segdsl.ops  # registers the operators
from segdsl.limits import Limits
from segdsl.ops.base import OPS, Op
from segdsl.ops.terms import TERMS, Term

DOCS = Path(__file__).parent
EXPLAIN = Path(segdsl.ops.__file__).parent.parent / "explain"
LIMITS = Path(inspect.getfile(Limits))


def operators() -> str:
    """The page of the operators: signature and docstring of each, by name."""
    named = sorted((op for op in OPS.values() if not op.internal), key=lambda op: op.name)
    parts = [f"## {op.name}\n\n`{_signature(op)}`\n\n{_description(op)}\n" for op in named]
    terms = [
        f"## {name}\n\n`{_signature(term)}`, a term of `mean_field`\n\n{_description(term)}\n"
        for name, term in sorted(TERMS.items())
    ]
    return "# Operators\n\n" + "\n".join([*parts, "# Terms\n", *terms])


def _description(op: type[Op | Term]) -> str:
    """The docstring, its table of attributes as a list."""
    text, _, attributes = (inspect.getdoc(op) or "").partition("\nAttributes:\n")
    listed = re.sub(r"^    (\w+): ", r"* `\1`: ", attributes, flags=re.MULTILINE)
    return f"{text.rstrip()}\n\n{re.sub('^ {8}', '  ', listed, flags=re.MULTILINE)}".rstrip()


def _signature(op: type[Op | Term]) -> str:
    assert is_dataclass(op)
    positional = [_argument(field) for field in fields(op) if not field.kw_only]
    named = [_argument(field) for field in fields(op) if field.kw_only]
    stars = ", ".join(positional) + (f"; {', '.join(named)}" if named else "")
    return f"{op.name}({stars})" if stars else op.name


def _argument(field: Field[object]) -> str:
    if field.default is MISSING:
        return field.name
    return f"{field.name}={_literal(field.default)}"


def _literal(value: object) -> str:
    """A default as the language writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return _literal(value[0]) if len(set(value)) == 1 else f"[{', '.join(map(str, value))}]"
    return str(value)


def limits() -> str:
    """The page of the limits: value, what it bounds, code and option."""
    rows = "\n".join(f"| {what} | {value:,} | {code} |" for what, value, code in _caps())
    head = "| what | limit | code |\n|---|---|---|"
    return f"# Limits\n\n{inspect.getdoc(Limits)}\n\n{head}\n{rows}\n"


def _caps() -> Iterator[tuple[str, int, str]]:
    pattern = re.compile(r"    (\w+): int = .*?  # (.+)")
    for line in LIMITS.read_text("utf-8").split("\n"):
        match = pattern.fullmatch(line)
        if match:
            what, _, code = match[2].partition(": ")
            yield what, getattr(Limits(), match[1]), code


def messages() -> str:
    """The page of the messages: every code, as `segdsl explain` prints it."""
    pages = [path.read_text("utf-8") for path in sorted(EXPLAIN.glob("*.md"))]
    return "# Messages\n\n" + "\n".join(re.sub("^# ", "## ", page) for page in pages)


PAGES = {"operators.md": operators, "limits.md": limits, "messages.md": messages}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
