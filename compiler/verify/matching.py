"""Which of their inputs and outputs is which of ours: by name, then by shape or order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.spelling import nearest

Dim = int | None
"""A number, or None for a size that is free or unknown."""


@dataclass(frozen=True)
class Port:
    """An input or output: its name, shape and element type (numpy's word)."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str

    def __str__(self) -> str:
        return f"`{self.name}` {self.dtype}[{', '.join(_dim(n) for n in self.shape)}]"


def _dim(size: Dim) -> str:
    return "?" if size is None else str(size)


def match_inputs(
    ours: Sequence[Port], theirs: Sequence[Port], renames: Mapping[str, str], whose: str
) -> dict[str, Port]:
    """Their input for each of ours.

    An input goes to the one that `renames` names, else to that of the same name, else to the only
    one left that its shape and type fit.

    Raises:
        SegError: a rename names nothing, inputs are left over on either
            side, shapes do not fit (E6024), or element types differ (E6025).
    """
    found = _renamed(ours, theirs, renames, whose, "input")
    by_name = {port.name: port for port in theirs}
    for port in ours:
        taken = set(found.values())
        same = by_name.get(port.name)
        if port.name not in found and same is not None and same not in taken:
            found[port.name] = same
    for port in ours:
        left = [other for other in theirs if other not in found.values()]
        fits = [other for other in left if _fits(port, other)]
        if port.name not in found and len(fits) == 1:
            found[port.name] = fits[0]
    _check_all(ours, theirs, found, whose)
    for port in ours:
        _check_fit(port, found[port.name], whose)
    return found


def match_outputs(
    ours: Sequence[str], theirs: Sequence[str], renames: Mapping[str, str], whose: str
) -> dict[str, str]:
    """Their output for each of ours: as renamed, by name if all names are there, else by order.

    Further outputs of theirs are not compared, if names decide.

    Raises:
        SegError: neither names nor the number of outputs are equal (E6026).
    """
    _check_names(ours, theirs, renames, whose, "output", "E6026")
    if all(renames.get(name, name) in theirs for name in ours):
        return {name: renames.get(name, name) for name in ours}
    if len(ours) == len(theirs) and not renames:
        return dict(zip(ours, theirs, strict=True))
    message = f"the outputs of {whose} are not those of the network"
    notes = (f"the network gives {_listed(ours)}", f"{whose} gives {_listed(theirs)}")
    helps = text_helps("say which is which: `--output OURS=THEIRS`")
    raise SegError(Diagnostic("E6026", message, None, notes=notes, helps=helps))


def _renamed(
    ours: Sequence[Port],
    theirs: Sequence[Port],
    renames: Mapping[str, str],
    whose: str,
    kind: str,
) -> dict[str, Port]:
    mine, others = [p.name for p in ours], {p.name: p for p in theirs}
    _check_names(mine, list(others), renames, whose, kind, "E6024")
    return {name: others[other] for name, other in renames.items()}


def _check_names(
    ours: Sequence[str],
    theirs: Sequence[str],
    renames: Mapping[str, str],
    whose: str,
    kind: str,
    code: str,
) -> None:
    twice = next((n for n in renames.values() if list(renames.values()).count(n) > 1), None)
    if twice is not None:
        raise SegError(Diagnostic(code, f"`--{kind}` gives `{twice}` to two {kind}s", None))
    for left, right in renames.items():
        for name, known, owner in ((left, ours, "the network"), (right, theirs, whose)):
            if name not in known:
                near = nearest(name, known)
                help = f"did you mean `{near}`?" if near else f"it has {_listed(known)}"
                message = f"{owner} has no {kind} `{name}`"
                raise SegError(Diagnostic(code, message, None, helps=text_helps(help)))


def _check_all(
    ours: Sequence[Port], theirs: Sequence[Port], found: Mapping[str, Port], whose: str
) -> None:
    open_ = [port for port in ours if port.name not in found]
    left = [port for port in theirs if port not in found.values()]
    if not open_ and not left:
        return
    message = f"the inputs of {whose} are not those of the network"
    notes = (f"the network takes {_listed(ours)}", f"{whose} takes {_listed(theirs)}")
    helps = text_helps("say which is which: `--input OURS=THEIRS`") if open_ and left else ()
    raise SegError(Diagnostic("E6024", message, None, notes=notes, helps=helps))


def _check_fit(ours: Port, theirs: Port, whose: str) -> None:
    if not _same_shape(ours, theirs):
        message = f"input `{theirs.name}` of {whose} has another shape than ours"
        notes = (f"ours: {ours}", f"theirs: {theirs}")
        raise SegError(Diagnostic("E6024", message, None, notes=notes))
    if ours.dtype != theirs.dtype:
        message = f"input `{theirs.name}` of {whose} holds {theirs.dtype}, ours {ours.dtype}"
        helps = text_helps("write the file with the network's own inputs, its insides in any type")
        raise SegError(Diagnostic("E6025", message, None, helps=helps))


def _fits(ours: Port, theirs: Port) -> bool:
    return ours.dtype == theirs.dtype and _same_shape(ours, theirs)


def _same_shape(ours: Port, theirs: Port) -> bool:
    if len(ours.shape) != len(theirs.shape):
        return False
    pairs = zip(ours.shape, theirs.shape, strict=True)
    return all(a is None or b is None or a == b for a, b in pairs)


def _listed(names: Sequence[object]) -> str:
    texts = [str(n) if isinstance(n, Port) else f"`{n}`" for n in names]
    return ", ".join(texts) or "none"
