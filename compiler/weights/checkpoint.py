"""Reading torch checkpoints, inside the child process of `isolated`; torch enters only here.

`torch.load` runs with `weights_only=True` and no way around it. Tensors are described first; the
parent compares the description with the network and asks for the ones it wants, which are written
as safetensors. Nothing is copied before that.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compiler.weights.files import MAX_TENSORS, shown, write_safetensors
from segdsl.diagnostics import SegError

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict", "model", "model_state", "model_ema")
"""Entries that hold the state_dict of a larger checkpoint; the first that is there is opened."""

MAX_LEVELS = 3
MAX_NAME = 512
OLDEST_TORCH = (2, 10)
"""CVE-2025-32434 and CVE-2026-24747 lie in `weights_only` of older releases."""

RESAVE = "save it again with `torch.save(model.state_dict(), path)`, or as safetensors"


class RefusedError(Exception):
    """The checkpoint cannot be used; the text is for the user."""

    def __init__(self, problem: str, *helps: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.helps = helps


@dataclass
class Contents:
    """What a checkpoint holds: tensors by name, wrappers opened, entries that are no tensors."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def serve(
    path: str, identity: tuple[int, int], legacy: bool, requests: IO[str], replies: IO[str]
) -> None:
    """Describe the checkpoint, then write the tensors that are asked for: one JSON line each way.

    `identity` is the device and inode of the file that the parent has checked.
    """
    try:
        contents = _load(path, identity, legacy)
        _reply(replies, _description(contents))
        line = requests.readline()
        if line:
            request = json.loads(line)
            wanted = [array_of(contents.tensors[name]) for name in request["names"]]
            # Numbered: the names are the file's own and need not be writable ones.
            write_safetensors(request["to"], {str(i): array for i, array in enumerate(wanted)})
            _reply(replies, {"done": True})
    except RefusedError as error:
        _reply(replies, {"refused": error.problem, "helps": error.helps})
    except MemoryError:
        _reply(replies, {"refused": "it asks for more memory than a file of its size can need"})
    except (SegError, OSError):
        _reply(replies, {"refused": "its tensors cannot be copied to the temporary folder"})


def _reply(replies: IO[str], message: Mapping[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _load(path: str, identity: tuple[int, int], legacy: bool) -> Contents:
    try:
        import torch
    except ImportError:
        raise RefusedError(
            "a torch checkpoint needs torch, which is not installed here",
            "pip install 'segdsl[torch]', or convert the file to safetensors elsewhere",
        ) from None
    release = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
    if release < OLDEST_TORCH:
        problem = f"torch {torch.__version__} cannot read checkpoints safely"
        raise RefusedError(problem, "install torch 2.11 or later")
    state = os.stat(path)
    if (state.st_dev, state.st_ino) != identity:
        raise RefusedError("it was exchanged while it was being read")
    _limit(state.st_size)
    return contents_of(unpickled(path, legacy))


def _limit(size: int) -> None:
    """Bound the processor time, and the memory to what a file of this size can need."""
    if sys.platform != "linux":
        return
    import resource

    seconds = 120 + size // 10_000_000
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # Not RLIMIT_AS: torch reserves address space. RLIMIT_DATA counts what can be written.
    with open("/proc/self/status", encoding="ascii") as status:
        now = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    budget = now * 1024 + 2 * size + (1 << 30)
    resource.setrlimit(resource.RLIMIT_DATA, (budget, budget))


def unpickled(path: str, legacy: bool) -> object:
    """What torch reads from a checkpoint; everything that it can raise is a refusal.

    Raises:
        RefusedError: torch refuses it.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=not legacy)
    except pickle.UnpicklingError as error:
        raise _refused_pickle(str(error)) from None
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            problem = "it asks for more memory than a file of its size can need"
            raise RefusedError(problem) from None
        raise RefusedError("it is damaged or cut short", RESAVE) from None
    except Exception:
        # A hostile pickle can raise anything; nothing of it may reach a user.
        raise RefusedError("it is damaged or no torch checkpoint", RESAVE) from None


def _refused_pickle(text: str) -> RefusedError:
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", text)
    if found is None:
        return RefusedError("its pickle uses instructions that plain tensors do not need", RESAVE)
    name = shown(found[1])
    return RefusedError(
        f"it is a pickle that calls `{name}`; only plain tensors are read, and no code was run",
        f"if you trust the file: {RESAVE}",
    )


def contents_of(loaded: object) -> Contents:
    """Find the state_dict in what torch read: itself, or inside at most three known wrappers.

    Raises:
        RefusedError: there is none, or a tensor is not what its bytes are.
    """
    import torch

    contents = Contents()
    level = loaded
    while isinstance(level, dict):
        wrapper = _wrapper(level)
        if wrapper is None:
            break
        if len(contents.opened) == MAX_LEVELS:
            raise RefusedError(f"its wrappers are nested deeper than {MAX_LEVELS} levels", RESAVE)
        contents.ignored += [(str(key), _kind(level[key])) for key in level if key != wrapper]
        contents.opened.append(wrapper)
        level = level[wrapper]
    if not isinstance(level, dict):
        raise RefusedError(f"it holds {_kind(level)}, not a table of tensors", RESAVE)
    if len(level) > MAX_TENSORS:
        raise RefusedError(f"it has {len(level):,} entries, the limit is {MAX_TENSORS:,}")
    for key, value in level.items():
        reason = _kind(value) if not isinstance(value, torch.Tensor) else _unread(key, value)
        if reason:
            contents.ignored.append((str(key), reason))
        else:
            contents.tensors[key] = value
    if not contents.tensors:
        names = ", ".join(f"`{shown(name, 40)}`" for name, _ in contents.ignored[:8])
        raise RefusedError(f"it holds no tensors by name, only {names or 'an empty table'}", RESAVE)
    return contents


def _wrapper(level: dict[Any, Any]) -> str | None:
    """The wrapper to open next; a table that has tensors itself is the state_dict."""
    import torch

    if any(isinstance(value, torch.Tensor) for value in level.values()):
        return None
    return next((name for name in WRAPPERS if isinstance(level.get(name), dict)), None)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return f"a table of {len(value)} entries"
    return f"a {type(value).__name__}"


def _unread(key: object, tensor: torch.Tensor) -> str:
    """Why a tensor is left aside (empty: it is read); refuses one whose elements share bytes."""
    import torch

    if not isinstance(key, str) or not 0 < len(key) <= MAX_NAME:
        return "a tensor without a proper name"
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.dtype not in _names():
        return f"a tensor of kind {tensor.dtype}, {tensor.layout}"
    if tensor.device.type != "cpu" or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__} on {tensor.device.type}"
    if not _elements_are_distinct(tensor):
        shape, size = list(tensor.shape), tensor.untyped_storage().nbytes()
        raise RefusedError(
            f"`{shown(key)}` claims shape {shown(shape)}, but its elements share the same "
            f"{size:,} bytes",
            "save it with `.contiguous()` if it is meant so",
        )
    return ""


def _elements_are_distinct(tensor: torch.Tensor) -> bool:
    """No element is stored twice, and all lie in the storage; any order of the axes will do."""
    if tensor.numel() == 0:
        return True
    span = 1
    axes = [
        (step, size) for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1
    ]
    for step, size in sorted(axes):
        if step < span:
            return False
        span += step * (size - 1)
    end = (tensor.storage_offset() + span) * tensor.element_size()
    return end <= tensor.untyped_storage().nbytes()


def _names() -> dict[torch.dtype, str]:
    import torch

    return {
        torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16",
        torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32",
        torch.float32: "F32", torch.float64: "F64", torch.int64: "I64",
    }  # fmt: skip


def _description(contents: Contents) -> dict[str, Any]:
    names = _names()
    table = [[n, names[t.dtype], list(t.shape)] for n, t in contents.tensors.items()]
    return {"table": table, "opened": contents.opened, "ignored": contents.ignored}


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as an array, a view where it can be; bfloat16 is widened to fp32, which is exact."""
    import torch

    plain = tensor.detach().contiguous()
    if plain.dtype is torch.bfloat16:
        words = plain.view(torch.int16).numpy().view(np.uint16)
        return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(plain.numpy())


def main(arguments: list[str]) -> None:
    """The child process; arguments: path, device, inode, and `legacy` for a bare pickle."""
    path, device, inode, legacy = arguments
    # Whatever a library prints must not mix with the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(path, (int(device), int(inode)), legacy == "legacy", sys.stdin, replies)
