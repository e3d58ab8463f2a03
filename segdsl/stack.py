"""Recursion whose room does not depend on who calls: it goes on in a thread of its own.

Python allows about 1,000 frames per thread, and that limit is one number for the whole process, so
it is never raised here. A thread begins with an empty stack: a program that nests deeply goes on in
one, as often as it takes, while the thread that asked waits.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")

SHALLOW = 150
"""Frames below which a caller leaves room enough; the deepest walk of a syntax tree takes 600."""


DEEP = 500
"""Frames beyond which an evaluation goes on elsewhere."""

LEVELS = 16
"""Every so many levels it is looked how many frames there are; a level takes at most a dozen."""


class NoRoomError(Exception):
    """This stack is used up, and the system gives no thread for another."""


class _Job(Generic[T]):
    """A call whose outcome another thread waits for."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._context = copy_context()
        self._error: BaseException | None = None
        self._answer: list[T] = []

    def run(self) -> None:
        try:
            self._answer.append(self._context.run(self._call))
        except BaseException as error:
            self._error = error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer[0]


def on_fresh_stack(call: Callable[[], T]) -> T:
    """The result of a call that has a whole stack for itself; what it raises is raised here.

    Where the system gives no more threads, it runs where it is.

    Raises:
        NoRoomError: and the stack ends there.
    """
    job = _Job(call)
    thread = threading.Thread(target=job.run, name="segdsl", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        try:
            return call()
        except RecursionError as error:
            raise NoRoomError from error
    thread.join()
    return job.outcome()


def with_room(call: Callable[[], T]) -> T:
    """The result of a call, in place if the caller stands no deeper than `SHALLOW` frames."""
    return on_fresh_stack(call) if deeper_than(SHALLOW) else call()


def deeper_than(frames: int) -> bool:
    """Whether the stack of this thread has more frames."""
    try:
        sys._getframe(frames)
    except ValueError:
        return False
    return True
