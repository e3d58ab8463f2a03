"""The folder that `compile --target triton` writes: module, kernels, weights and plan.

It needs torch and triton only. The kernels are the files of `compiler.to_triton.kernels`, copied
as they are, so what runs there is what is tested here.
"""

from __future__ import annotations

import ast
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from unicodedata import normalize

from compiler.files import sync_folder
from compiler.to_torch.emit import emit, net_class
from compiler.to_triton.plan import Plan
from compiler.to_triton.prepare import IN_FOLDER, Prepared, runtime
from compiler.together import exchanged, locked
from compiler.weights.files import safetensors_pieces
from segdsl.diagnostics import Diagnostic, SegError, text_helps

MARK = "plan.json"
"""The file by which a folder of ours is known: nothing else is ever replaced."""

INIT = '''"""{net}: written by segdsl, for torch and triton.

    from {folder} import load

    net = load().cuda()
    scores = net(image)
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch

from .kernels.router import policy
from .model import {bound}

WEIGHTS = Path(__file__).with_name("weights.safetensors")

DTYPES = {{"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}}


def read_weights(path: str | Path = WEIGHTS) -> dict[str, torch.Tensor]:
    """The arrays of a .safetensors file by name."""
    if sys.byteorder != "little":
        raise RuntimeError("weights are read on little-endian machines only")
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {{}}
    for name, entry in header.items():
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        count, offset = math.prod(shape), start + entry["data_offsets"][0]
        flat = torch.frombuffer(data, dtype=dtype, count=count, offset=offset) if count else (
            torch.empty(0, dtype=dtype)
        )
        arrays[name] = flat.reshape(shape).clone()
    return arrays


def load(path: str | Path = WEIGHTS) -> {net}:
    """The network with its weights, on the CPU and in evaluation mode."""
    with torch.device("meta"):
        net = {net}()
    net.load_state_dict(read_weights(path), assign=True)
    return net.eval().requires_grad_(False)


__all__ = ["{net}", "load", "policy", "read_weights"]
'''


def _bound_here() -> frozenset[str]:
    """Names that a package of this text uses for itself, its modules among them."""
    tree = ast.parse(INIT.format(net="Net", bound="Net", folder="folder"))
    found = {"model", "kernels"}
    for node in ast.walk(tree):
        match node:
            case ast.Name(name) | ast.arg(name) | ast.FunctionDef(name) | ast.alias(name):
                found.add(name)
    return frozenset(found - {"Net"})


def init_text(net: str, folder: str) -> str:
    """The `__init__.py` of a folder; a network whose name it needs itself gets an underscore."""
    taken, shown = _bound_here(), net
    while shown in taken:
        shown += "_"
    bound = net if shown == net else f"{net} as {shown}"
    return INIT.format(net=shown, bound=bound, folder=folder)


def write_folder(path: str | Path, ready: Prepared, plan: Plan, accepts: Sequence[str]) -> None:
    """Write the folder whole or not at all; one that this wrote before is replaced.

    Everything is on the disk under a hidden name before the folders change places, in one step
    where the system can: a process that imports it sees the old folder or the new one.

    Raises:
        SegError: E0106, the path cannot be written, or something else is there.
    """
    target = Path(os.path.realpath(path))
    _refuse(path, target)
    try:
        building = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    try:
        _fill(building, target.name, ready, plan, accepts)
        building.chmod(0o755)
        _flush(building)
        with locked(target.parent):
            _swap(building, target)
            sync_folder(target.parent)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_folder(path: str | Path) -> None:
    """Refuse, before any work is done, a path that must not or cannot become the folder.

    Raises:
        SegError: E0106, something else is there, or the place cannot be written.
    """
    target = Path(os.path.realpath(path))
    _refuse(path, target)
    if not target.parent.is_dir():
        raise _unwritable(path, f"there is no folder `{target.parent}`")
    if not os.access(target.parent, os.W_OK):
        raise _unwritable(path, f"`{target.parent}` cannot be written")


def _refuse(path: str | Path, target: Path) -> None:
    if not _importable(target.name):
        message = f"`{target.name}` cannot be imported: the folder is a Python package"
        helps = text_helps("letters, digits and `_`, not beginning with a digit; no Python keyword")
        raise SegError(Diagnostic("E0106", message, None, helps=helps))
    if not os.path.lexists(target):
        return
    empty = target.is_dir() and not any(target.iterdir())
    if not empty and not (target / MARK).is_file():
        raise _unwritable(path, "it is there, and segdsl did not write it", "name another folder")


def _importable(name: str) -> bool:
    """Whether `import` finds a folder of this name: Python reads identifiers in the form NFKC."""
    return name.isidentifier() and not iskeyword(name) and normalize("NFKC", name) == name


def _fill(folder: Path, name: str, ready: Prepared, plan: Plan, accepts: Sequence[str]) -> None:
    kernels = runtime(ready.graph, IN_FOLDER)
    net = net_class(ready.graph, kernels)
    source = emit(ready.graph, accepts=accepts, runtime=kernels)
    (folder / "model.py").write_text(source, encoding="utf-8", newline="\n")
    text = init_text(net, name)
    (folder / "__init__.py").write_text(text, encoding="utf-8", newline="\n")
    (folder / MARK).write_text(plan.as_json(), encoding="utf-8", newline="\n")
    with open(folder / "weights.safetensors", "wb") as file:
        file.writelines(safetensors_pieces(ready.arrays))
    _copy(files("compiler") / "to_triton" / "kernels", folder / "kernels")


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.name.endswith((".py", ".json")):
            (target / entry.name).write_bytes(entry.read_bytes())


def _flush(folder: Path) -> None:
    """Make every file below a folder survive a power cut."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


def _swap(building: Path, target: Path) -> None:
    """Put the new folder in the place of the old one.

    Where two names cannot be exchanged in one step, the old folder is kept until the new one
    stands; a kill between the two steps then leaves none, which nobody can import.
    """
    if not os.path.lexists(target):
        building.rename(target)
        return
    if exchanged(building, target):
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.old.", dir=target.parent))
    try:
        target.rename(aside / "old")
        try:
            building.rename(target)
        except BaseException:
            (aside / "old").rename(target)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unwritable(path: str | Path, reason: str, *helps: str) -> SegError:
    message = f"`{path}` cannot be written: {reason}"
    return SegError(Diagnostic("E0106", message, None, helps=text_helps(*helps)))
