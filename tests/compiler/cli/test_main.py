from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import compiler.cli as cli
from compiler.cli.console import Console, say
from compiler.cli.usage import exit_code
from segdsl.diagnostics import Diagnostic, SegError, Severity
from segdsl.source import Source, Span

ROOT = Path(cli.__file__).parents[2]
SOURCE = Source("net.seg", "x = rellu\n")
ERROR = Diagnostic("E1001", "there is no `rellu`", Span(SOURCE, 4, 9))
WARNING = Diagnostic("W7010", "unused", Span(SOURCE, 0, 1), severity=Severity.WARNING)
USAGE = Diagnostic("E0101", "there is no file `a.seg`", None)

Runner = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs `segdsl probe` with a command module whose `run` is the given function."""

    def probe(run: Callable[[Any], Any], *arguments: str) -> int:
        module = ModuleType("compiler.cli.probe", "A command for tests.")
        module.configure = lambda parser: parser.add_argument("--level")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "compiler.cli.probe", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "for tests")
        return cli.main(["probe", *arguments])

    return probe


def raising(error: BaseException) -> Callable[[Any], Any]:
    def run(_: Any) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("found", "code"),
    [((), 0), ((WARNING,), 0), ((ERROR,), 1), ((USAGE,), 2), ((ERROR, USAGE, WARNING), 2)],
)
def test_exit_codes(
    command: Runner, found: tuple[Diagnostic, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(lambda _: found) == code
    if code:
        assert command(raising(SegError(*found))) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert ("error" in streams.err) == (code > 0)


def test_denied_warnings() -> None:
    assert exit_code([WARNING], deny_warnings=True) == 1
    assert exit_code([], deny_warnings=True) == 0


def test_a_bug_leaves_a_report_and_no_traceback(
    command: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = tmp_path / "secret.seg"
    program.write_text("net Secret\n")
    assert command(raising(KeyError("kernel")), "--level", str(program)) == 70
    err = capsys.readouterr().err
    assert "bug in segdsl" in err
    assert "Traceback" not in err
    (report,) = tmp_path.glob("segdsl-report-*.txt")
    assert str(report) in err
    text = report.read_text()
    assert "Traceback" in text
    assert "KeyError: 'kernel'" in text
    assert f"command: segdsl probe --level {program}" in text
    assert re.search(r"sha256 of \S+secret\.seg: [0-9a-f]{64}\n", text)
    assert "net Secret" not in text


def test_a_bug_where_no_report_can_be_written(
    command: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert command(raising(RecursionError("deep"))) == 70
    assert "RecursionError: deep" in capsys.readouterr().err


def test_a_missing_library_is_named_with_its_extra(
    command: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(raising(ModuleNotFoundError("no torch", name="torch.nn"))) == 2
    err = capsys.readouterr().err
    assert "needs the library `torch`" in err
    assert "pip install 'segdsl[torch]'" in err
    assert command(raising(ModuleNotFoundError("no compiler.x", name="compiler.x"))) == 70


def test_interrupt(command: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"segdsl \d+\.\d+\n", capsys.readouterr().out)
    assert cli.main([]) == 2


def test_command_help(command: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(lambda _: (), "--help") == 0
    out = capsys.readouterr().out
    assert "A command for tests." in out
    assert "--color" in out


@pytest.mark.parametrize(
    ("arguments", "message", "help"),
    [
        (["chekc"], "there is no command `chekc`", "did you mean `check`?"),
        (["zzz"], "there is no command `zzz`", "the commands are check, summary"),
        (["probe", "--lvel", "3"], "there is no option `--lvel`", "did you mean `--level`?"),
        (["probe", "--level"], "expected one argument", "segdsl probe --help"),
        (["probe", "--lev", "3"], "there is no option `--lev`", "did you mean `--level`?"),
        (["probe", "x"], "unrecognized arguments: x", "segdsl probe --help"),
        (["probe", "--color", "blue"], "invalid choice", "segdsl probe --help"),
    ],
)
def test_wrong_use(
    command: Runner,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    help: str,
) -> None:
    command(lambda _: ())
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0107]: ")
    assert message in err
    assert help in err


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    script = "import sys; from compiler.cli import main; sys.exit(main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, cwd=ROOT, check=False
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("option", "environment", "terminal", "expected"),
    [
        ("auto", {}, False, False),
        ("auto", {}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"CLICOLOR": "0"}, True, False),
        ("auto", {"CLICOLOR": "1"}, True, True),
        ("auto", {"CLICOLOR": "1"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1", "CLICOLOR": "0"}, False, True),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour(
    option: str,
    environment: dict[str, str],
    terminal: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = Console()
    console.color = option
    assert console.colored(Terminal() if terminal else io.StringIO()) is expected


def test_other_encodings_get_ascii_drawings_and_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    Console().report([Diagnostic("E1001", "größer… 日", None)])
    sys.stderr.flush()
    assert raw.getvalue().startswith(rb"error[E1001]: gr\xf6\xdfer... \u65e5")
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    say("é日", latin)
    latin.flush()
    assert latin.buffer.getvalue() == b"\xe9\\u65e5\n"


@pytest.mark.parametrize("format", ["json", "sarif", "github"])
def test_machine_formats_go_to_stdout(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    Console().report([ERROR], format)
    streams = capsys.readouterr()
    assert streams.err == ""
    assert "E1001" in streams.out
    if format == "json":
        assert json.loads(streams.out)["code"] == "E1001"


@pytest.mark.parametrize("format", ["human", "short"])
def test_formats_for_people_go_to_stderr(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    Console().report([ERROR], format)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "E1001" in streams.err


def test_only_the_chosen_command_is_imported() -> None:
    script = (
        "import sys; from compiler.cli import main; code = main(['explain', 'E9999']);"
        "loaded = [m for m in ('torch', 'onnx', 'rich', 'safetensors', 'compiler.cli.check')"
        " if m in sys.modules]; print(code, loaded)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "2 []\n"
