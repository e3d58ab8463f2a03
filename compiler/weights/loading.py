"""Weights from a file, fitted to a network: opened, renamed, compared, and only then read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import IO

import numpy as np

from compiler.weights.files import Entry, SafetensorsFile, StrPath, bad_weights, opened, shown
from compiler.weights.init import NUMPY_TYPES, initialise
from compiler.weights.isolated import CheckpointFile, open_checkpoint
from compiler.weights.keymap import KeyMap, Rule, RuleError
from compiler.weights.mapped import give_back
from compiler.weights.mismatch import (
    Difference,
    Incoming,
    fits,
    is_counter,
    mismatch,
    natural,
    prefix_error,
)
from compiler.weights.table import Array, Weights
from segdsl.diagnostics import Diagnostic, Label, SegError, Severity
from segdsl.source import Span
from segdsl.types import Param


@dataclass(frozen=True)
class LoadReport:
    """What was done with a file: nothing is opened, renamed, converted or left aside in silence.

    Attributes:
        path: the file.
        format: `safetensors` or `torch`.
        opened: wrappers opened inside a torch checkpoint, outermost first.
        ignored: entries that are no usable tensors, with what they are.
        stripped: names that lost the prefix.
        renamed: name in the file and in the network, where they differ by the key map.
        dropped: names that a rule of the key map drops.
        unused_rules: positions (from 1) of rules that were applied to no name.
        extra: allowed names that the network does not have.
        filled: arrays that the file lacks and that got their initial values (allowed, or counters).
        converted: path, element type in the file and in the network, where they differ.
        warnings: arrays that hold NaN or infinities.
    """

    path: str
    format: str
    opened: tuple[str, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    stripped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    unused_rules: tuple[int, ...] = ()
    extra: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    converted: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """Weights that fit the network, and the report on their file."""

    weights: Weights
    report: LoadReport


def load(
    path: StrPath,
    params: Mapping[str, Param],
    *,
    strip_prefix: str | None = None,
    key_map: KeyMap | StrPath | None = None,
    allow_missing: Iterable[str] = (),
    allow_extra: Iterable[str] = (),
    owners: Mapping[str, Span] | None = None,
    seed: int = 0,
) -> Weights:
    """The weights of `load_with_report`, without the report."""
    return load_with_report(
        path,
        params,
        strip_prefix=strip_prefix,
        key_map=key_map,
        allow_missing=allow_missing,
        allow_extra=allow_extra,
        owners=owners,
        seed=seed,
    ).weights


def load_with_report(
    path: StrPath,
    params: Mapping[str, Param],
    *,
    strip_prefix: str | None = None,
    key_map: KeyMap | StrPath | None = None,
    allow_missing: Iterable[str] = (),
    allow_extra: Iterable[str] = (),
    owners: Mapping[str, Span] | None = None,
    seed: int = 0,
) -> Loaded:
    """The arrays of a safetensors file or torch checkpoint for exactly `params`, in their order.

    The format is told by the content. Names first lose `strip_prefix`, then pass the key map.
    Floats of another width are converted, and reported. An array that `allow_missing` (globs over
    paths) excuses gets its initial value from `seed`; one that `allow_extra` excuses is left aside.
    Batch norm's counters may be absent or extra.

    Args:
        path: the file.
        params: the network's arrays, from `segdsl.analysis.params`.
        strip_prefix: text that names lose, as `module.`; other names stay.
        key_map: rules, or the TOML file that holds them.
        allow_missing: globs of paths that the file may lack.
        allow_extra: globs of names, after renaming, that the network need not have.
        owners: where in the program each path stands, for messages.
        seed: for the initial values of missing arrays.

    Raises:
        MismatchError: names, shapes or element types differ; holds them all (E5003).
        SegError: E0101 no such file, E5004 all names carry a prefix, or none carries the one given,
            E5011 not a usable file, E5012 the key map is wrong or does not fit.
    """
    rules = key_map if isinstance(key_map, KeyMap | None) else KeyMap.read(key_map)
    with _source(path) as (kind, source):
        plan = _planned(path, source.table, strip_prefix, rules or KeyMap())
        chosen, extra, absent = _compared(
            path, plan, params, tuple(allow_missing), tuple(allow_extra), owners or {}, strip_prefix
        )
        raw = source.read_all([incoming.name for incoming in chosen.values()])
    fresh = initialise({name: params[name] for name in absent}, seed, owners=owners)
    arrays: dict[str, Array] = {}
    warnings: list[Diagnostic] = []
    for name, param in params.items():
        if name not in chosen:
            arrays[name] = fresh[name]
            continue
        arrays[name] = _fitted(raw.pop(chosen[name].name), chosen[name], param)
        warnings += _not_finite(path, name, arrays[name], (owners or {}).get(name))
        give_back(arrays[name])
    report = LoadReport(
        os.fspath(path),
        kind,
        opened=source.opened if isinstance(source, CheckpointFile) else (),
        ignored=source.ignored if isinstance(source, CheckpointFile) else (),
        stripped=plan.stripped,
        renamed=tuple((i.name, i.target) for i in chosen.values() if i.stripped != i.target),
        dropped=plan.dropped,
        unused_rules=plan.unused_rules,
        extra=extra,
        filled=absent,
        converted=_conversions(chosen, params),
        warnings=tuple(warnings),
    )
    return Loaded(Weights(arrays), report)


@contextmanager
def _source(path: StrPath) -> Iterator[tuple[str, SafetensorsFile | CheckpointFile]]:
    with opened(path) as file:
        kind = kind_of(path, file)
        if kind == "safetensors":
            yield kind, SafetensorsFile(path, file)
        else:
            with open_checkpoint(path, file, legacy=kind == "pickle") as checkpoint:
                yield "torch", checkpoint


_FOREIGN = {
    b"\x89HDF": "it is an HDF5 file (Keras, MATLAB)",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"\x93NUMPY": "it is a single numpy array without names",
    b"\x08": "it looks like an ONNX or protobuf file",
}


def kind_of(path: StrPath, file: IO[bytes]) -> str:
    """`safetensors`, `zip` (torch) or `pickle` (torch before 1.6), by the first bytes."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK"):
        return "zip"
    # Before the pickle: a header of 640 bytes begins as a pickle does, with 0x80 0x02.
    if head[8:9] == b"{" or not head or os.fspath(path).endswith(".safetensors"):
        return "safetensors"
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[257:262] == b"ustar":
        raise bad_weights(
            path,
            "it is a tar archive; torch wrote such files before 2018",
            "load it with the torch of its time and save its state_dict again",
        )
    known = next((text for magic, text in _FOREIGN.items() if head.startswith(magic)), None)
    problem = known or f"it is neither safetensors nor a torch checkpoint ({_looks(head)})"
    raise bad_weights(path, problem, "use a .safetensors file, or a .pt written by torch.save")


def _looks(head: bytes) -> str:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return f"it begins with the bytes {head[:4].hex(' ')}"
    if "\0" in text:
        return f"it begins with the bytes {head[:4].hex(' ')}"
    return f"it begins as text: `{shown(text.splitlines()[0] if text.strip() else '', 40)}`"


@dataclass(frozen=True)
class _Plan:
    incoming: dict[str, Incoming]
    stripped: tuple[str, ...]
    dropped: tuple[str, ...]
    unused_rules: tuple[int, ...]


def _planned(
    path: StrPath, table: Mapping[str, Entry], prefix: str | None, key_map: KeyMap
) -> _Plan:
    """The new name and shape of each tensor of the file."""
    if prefix is not None and not any(_loses(name, prefix) for name in table):
        problem = f"no name of `{shown(os.fspath(path))}` starts with `{shown(prefix)}`"
        example = f"its first name is `{shown(next(iter(table), ''))}`"
        raise SegError(Diagnostic("E5004", problem, None, notes=(example,)))
    plan: dict[str, Incoming] = {}
    stripped: list[str] = []
    dropped: list[str] = []
    used: set[int] = set()
    wrong: list[Diagnostic] = []
    for name, entry in table.items():
        short = name
        if prefix and _loses(name, prefix):
            short = name.removeprefix(prefix)
            stripped.append(name)
        found = key_map.find(short)
        target, rule, shape = short, None, entry.shape
        if found is not None:
            position, rule, bound = found
            used.add(position)
            if rule.drop:
                dropped.append(name)
                continue
            target = rule.rename(bound, short)
            try:
                shape = rule.shape(entry.shape)
                _check_negation(rule, entry)
            except RuleError as error:
                problem = f"rule {position + 1} does not fit `{shown(name)}`: {error}"
                wrong.append(Diagnostic("E5012", problem, None))
        if target in plan:
            problem = f"`{shown(plan[target].name)}` and `{shown(name)}` both become"
            wrong.append(Diagnostic("E5012", f"{problem} `{shown(target)}`", None))
        plan[target] = Incoming(name, short, target, Entry(entry.dtype, shape), rule)
    if wrong:
        raise SegError(*wrong)
    unused = tuple(i + 1 for i in range(len(key_map.rules)) if i not in used)
    return _Plan(plan, tuple(stripped), tuple(dropped), unused)


def _loses(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name != prefix


def _check_negation(rule: Rule, entry: Entry) -> None:
    if rule.negate and entry.dtype[0] not in "FIB":
        raise RuleError(f"`negate` cannot change the sign of {entry.dtype}")
    if rule.negate and entry.dtype == "BOOL":
        raise RuleError("`negate` cannot change the sign of BOOL")


def _compared(
    path: StrPath,
    plan: _Plan,
    params: Mapping[str, Param],
    allow_missing: tuple[str, ...],
    allow_extra: tuple[str, ...],
    owners: Mapping[str, Span],
    strip_prefix: str | None,
) -> tuple[dict[str, Incoming], tuple[str, ...], tuple[str, ...]]:
    """What to read for each path, the extra names allowed, and the paths to fill."""
    chosen: dict[str, Incoming] = {}
    filled: list[str] = []
    differences: list[Difference] = []
    for name, param in params.items():
        incoming = plan.incoming.get(name)
        if incoming is None:
            if is_counter(name) or _allowed(name, allow_missing):
                filled.append(name)
            else:
                differences.append(Difference(name, None, param, "missing"))
        elif (verdict := fits(incoming.entry, param)) is None:
            chosen[name] = incoming
        else:
            differences.append(Difference(name, incoming, param, verdict))
    over = sorted((name for name in plan.incoming if name not in params), key=natural)
    extra = tuple(name for name in over if is_counter(name) or _allowed(name, allow_extra))
    differences += [
        Difference(name, plan.incoming[name], None, "extra") for name in over if name not in extra
    ]
    if differences:
        raise prefix_error(path, plan.incoming, params, strip_prefix or "") or mismatch(
            path, differences, plan.incoming, params, owners, plan.unused_rules
        )
    return chosen, extra, tuple(filled)


def _allowed(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _fitted(array: Array, incoming: Incoming, param: Param) -> Array:
    if incoming.rule is not None:
        array = incoming.rule.apply(array)
    # float64 beyond fp32 becomes infinite: the check for finite values reports it.
    with np.errstate(over="ignore"):
        return array.astype(NUMPY_TYPES[param.dtype], copy=False)


def _conversions(
    chosen: Mapping[str, Incoming], params: Mapping[str, Param]
) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (name, incoming.entry.dtype.lower(), params[name].dtype)
        for name, incoming in chosen.items()
        if incoming.entry.dtype.lower() != params[name].dtype
    )


def _not_finite(path: StrPath, name: str, array: Array, span: Span | None) -> Iterator[Diagnostic]:
    if array.dtype.kind != "f":
        return
    count = array.size - int(np.count_nonzero(np.isfinite(array)))
    if count:
        message = f"`{name}` holds {count:,} values of {array.size:,} that are NaN or infinite"
        where = f"in the file `{shown(os.fspath(path))}`"
        labels = () if span is None else (Label(span, "the weights of this"),)
        yield Diagnostic("W7015", message, None, Severity.WARNING, labels=labels, notes=(where,))
