"""Reading files: the program's own, the ones it imports, and the standard library."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, Label, SegError, text_helps
from segdsl.limits import Limits
from segdsl.parser import parse
from segdsl.source import Source, Span
from segdsl.spelling import nearest

Entry = syntax.Block | syntax.Net | syntax.Const


STANDARD = {"dcnv3": ("dcn", "DCNv3")}
"""Blocks of the standard library that need no import, by their names in the language."""


@dataclass(eq=False)
class Module:
    """One file with what its names mean: its own items, and what it imported."""

    tree: syntax.Module
    items: dict[str, tuple[Entry, Module]] = field(
        default_factory=dict[str, "tuple[Entry, Module]"]
    )
    modules: dict[str, Module] = field(default_factory=dict[str, "Module"])
    spans: dict[str, Span] = field(default_factory=dict[str, Span])
    lost: frozenset[str] = frozenset()
    """Names that text left out for its mistakes may have bound: nobody complains about them."""

    @property
    def nets(self) -> dict[str, syntax.Net]:
        """The nets that this file defines."""
        return {i.name.name: i for i in self.tree.items if isinstance(i, syntax.Net)}


@dataclass
class Reader:
    """Reads modules once each, within the roots and limits of one program.

    Attributes:
        roots: folders that imports may read from.
        diagnostics: what was wrong, in the order in which it was found.
    """

    roots: tuple[Path, ...]
    limits: Limits = field(default_factory=Limits)
    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    _read: dict[str, Module] = field(default_factory=dict[str, Module])
    _open: list[str] = field(default_factory=list[str])
    _bytes: int = 0
    _tokens: int = 0

    def main(self, source: Source, folder: Path | None, key: str) -> Module:
        """Parse and link the main file.

        `folder` is where its imports start (None: none are possible).
        """
        self._bytes += _size(source.text)
        return self._link(source, folder, key)

    def _link(self, source: Source, folder: Path | None, key: str) -> Module:
        read = _parse_standard if key.startswith("std/") else parse
        tree, found = read(source, self.limits)
        self._tokens += tree.tokens
        self.diagnostics.extend(found)
        module = Module(tree, lost=_bound_in_text(source.text) if found else frozenset())
        self._read[key] = module
        self._open.append(key)
        for item in tree.items:
            self._add(module, item, folder)
        self._open.pop()
        if not key.startswith("std/"):
            self._open_standard(module, source)
        return module

    def _open_standard(self, module: Module, source: Source) -> None:
        """Bind the words of the language that are blocks of the standard library, where used.

        What the file binds itself is left alone.
        """
        for name, (file, block) in STANDARD.items():
            if name in module.items or not re.search(rf"\b{name}\b", source.text):
                continue
            home = self._standard([file], Span(source, 0, 0))
            if home is not None:
                module.items[name] = home.items[block]

    def _add(self, module: Module, item: syntax.Item, folder: Path | None) -> None:
        match item:
            case syntax.ImportNames():
                self._import_names(module, item, folder)
            case syntax.ImportFile():
                self._import_file(module, item, folder)
            case syntax.Const() | syntax.Block() | syntax.Net():
                self._define(module, item.name, (item, module))

    def _define(
        self, module: Module, name: syntax.Ident, entry: tuple[Entry, Module] | Module
    ) -> None:
        first = module.spans.get(name.name)
        if first is not None:
            label = Label(first, "first defined here")
            message = f"`{name.name}` is defined twice in this file"
            self.diagnostics.append(Diagnostic("E1005", message, name.span, labels=(label,)))
            return
        module.spans[name.name] = name.span
        if isinstance(entry, Module):
            module.modules[name.name] = entry
        else:
            module.items[name.name] = entry

    def _lose(self, module: Module, alias: syntax.Ident) -> None:
        """Keep quiet about the uses of a name whose import failed."""
        module.spans.setdefault(alias.name, alias.span)
        module.lost |= {alias.name}

    def _import_names(self, module: Module, item: syntax.ImportNames, folder: Path | None) -> None:
        target = self._target(item, folder)
        for name, alias in item.names:
            entry = target.items.get(name.name) if target is not None else None
            if target is not None and (entry is None or entry[1] is not target):
                self._lose(module, alias)
                known = [n for n, (_, home) in target.items.items() if home is target]
                guess = nearest(name.name, known)
                where = ".".join(part.name for part in item.module)
                self.diagnostics.append(
                    Diagnostic(
                        "E1007",
                        f"`{where}` defines no `{name.name}`",
                        name.span,
                        notes=(f"it defines {', '.join(sorted(known)) or 'nothing'}",),
                        helps=text_helps(f"did you mean `{guess}`?") if guess else (),
                    )
                )
            elif entry is not None:
                self._define(module, alias, entry)
            else:
                self._lose(module, alias)

    def _target(self, item: syntax.ImportNames, folder: Path | None) -> Module | None:
        parts = [part.name for part in item.module]
        span = item.module[0].span.to(item.module[-1].span)
        if parts[0] == "std":
            return self._standard(parts[1:], span)
        return self._file("/".join(parts) + ".seg", span, folder)

    def _import_file(self, module: Module, item: syntax.ImportFile, folder: Path | None) -> None:
        target = self._file(str(item.file.value), item.file.span, folder)
        if target is not None:
            self._define(module, item.alias, target)
        else:
            self._lose(module, item.alias)

    def _standard(self, parts: list[str], span: Span) -> Module | None:
        name = "/".join(parts) + ".seg"
        key = f"std/{name}"
        resource = (
            files("segdsl").joinpath("std").joinpath(*parts[:-1], f"{parts[-1]}.seg")
            if parts
            else None
        )
        if resource is None or not resource.is_file():
            known = [p.name.removesuffix(".seg") for p in files("segdsl").joinpath("std").iterdir()]
            self._fail(
                "E1007", f"the standard library has no `std.{'.'.join(parts)}`", span, parts, known
            )
            return None
        return self._module(key, span, lambda: resource.read_text("utf-8"), None)

    def _file(self, name: str, span: Span, folder: Path | None) -> Module | None:
        problem = _unsafe(name)
        if problem or folder is None:
            message = problem or "a program that is not a file cannot import files"
            self.diagnostics.append(Diagnostic("E1010", message, span))
            return None
        path = folder / name
        real = Path(os.path.realpath(path))
        roots = [Path(os.path.realpath(root)) for root in self.roots]
        if not any(real.is_relative_to(root) for root in roots):
            message = f"`{name}` lies outside the folder of the program"
            helps = text_helps(
                "move the file beside the program, or allow its folder with `--include`"
            )
            self.diagnostics.append(Diagnostic("E1010", message, span, helps=helps))
            return None
        if not real.exists():
            known = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*.seg"))[:500]]
            guess = nearest(name, known)
            helps = text_helps(f"did you mean `{guess}`?") if guess else ()
            message = f"no file `{name}` next to this one"
            self.diagnostics.append(Diagnostic("E1007", message, span, helps=helps))
            return None
        if not real.is_file():
            message = f"`{name}` is no regular file"
            self.diagnostics.append(Diagnostic("E1010", message, span))
            return None
        return self._module(
            str(real), span, lambda: read_text(real, self.limits), real.parent, name
        )

    def _module(
        self, key: str, span: Span, read: Callable[[], str], folder: Path | None, name: str = ""
    ) -> Module | None:
        if key in self._open:
            chain = " → ".join([*self._open[self._open.index(key) :], key])
            names = " → ".join(Path(part).name for part in chain.split(" → "))
            self.diagnostics.append(Diagnostic("E1008", f"imports form a circle: {names}", span))
            return None
        if key in self._read:
            return self._read[key]
        if len(self._open) > self.limits.import_depth or len(self._read) >= self.limits.files:
            message = (
                f"this program imports more than {self.limits.files} files, "
                f"or deeper than {self.limits.import_depth}"
            )
            self.diagnostics.append(Diagnostic("E1011", message, span))
            return None
        try:
            text = read()
        except SegError as error:
            self.diagnostics.extend(replace(d, span=span) for d in error.diagnostics)
            return None
        self._bytes += _size(text)
        if self._bytes > self.limits.program_bytes:
            message = (
                f"the files of this program exceed {self.limits.program_bytes:,} bytes together"
            )
            self.diagnostics.append(Diagnostic("E0020", message, span))
            return None
        source = Source(name, text) if name else _standard_source(key, text)
        module = self._link(source, folder, key)
        if self._tokens > self.limits.tokens:
            message = f"the files of this program exceed {self.limits.tokens:,} tokens together"
            helps = text_helps("raise the limit with `--max-tokens`")
            self.diagnostics.append(Diagnostic("E0022", message, span, helps=helps))
            return None
        return module

    def _fail(
        self, code: str, message: str, span: Span, parts: list[str], known: list[str]
    ) -> None:
        guess = nearest(".".join(parts), known)
        helps = text_helps(f"did you mean `std.{guess}`?") if guess else ()
        self.diagnostics.append(Diagnostic(code, message, span, helps=helps))


@lru_cache(maxsize=64)
def _standard_source(name: str, text: str) -> Source:
    """One `Source` for each file of the standard library, so that it is parsed once."""
    return Source(name, text)


@lru_cache(maxsize=64)
def _parse_standard(source: Source, limits: Limits) -> tuple[syntax.Module, tuple[Diagnostic, ...]]:
    """The tree of such a file: the same for every program of this process."""
    return parse(source, limits)


_BINDING = re.compile(
    r"\b(?:as|input|output|layer|var|weight|const|block|net|for|import)\s+([A-Za-z_]\w*)"
    r"|\b([A-Za-z_]\w*)\s*(?:\+?=(?!=)|:|,)"
)


def _bound_in_text(text: str) -> frozenset[str]:
    """Every name that stands where a name is bound, in a text that could not be read whole."""
    return frozenset(a or b for a, b in _BINDING.findall(text))


def _size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _unsafe(name: str) -> str:
    """Why an import path is refused whatever it points at; "" if it is not."""
    if not name.endswith(".seg"):
        return f"an import names a `.seg` file, not `{name}`"
    if name.startswith("/") or "\\" in name or "\0" in name or ":" in name:
        return "an import path is relative and written with `/`"
    return ""


def read_text(path: Path, limits: Limits) -> str:
    """The text of a regular file in UTF-8, within the size limit.

    Raises:
        SegError: no such file or no regular file (E0101), too large (E0020), not UTF-8 or with NUL
            (E0103),
            empty (E0104).
    """
    data = _read_bytes(path, limits.file_bytes)
    if not data.strip():
        raise SegError(Diagnostic("E0104", f"`{path}` is empty", None))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}"
        raise SegError(Diagnostic("E0103", message, None)) from error
    if "\0" in text:
        raise SegError(
            Diagnostic(
                "E0103", f"`{path}` is not text: it holds a NUL at {text.index(chr(0))}", None
            )
        )
    return text


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        )
    except OSError as error:
        raise SegError(
            Diagnostic("E0101", f"cannot read `{path}`: {error.strerror}", None)
        ) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise SegError(Diagnostic("E0101", f"`{path}` is {kind}", None))
    with os.fdopen(handle, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        message = f"`{path}` is larger than {limit:,} bytes, the limit for one file"
        raise SegError(Diagnostic("E0020", message, None))
    return data
