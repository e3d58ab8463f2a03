"""The command line: `segdsl <command> …`. Reads arguments, picks formats, decides exit codes.

0 fine, 1 errors in the input, 2 wrong use of the command line, 70 a bug in segdsl.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from compiler.cli.console import Console
from compiler.cli.usage import Parser, UsageError, exit_code, missing_library, usage_error
from segdsl.diagnostics import SegError
from segdsl.spelling import nearest
from segdsl.version import __version__

COMMANDS = {
    "check": "say what is wrong with a program, and where",
    "summary": "stages with shapes, parameters and multiply-accumulates",
    "rf": "receptive fields of the stages, exact for every size and phase",
    "compile": "write the program as source code of a target",
    "verify": "hold targets, files, weights or networks against each other",
    "run": "segment a picture",
    "refine": "refine the scores of any network by a CRF over the picture",
    "weights": "write freshly initialised weights",
    "fmt": "bring programs into the one layout",
    "explain": "what a diagnostic code means",
}
"""The commands: each is the module of that name, and only the chosen one is imported."""

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 70


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code and never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except Exception as error:
        from compiler.cli.crash import report_bug

        report_bug(error, arguments)
        return BUG


def _run(arguments: list[str]) -> int:
    console = Console()
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_overview())
            return 0 if arguments else 2
        if arguments[0] == "--version":
            print(f"segdsl {__version__}")
            return 0
        return _command(arguments[0], arguments[1:], console)
    except UsageError as error:
        console.report(error.diagnostics)
        return 2
    except SegError as error:
        console.report(error.diagnostics)
        return exit_code(error.diagnostics) or 1
    except ModuleNotFoundError as error:
        missing = missing_library(error)
        if missing is None:
            raise
        console.report(missing.diagnostics)
        return 2


def _command(name: str, arguments: list[str], console: Console) -> int:
    """Read the arguments of one command and run it; it answers what is to be reported."""
    if name not in COMMANDS:
        near = nearest(name, COMMANDS)
        helps = f"did you mean `{near}`?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise usage_error(f"there is no command `{name}`", helps)
    module = import_module(f"compiler.cli.{name}")
    parser = Parser(prog=f"segdsl {name}", description=module.__doc__)
    module.configure(parser)
    console.add_options(parser)
    try:
        args = parser.parse_args(arguments)
    except SystemExit:  # `--help`, which has been printed; mistakes raise UsageError
        return 0
    console.choose(args)
    found = tuple(module.run(args))
    changed = getattr(args, "changed", False)
    console.report(found, getattr(args, "format", "human"), changed=changed)
    return exit_code(found, deny_warnings=getattr(args, "deny", None) == "warnings")


def _overview() -> str:
    rows = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
    return (
        "usage: segdsl COMMAND …\n\n"
        f"{rows}\n\n"
        "`segdsl COMMAND --help` tells more; `segdsl --version` which segdsl this is."
    )


def _silence_stdout() -> None:
    """The reader of our output has gone: keep the interpreter from failing when it flushes."""
    with suppress(OSError, ValueError):  # stdout may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
