"""Which calls run a kernel of ours: those that were measured to win, unless a policy says else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import torch
import triton

POLICIES = ("measured", "all", "none")
"""`measured`: only where the table shows a gain on this very key. `all`: wherever a kernel can
take the operands, for tests and benchmarks. `none`: never."""

GAIN = 1.03
"""A kernel is selected from this ratio to the best baseline on."""

TABLE = Path(__file__).with_name("h200.json")

_policy: ContextVar[str] = ContextVar("segdsl_kernels", default="measured")
_seen: ContextVar[dict[str, str] | None] = ContextVar("segdsl_routes", default=None)
_refused: ContextVar[dict[str, int] | None] = ContextVar("segdsl_refusals", default=None)


@cache
def measured() -> dict[str, str]:
    """The winning configuration of every key that was measured, by key.

    On another GPU than the table's, or with another triton, nothing was.
    """
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    if torch.cuda.is_available() and torch.cuda.get_device_name() != table["device"]:
        return {}
    return {
        entry["key"]: entry["config"]
        for entry in table["entries"]
        if entry["correct"] and entry["speedup"] >= GAIN and _same_triton(entry["triton"])
    }


def _same_triton(version: str) -> bool:
    """Whether a version has the compiler of the one that is installed."""
    return list(version.split(".")[:2]) == str(triton.__version__).split(".")[:2]


def active() -> str:
    """The policy in force."""
    return _policy.get()


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Route by another policy inside the block.

    Raises:
        ValueError: there is no such policy.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}: {', '.join(POLICIES)}")
    token = _policy.set(name)
    try:
        yield
    finally:
        _policy.reset(token)


@contextmanager
def recorded() -> Iterator[dict[str, str]]:
    """Notes every route taken inside the block: key to the configuration, or "library"."""
    routes: dict[str, str] = {}
    token = _seen.set(routes)
    try:
        yield routes
    finally:
        _seen.reset(token)


@contextmanager
def refusals() -> Iterator[dict[str, int]]:
    """Counts the calls inside the block that a kernel cannot take, by `kernel: reason`."""
    found: dict[str, int] = {}
    token = _refused.set(found)
    try:
        yield found
    finally:
        _refused.reset(token)


def accepts(kernel: str, reason: str) -> bool:
    """Whether a kernel takes a call: it has no reason against it."""
    found = _refused.get()
    if reason and found is not None:
        found[f"{kernel}: {reason}"] = found.get(f"{kernel}: {reason}", 0) + 1
    return not reason


def chosen(key: str, default: str) -> str | None:
    """The configuration to launch for a key; None sends the call to the library."""
    name = {"measured": measured().get(key), "all": measured().get(key, default), "none": None}[
        _policy.get()
    ]
    routes = _seen.get()
    if routes is not None:
        routes[key] = name or "library"
    return name
