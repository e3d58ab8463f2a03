"""The exact text of messages that need a command: `tests/messages/cli/*.md` hold one each.

A page has `seg` blocks (the first line names the file), `tensors` blocks (a checkpoint: a name and
a shape a line) and one `console` block: the command, what it prints, and the exit code if it is not
0. `…` alone on a line stands for any lines. `pytest --update-golden` rewrites the blocks that have
no such line.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler.cli import main

PAGES = sorted((Path(__file__).parents[2] / "messages" / "cli").glob("*.md"))
FILE = re.compile(r"^```(seg|tensors)\n# file: (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n\$ segdsl ([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def write(kind: str, path: Path, text: str) -> None:
    """One file of a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "seg":
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    pairs = (line.split(": ") for line in text.splitlines())
    arrays = {n: np.zeros([int(s) for s in shape.split("x")], np.float32) for n, shape in pairs}
    save_file(arrays, path)


def pattern(wanted: str) -> re.Pattern[str]:
    """The text, with `…` lines for any lines."""
    pieces = (re.escape(piece) for piece in re.split(r"^…\n", wanted, flags=re.MULTILINE))
    return re.compile(r"(?:[^\n]*\n)*?".join(pieces))


@pytest.mark.golden
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_command_says(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    text = page.read_text(encoding="utf-8")
    for kind, name, body in FILE.findall(text):
        write(kind, tmp_path / name, body)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    ((command, wanted),) = CONSOLE.findall(text)
    code = main(command.split())
    out, err = capsys.readouterr()
    said = err + out + (f"exit {code}\n" if code else "")
    if request.config.getoption("--update-golden") and not re.search("^…$", wanted, re.MULTILINE):
        block = f"```console\n$ segdsl {command}\n{said}```"
        page.write_text(CONSOLE.sub(lambda _: block, text), encoding="utf-8", newline="\n")
        return
    assert pattern(wanted).fullmatch(said), said
    if code:
        assert sorted(tmp_path.rglob("*")) == before  # nothing was written
