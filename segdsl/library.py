"""The networks that come with segdsl: `deeplabv3` means the stock file of that name."""

from __future__ import annotations

import re
from pathlib import Path

from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.spelling import nearest

_PACKAGE = Path(__file__).resolve().parent
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def stock_folder() -> Path:
    """Where the stock files lie: inside an installed package, or `specs/` of a checkout."""
    inside = _PACKAGE / "specs"
    return inside if inside.is_dir() else _PACKAGE.parent / "specs"


def stock_names() -> tuple[str, ...]:
    """The names of the stock networks, in alphabetic order."""
    return tuple(sorted(path.stem for path in stock_folder().glob("*.seg")))


def stock_spec(name: str) -> Path:
    """The file of the stock network `name`, as "deeplabv3".

    Raises:
        SegError: E0101, there is none of that name.
    """
    names = stock_names()
    if name in names:
        return stock_folder() / f"{name}.seg"
    near = nearest(name, names)
    helps = [f"did you mean `{near}`?"] if near else [f"the stock networks are {', '.join(names)}"]
    raise SegError(
        Diagnostic("E0101", f"there is no stock network `{name}`", None, helps=text_helps(*helps))
    )


def locate(text: str) -> Path:
    """The file that a person means by `text`: the bare name of a stock network, or a path.

    A stock name wins over a file of that name in the working folder; `./name` means the file.

    Raises:
        SegError: E0101, there is no such file, or it is a folder.
    """
    if _BARE.fullmatch(text) and (text in stock_names() or not _exists(text)):
        return stock_spec(text)
    path = Path(text)
    if not _exists(text):
        raise SegError(_no_file(text))
    if path.is_dir():
        raise SegError(
            Diagnostic(
                "E0101",
                f"`{text}` is a folder, not a .seg file",
                None,
                helps=text_helps(*_files_in(path)),
            )
        )
    return path


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long a name, a NUL
        return False


def _files_in(folder: Path) -> list[str]:
    try:
        names = sorted(path.name for path in folder.glob("*.seg"))
    except OSError:
        return []
    return [f"it holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"] if names else []


def _no_file(text: str) -> Diagnostic:
    path = Path(text)
    try:
        siblings = sorted(p.name for p in path.parent.iterdir() if p.suffix == ".seg")
    except (OSError, ValueError):
        siblings = []
    near = nearest(path.name, siblings)
    if near is not None:
        helps = [f"did you mean `{path.parent / near}`?"]
    elif path.stem in stock_names():
        helps = [f"the stock network of that name is `{path.stem}`, without a path"]
    else:
        helps = []
    return Diagnostic("E0101", f"there is no file `{text}`", None, helps=text_helps(*helps))
