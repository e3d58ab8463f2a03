"""Programs as deep as the limits allow, from callers that stand deep themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from segdsl.fmt import format_source
from segdsl.program import Program, examine_source, parse
from segdsl.reach_report.collect import analyse, reach_report
from segdsl.reach_report.stages import stages
from segdsl.report import summary
from segdsl.source import Source
from segdsl.stack import SHALLOW, on_fresh_stack, with_room

T = TypeVar("T")
PORTS = "(x: f32[N, C, H, W]) -> (y: f32[N, C, H, W])"


def nested(count: int, body: str) -> str:
    """`count` blocks, each an instance inside the one before; `F` in the body is the next one."""
    blocks = [
        f"block B{i}{PORTS} {{\n{body.replace('F', f'B{i + 1}')}\n}}" for i in range(count - 1)
    ]
    blocks.append(f"block B{count - 1}{PORTS} {{\n  y = x -> relu\n}}")
    net = "net A() {\n  input image: f32[N, 3, H, W]\n  y = image -> B0\n  output o = y\n}\n"
    return "\n".join(["seg 1", *blocks, net])


def examined(text: str) -> Program:
    return examine_source(Source("deep.seg", text), None, every=True, lint=True)


def found(text: str) -> list[tuple[str, str]]:
    return [(d.code, d.message) for d in examined(text).diagnostics if d.code[0] == "E"]


def frames() -> int:
    depth = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def from_deep(call: Callable[[], T], depth: int = 960) -> T:
    """What a caller gets that has used up nearly all of its stack."""
    return call() if frames() >= depth else from_deep(call, depth)


def from_thread(call: Callable[[], T]) -> T:
    answer: list[T] = []
    thread = threading.Thread(target=lambda: answer.append(from_deep(call)))
    thread.start()
    thread.join()
    return answer[0]


def from_here(call: Callable[[], T]) -> T:
    return call()


CALLERS = {"here": from_here, "deep": from_deep, "thread": from_thread}

BODIES = {
    "pipe": "  y = x -> F @.",
    "call": "  y = F(x)",
    "list": "  y = concat([F(x) @.])",
    "if": "  if C > 0 {\n    if C > 1 { y = x -> F } else { y = x }\n  } else { y = x }",
    "for": "  var t = [x]\n  for i in [1] { t += [x -> F @.] }\n  y = t[1]",
    "each": "  t = [for i in [1]: for j in [1]: if i == j: x -> F @.]\n  y = t[0]",
    "repeat": "  y = x -> repeat 1 { relu -> F @. }",
    "sums": "  y = x + (x + (x + (x -> F @.)))",
    "layer": "  layer f = F\n  y = f(x)",
}


@pytest.mark.parametrize("body", BODIES)
def test_block_instances(body: str) -> None:
    limit = sys.getrecursionlimit()
    assert found(nested(128, BODIES[body])) == []
    words = "blocks stand inside one another more than 128 levels deep"
    assert found(nested(129, BODIES[body])) == [("E0021", words)]
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("body", ["pipe", "each"])
def test_block_instances_from_anywhere(body: str, caller: str) -> None:
    assert CALLERS[caller](lambda: found(nested(128, BODIES[body]))) == []
    assert [c for c, _ in CALLERS[caller](lambda: found(nested(129, BODIES[body])))] == ["E0021"]


def test_reports_of_deep_instances() -> None:
    graph = parse(nested(128, BODIES["if"]))
    table = summary(graph)
    assert table.rows
    known = analyse(graph, examined(nested(128, BODIES["if"])).accepted)
    assert reach_report(known, stages(graph)).stages


def net(*lines: str, before: str = "") -> str:
    body = "".join(f"  {line}\n" for line in lines)
    image = "  input image: f32[N, 3, H, W]\n"
    return f"seg 1\n{before}net A() {{\n{image}{body}  output o = image -> relu\n}}\n"


NESTS = {
    "parentheses": lambda n: net(f"a = {'(' * n}1{')' * n}"),
    "lists": lambda n: net(f"a = {'[' * n}1{']' * n}"),
    "calls": lambda n: net(f"a = {'max(1, ' * n}2{')' * n}"),
    "indices": lambda n: net("b = [0]", f"a = {'b[' * n}0{']' * n}"),
    "minus": lambda n: net(f"a = {'-' * (n + 1)}1"),
    "not": lambda n: net(f"a = {'not ' * (n + 1)}true"),
    "power": lambda n: net(f"a = {'1 ** ' * (n + 1)}1"),
    "choice": lambda n: net(f"a = {'1 if true else ' * (n + 1)}2"),
    "each": lambda n: net(f"a = [{''.join(f'for i{k} in [1]: ' for k in range(n - 1))}1]"),
    "when": lambda n: net(f"a = [{'if true: ' * n}1]"),
    "maps": lambda n: net(f"a = {'relu(' * n}image{')' * n}"),
    "maps in lists": lambda n: net(f"a = {'concat([' * (n // 2)}image{'])' * (n // 2)}"),
    "statements": lambda n: net("if true { " * n + "a = 1" + " }" * n),
    "repeats": lambda n: net(f"a = image -> {'repeat 1 { ' * n}relu{' }' * n}"),
    "shapes": lambda n: net(f"b: f32[N, {'(' * (n - 1)}3{')' * (n - 1)}, H, W] = image"),
    "sizes": lambda n: net(f"b: f32[N, 3, {'(' * (n - 1)}H{')' * (n - 1)}, W] = image"),
    "checks": lambda n: net(f"check {'(' * n}1{')' * n} == 1"),
    "paths": lambda n: net(f"a = image -> conv(3, 1) @a{{{'(' * (n - 1)}1{')' * (n - 1)}}}"),
    "constants": lambda n: net(before=f"const B = {'[' * (n + 1)}1{']' * (n + 1)}\n"),
}
"""Texts with `n` brackets inside the braces of a net, which count too."""


@pytest.mark.parametrize("nest", NESTS)
def test_nesting_is_evaluated(nest: str) -> None:
    assert from_deep(lambda: found(NESTS[nest](127))) == []
    assert [c for c, _ in found(NESTS[nest](128))] == ["E0021"]


@pytest.mark.parametrize("nest", NESTS)
def test_nesting_is_formatted(nest: str) -> None:
    source = Source("deep.seg", NESTS[nest](127))
    assert from_deep(lambda: format_source(source)) == format_source(source)


def test_both_together() -> None:
    """128 instances, each within an expression: as deep as evaluation may go, and deeper."""
    body = "  y = {}x -> F @.{}"
    assert found(nested(128, body.format("(" * 6, ")" * 6))) == []
    lists = body.format("[" * 60, "]" * 60) + "[0]" * 60
    assert {c for c, _ in found(nested(128, lists))} == {"E0021"}


def test_a_fresh_stack_starts_empty() -> None:
    assert frames() >= 10
    assert on_fresh_stack(frames) < 10
    assert with_room(frames) > 10
    assert from_deep(lambda: with_room(frames), SHALLOW + 5) < 10


def test_a_fresh_stack_passes_errors_on() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        on_fresh_stack(fail)


def test_without_threads_it_runs_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert on_fresh_stack(lambda: 3) == 3
    assert found(nested(20, BODIES["pipe"])) == []


@pytest.mark.parametrize("body", ["pipe", "each", "if"])
def test_without_threads_what_is_too_deep_is_told_of(
    monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ((code, message),) = found(nested(128, BODIES[body]))
    assert (code, "no thread for another" in message) == ("E0021", True)
