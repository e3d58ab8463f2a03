"""The steps in order: read, parse, elaborate, prove, check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from segdsl import syntax
from segdsl.acceptance import prove
from segdsl.analysis.reach.tables import Reach, reach
from segdsl.analysis.reach.wiring import ReachError
from segdsl.analysis.sizes import SizeSet
from segdsl.checks import run_checks
from segdsl.diagnostics import Diagnostic, SegError, Severity, text_helps
from segdsl.elaborate.bounds import bounds
from segdsl.elaborate.names import own_files, survey
from segdsl.elaborate.net import Elaboration, Setting, elaborate
from segdsl.imports import Module, Reader, read_text
from segdsl.ir import Graph, Instance
from segdsl.library import locate
from segdsl.limits import Limits
from segdsl.lints.allow import LINTS, Allow, awake, idle, read_allows, without_allowed
from segdsl.report import input_sizes
from segdsl.source import Source
from segdsl.spelling import nearest
from segdsl.stack import with_room


@dataclass(frozen=True)
class Program:
    """What became of one net of a program.

    Attributes:
        graph: the network; None where there is none to speak of.
        accepted: the input sizes it accepts, by symbol.
        diagnostics: errors and warnings, in source order.
        unchecked: `check`s that were not evaluated because parameters were set from outside.
    """

    graph: Graph | None
    accepted: Mapping[str, SizeSet] = field(default_factory=dict[str, SizeSet])
    diagnostics: tuple[Diagnostic, ...] = ()
    unchecked: int = 0

    @property
    def failed(self) -> bool:
        """Whether there is any error."""
        return any(d.severity is Severity.ERROR for d in self.diagnostics)


def load(
    path: str | Path,
    *,
    net: str | None = None,
    include: Sequence[str | Path] = (),
    limits: Limits | None = None,
    **settings: Setting,
) -> Graph:
    """The graph of a `.seg` file or a stock spec, parsed, elaborated.

    With every shape and check proved.

    Args:
        path: a file, or the name of a stock spec (`deeplabv3`).
        net: which net, where the file has several.
        include: more folders that imports may read from.
        limits: caps on the size of the program.
        settings: values for the net's parameters.

    Raises:
        SegError: anything is wrong; it holds every diagnostic.
    """
    return _graph(examine(path, net=net, include=include, limits=limits, settings=settings))


def parse(
    text: str,
    *,
    name: str = "<text>",
    net: str | None = None,
    limits: Limits | None = None,
    **settings: Setting,
) -> Graph:
    """The same from a text. It can import from `std` only.

    Raises:
        SegError: anything is wrong.
    """
    return _graph(
        examine_source(Source(name, text), None, net=net, limits=limits, settings=settings)
    )


def check(
    path: str | Path,
    *,
    net: str | None = None,
    include: Sequence[str | Path] = (),
    limits: Limits | None = None,
    **settings: Setting,
) -> tuple[Diagnostic, ...]:
    """Every error and warning of a program, lints included.

    Never raises for a bad one. Without `net`, all nets are checked.
    """
    return examine(
        path, net=net, include=include, limits=limits, settings=settings, every=True, lint=True
    ).diagnostics


def _graph(program: Program) -> Graph:
    if program.failed or program.graph is None:
        raise SegError(*program.diagnostics)
    return program.graph


def examine(
    path: str | Path,
    *,
    net: str | None = None,
    include: Sequence[str | Path] = (),
    limits: Limits | None = None,
    settings: Mapping[str, Setting] | None = None,
    every: bool = False,
    lint: bool = False,
    size: tuple[int, int] | None = None,
) -> Program:
    """What `load` and `check` know about a file: graph, accepted sizes, diagnostics.

    Args:
        path: a file, or the name of a stock spec.
        net: which net, where the file has several.
        include: more folders that imports may read from.
        limits: caps on the size of the program.
        settings: values for the net's parameters.
        every: look at all nets unless one was chosen.
        lint: look for what is probably not meant, too (W7xxx).
        size: height and width for lints that speak of one size.
    """
    limits = limits or Limits()
    try:
        file = locate(str(path))
        source = Source(display_name(path, file), read_text(file, limits))
    except SegError as error:
        return Program(None, diagnostics=error.diagnostics)
    return examine_source(
        source,
        file.parent,
        net=net,
        include=include,
        limits=limits,
        settings=settings,
        every=every,
        key=str(file.resolve()),
        lint=lint,
        size=size,
    )


def display_name(path: str | Path, file: Path) -> str:
    """How messages and emitted code call the file: as named, or `specs/` and a stock name."""
    return str(path) if file == Path(path) else f"specs/{file.name}"


def examine_source(
    source: Source,
    folder: Path | None,
    *,
    net: str | None = None,
    include: Sequence[str | Path] = (),
    limits: Limits | None = None,
    settings: Mapping[str, Setting] | None = None,
    every: bool = False,
    key: str = "",
    lint: bool = False,
    size: tuple[int, int] | None = None,
) -> Program:
    """Everything from a text on, however deep the caller stands."""
    return with_room(
        lambda: _examine_source(
            source,
            folder,
            net=net,
            include=include,
            limits=limits or Limits(),
            settings=settings or {},
            every=every,
            key=key,
            lint=lint,
            size=size,
        )
    )


def _examine_source(
    source: Source,
    folder: Path | None,
    *,
    net: str | None,
    include: Sequence[str | Path],
    limits: Limits,
    settings: Mapping[str, Setting],
    every: bool,
    key: str,
    lint: bool,
    size: tuple[int, int] | None,
) -> Program:
    roots = tuple(Path(root) for root in ([folder] if folder else []) + [Path(i) for i in include])
    reader = Reader(roots, limits)
    module = reader.main(source, folder, key or source.name)
    names = survey(module)
    found = [*reader.diagnostics, *names.diagnostics]
    files = own_files(module)
    allows, wrong = _allows(files)
    found += wrong
    try:
        nets = _chosen(module, net, source, every=every)
    except SegError as error:
        return Program(
            None, diagnostics=_sorted([*found, *(error.diagnostics if not _errors(found) else ())])
        )
    large = bounds(files, nets, settings, limits)
    found += large.diagnostics
    unfit = names.unfit | large.unfit
    fit = [item for item in nets if item.name.name not in unfit]
    search = _Lint(files, size) if lint else None
    programs = [_examine_net(module, item, settings, limits, found, search) for item in fit]
    everything = [*found, *(d for p in programs for d in p.diagnostics)]
    everything = _without_echoes(everything, reader.diagnostics)
    whole = len(nets) == len(module.nets) and not settings
    reached = {name for p in programs for name in _blocks(p.graph)}
    everything = _allowed(everything, allows, search, reached, whole=whole)
    last = programs[0] if programs else Program(None)
    return Program(last.graph, last.accepted, _sorted(everything), last.unchecked)


def _chosen(module: Module, net: str | None, source: Source, *, every: bool) -> list[syntax.Net]:
    nets = module.nets
    if net is not None:
        if net not in nets:
            guess = nearest(net, list(nets))
            helps = text_helps(f"did you mean `{guess}`?") if guess else ()
            message = f"{source.name} has no net `{net}`; it has {', '.join(nets) or 'none'}"
            raise SegError(Diagnostic("E0102", message, None, helps=helps))
        return [nets[net]]
    if every:
        return list(nets.values())
    if not nets:
        raise SegError(Diagnostic("E4001", f"{source.name} defines no net", None))
    if len(nets) > 1:
        words = " and ".join(f"`{name}`" for name in nets)
        message = f"this file has {len(nets)} nets: {words}"
        helps = text_helps(f"--net {next(iter(nets))}")
        span = next(iter(nets.values())).name.span
        raise SegError(Diagnostic("E0102", message, span, helps=helps))
    return list(nets.values())


@dataclass(frozen=True)
class _Lint:
    """What lints are looked for in: the user's own files, and perhaps one size."""

    files: Sequence[Module]
    size: tuple[int, int] | None


def _allows(files: Sequence[Module]) -> tuple[list[Allow], list[Diagnostic]]:
    """The comments of the user's files that silence lints, and those that are wrong."""
    read = [read_allows(file.tree.source) for file in files]
    return [a for own, _ in read for a in own], [d for _, wrong in read for d in wrong]


def _allowed(
    diagnostics: Sequence[Diagnostic],
    allows: Sequence[Allow],
    search: _Lint | None,
    reached: Collection[str],
    *,
    whole: bool,
) -> list[Diagnostic]:
    """Add the lints of the texts, and leave out what a comment allows.

    A comment that silences nothing is told of where every lint was looked for: in a program without
    errors, `whole` with all its nets as they stand in the text, in the blocks that these `reached`.
    """
    lints: Iterable[Diagnostic] = ()
    if search is not None and not _errors(diagnostics):
        from segdsl.lints.run import lint_texts  # only `check` waits for it

        lints = lint_texts(search.files)
    kept, used = without_allowed([*diagnostics, *lints], allows)
    if search is None or not whole or _errors(diagnostics):
        return kept
    judged = frozenset(LINTS) - ({"W7003"} if search.size is None else {"W7009"})
    return kept + idle(awake(allows, search.files[0].tree, reached), used, judged)


def _blocks(graph: Graph | None) -> set[str]:
    """The names of the blocks that a net is made of."""
    scopes = (node.scope for node in graph.nodes()) if graph is not None else ()
    return {step.block for scope in scopes for step in scope if isinstance(step, Instance)}


def _examine_net(
    module: Module,
    net: syntax.Net,
    settings: Mapping[str, Setting],
    limits: Limits,
    found: Sequence[Diagnostic],
    search: _Lint | None,
) -> Program:
    program: Elaboration = elaborate(module, net, settings, limits)
    known = {d.span for d in _errors(found)}
    diagnostics = [d for d in program.diagnostics if d.span not in known]
    proof = prove(program, net)
    diagnostics = _without_joins([*diagnostics, *proof.diagnostics])
    if not _errors([*diagnostics, *found]):
        table = cache(lambda: reach(program.graph, accepted=proof.accepted))
        diagnostics += run_checks(program, proof.accepted, table)
        if search is not None and not _errors(diagnostics):
            diagnostics += _lints(program, net, proof.accepted, table, search)
    return Program(program.graph, proof.accepted, tuple(diagnostics), program.unchecked)


def _without_joins(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Leave out the joins of blocks whose ports were given other sizes than they declare."""
    wrong = [d.stack for d in diagnostics if d.code == "E3010" and d.stack]
    return [
        d
        for d in diagnostics
        if d.code != "E3004" or not any(d.stack[: len(stack)] == stack for stack in wrong)
    ]


def _lints(
    program: Elaboration,
    net: syntax.Net,
    accepted: Mapping[str, SizeSet],
    table: Callable[[], Reach],
    search: _Lint,
) -> list[Diagnostic]:
    """The lints of one net, at a size where one is asked about."""
    from segdsl.lints.run import lint_net

    at = None
    try:
        if search.size is not None:
            known = input_sizes(program.graph, accepted, search.size, 1)
            at = {symbol: n for symbol, n in known.items() if symbol != "N"}
        elif not set(accepted) - {"N"}:  # the text itself asks about one size
            at = {}
        fields = table() if at is None else reach(program.graph, at=at, accepted=accepted)
    except SegError as error:
        return list(error.diagnostics)
    except ReachError:  # no input is a map: there are no fields to look at
        fields = None
    return list(lint_net(program, net, search.files, accepted, fields, at))


def _without_echoes(
    diagnostics: Sequence[Diagnostic], read: Sequence[Diagnostic]
) -> list[Diagnostic]:
    """Leave out what is only wrong because the line could not be read whole."""
    lines = {(d.span.source, d.span.line) for d in read if d.span and d.code.startswith("E00")}
    kept = set(map(id, read))
    return [
        d
        for d in diagnostics
        if id(d) in kept or d.span is None or (d.span.source, d.span.line) not in lines
    ]


def _errors(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    return [d for d in diagnostics if d.severity is Severity.ERROR]


def _sorted(diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In source order, each once."""
    unique = dict.fromkeys(diagnostics)
    return tuple(
        sorted(
            unique,
            key=lambda d: (
                d.span is not None,
                d.span.source.name if d.span else "",
                d.span.start if d.span else 0,
                d.code,
            ),
        )
    )
