"""The statements of a `forward`: calls nested while they read well, the writer's names kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.to_torch.body import Body, Bound, Slot, Step
from compiler.to_torch.names import identifier, is_identifier
from segdsl.ir import Value

MAX_DEPTH = 4
MAX_TEXT = 84
GENERIC = ("x", "y", "z")
HEAVY = frozenset({"nn.Conv2d", "nn.ConvTranspose2d", "nn.Linear"})

_HOLE = re.compile(r"\{(\*|args|self|[a-z_]+|\d+)\}")
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True)
class Statement:
    """One statement of a forward: the names it assigns and reads, and its text."""

    targets: tuple[str, ...]
    text: str
    reads: frozenset[str]
    comments: tuple[str, ...] = ()
    train: bool = False
    body: tuple[str, ...] = ()
    """Further lines of a compound statement, indented by one level."""


@dataclass
class _Pending:
    """An expression that has not been written yet: its value is used once."""

    step: Step
    text: str
    depth: int
    reads: frozenset[str]
    mentions: list[Value]
    heavy: bool = False
    """Whether a layer with a weight matrix is inside."""


@dataclass
class Forward:
    """The statements of a forward and what it returns.

    Attributes:
        arguments: its arguments, by input.
        statements: in order.
        results: the expressions of the outputs.
        reads: the names in them.
        comments: what may stand behind the return.
        kinds: the types of the local variables that are no tensors.
    """

    arguments: list[str]
    statements: list[Statement] = field(default_factory=list[Statement])
    results: list[str] = field(default_factory=list[str])
    reads: frozenset[str] = frozenset()
    comments: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])


class ForwardWriter:
    """Writes the forward of one body.

    Args:
        body: the body, its numbers with their text.
        taken: names that no local variable may have.
        comment: the comments that may follow the statement that makes a value.
        nest: whether calls may be nested; flat source has one per statement.
    """

    def __init__(
        self,
        body: Body,
        taken: frozenset[str],
        comment: Callable[[Step, Value], tuple[str, ...]],
        *,
        nest: bool = True,
    ) -> None:
        self._body = body
        self._taken = taken | {"f"} if any(" for f in " in s.call for s in body.steps) else taken
        self._comment = comment
        self._nest = nest
        self._left = self._count()
        self._names: dict[Value, str] = {}
        self._live: dict[str, Value] = {}
        self._atoms: dict[Value, str] = {}
        self._stack: list[_Pending] = []
        self._out: list[Statement] = []
        self._optional: dict[int, str] = {}
        self._given: set[int] = set()
        self._in_training = False
        self._lists: set[str] = set()

    def write(self) -> Forward:
        """The whole forward."""
        arguments = [self._argument(port, value) for port, value in self._body.inputs]
        for i in sorted(self._body.train_outputs):
            self._optional[i] = self._fresh(identifier(self._body.outputs[i][0]))
            self._taken |= {self._optional[i]}
        steps = self._body.steps
        for place, step in enumerate(steps):
            if step.train and not self._in_training:
                self._begin_training()
            self._in_training = step.train
            self._add(step)
            if step.train and not any(later.train for later in steps[place + 1 :]):
                self._flush()
                self._give(made=True)
        forward = self._finish(arguments)
        kinds = dict.fromkeys(self._optional.values(), "Tensor | None")
        kinds.update(dict.fromkeys(self._lists, "list[Tensor]"))
        return replace(forward, kinds=kinds)

    def _begin_training(self) -> None:
        self._flush()
        for i, name in self._optional.items():
            if i not in self._given:
                self._out.append(Statement((name,), f"{name}: Tensor | None = None", frozenset()))

    def _give(self, *, made: bool) -> None:
        """Assign the training outputs: those made in the block of training steps, or the others."""
        for i, name in self._optional.items():
            value = self._body.outputs[i][1]
            if i in self._given or (made and value not in self._names):
                continue
            reads: set[str] = set()
            text = f"{name} = {self._named(value, reads)}"
            if not made and not any(s.text.startswith(f"{name}: ") for s in self._out):
                self._out.append(Statement((name,), f"{name}: Tensor | None = None", frozenset()))
            self._out.append(Statement((name,), text, frozenset(reads), (), True))
            self._release(value)
            self._given.add(i)

    def _count(self) -> dict[Value, int]:
        count: dict[Value, int] = {}
        for step in self._body.steps:
            for value in _mentions(step):
                count[value] = count.get(value, 0) + 1
        for _, value in self._body.outputs:
            count[value] = count.get(value, 0) + 1
        return count

    # -- names

    def _argument(self, port: str, value: Value) -> str:
        name = self._fresh(identifier(port) if port and not port.startswith("__") else "x")
        self._bind(value, name)
        return name

    def _fresh(self, base: str) -> str:
        """`base`, or `base2` and so on while another value lives under it."""
        name, count = base, 1
        while name in self._live or name in self._taken:
            count += 1
            name = f"{base}{count}" if not base.endswith("_") else f"{base}{count}_"
        return name

    def _bind(self, value: Value, name: str) -> None:
        self._names[value] = name
        if self._left.get(value, 0) > 0:
            self._live[name] = value

    def _chosen(self, step: Step, port: int) -> str:
        if step.label and not step.label.startswith("__") and is_identifier(step.label):
            suffix = "" if len(step.writes) == 1 or port == 0 else str(port + 1)
            return self._fresh(identifier(step.label + suffix))
        word = self._word(step, port)
        if word:
            return self._fresh(identifier(word))
        for name in GENERIC:
            if name not in self._live and name not in self._taken:
                return name
        return self._fresh("x")

    def _word(self, step: Step, port: int) -> str:
        """A name for a value that lives longer than to the next call."""
        value = step.writes[port]
        words = [step.ports[port]] if len(step.ports) > 1 and len(step.writes) > 1 else []
        if len(self._body.outputs) > 1:
            words += [name for name, returned in self._body.outputs if returned == value]
        if step.block and step.slot is not None and step.slot.keys and self._left[value] > 1:
            words.append("".join(step.slot.keys[: 1 + step.slot.keys[-1].isdigit()]))
        return next((w for w in words if is_identifier(w) and not w.startswith("__")), "")

    def _release(self, value: Value) -> None:
        self._left[value] -= 1
        if self._left[value] == 0:
            name = self._names.get(value)
            if name is not None and self._live.get(name) == value:
                del self._live[name]

    # -- expressions

    def _add(self, step: Step) -> None:
        if step.atom:
            self._atoms[step.writes[0]] = attribute(step.slot)
            return
        if step.loop:
            self._add_loop(step)
            return
        if step.grows:
            self._add_growth(step)
            return
        inlined = self._operands(step)
        parts = {p.step.writes[0]: p for p in inlined}
        text, depth, reads = self._expression(step, parts)
        if inlined and (depth > MAX_DEPTH or len(text) > MAX_TEXT or self._crowded(step, inlined)):
            self._stack.extend(inlined)
            self._flush()
            inlined = []
            text, depth, reads = self._expression(step, {})
        mentions = _mentions(step) + [value for part in inlined for value in part.mentions]
        heavy = _is_heavy(step) or any(part.heavy for part in inlined)
        pending = _Pending(step, text, depth, reads, mentions, heavy)
        if self._may_wait(step):
            self._stack.append(pending)
        else:
            self._flush()
            self._state(pending)

    def _operands(self, step: Step) -> list[_Pending]:
        """The newest pending expressions, if they are operands of this step in their order."""
        mentions = _mentions(step)
        waiting = [p.step.writes[0] for p in self._stack]
        wanted = [value for value in mentions if value in waiting]
        if not wanted:
            return []
        if wanted != waiting[-len(wanted) :] or len(set(mentions)) != len(mentions):
            self._flush()
            return []
        taken = self._stack[-len(wanted) :]
        del self._stack[-len(wanted) :]
        return taken

    def _expression(
        self, step: Step, parts: Mapping[Value, _Pending]
    ) -> tuple[str, int, frozenset[str]]:
        reads: set[str] = set()
        depth = 0

        def operand(value: Value, before: str, after: str) -> str:
            nonlocal depth
            part = parts.get(value)
            if part is None:
                return self._named(value, reads)
            depth = max(depth, part.depth)
            reads.update(part.reads)
            return f"({part.text})" if _needs_brackets(step, part, before, after) else part.text

        text = self._filled(step, operand)
        return text, depth + _calls(step), frozenset(reads)

    def _named(self, value: Value, reads: set[str]) -> str:
        if value in self._atoms:
            return self._atoms[value]
        name = self._names[value]
        reads.add(name)
        return name

    def _filled(self, step: Step, operand: Callable[[Value, str, str], str]) -> str:
        named = {bound.name: bound for bound in step.args if f"{{{bound.name}}}" in step.call}
        rest = [b for b in step.args if b.name not in named]

        def fill(match: re.Match[str]) -> str:
            key = match.group(1)
            before, after = step.call[: match.start()], step.call[match.end() :]
            if key == "*":
                return ", ".join(operand(value, "(", ")") for value in step.reads)
            if key.isdigit():
                return operand(step.reads[int(key)], before, after)
            if key == "self":
                return attribute(step.slot)
            if key == "args":
                return _arguments(rest, leading=not before.endswith("("))
            return str(named[key].text)

        return _HOLE.sub(fill, step.call)

    def _crowded(self, step: Step, parts: Sequence[_Pending]) -> bool:
        """Whether the operands read better on lines of their own."""
        stages = step.block and any(part.step.block for part in parts)
        if stages:
            ends = any(value == step.writes[0] for _, value in self._body.outputs)
            return not (ends and max(part.depth for part in parts) == 1)
        return step.slot is not None and any(p.heavy and p.step.slot is None for p in parts)

    # -- statements

    def _may_wait(self, step: Step) -> bool:
        if not self._nest or len(step.writes) != 1 or self._left.get(step.writes[0], 0) != 1:
            return False
        last = any(value == step.writes[0] for _, value in self._body.outputs)
        return last or not step.label

    def _flush(self) -> None:
        waiting, self._stack = self._stack, []
        for pending in waiting:
            self._state(pending)

    def _state(self, pending: _Pending) -> None:
        step = pending.step
        for value in pending.mentions:
            self._release(value)
        targets: list[str] = []
        for port, value in enumerate(step.writes):
            if self._left.get(value, 0) == 0:
                targets.append("_")
                continue
            targets.append(self._chosen(step, port))
            self._bind(value, targets[-1])
        comment = self._comment(step, step.writes[0])
        left = f"{targets[0]}" if len(targets) == 1 else ", ".join(targets)
        text = f"{left} = {pending.text}"
        self._out.append(Statement(tuple(targets), text, pending.reads, comment, step.train))

    def _add_loop(self, step: Step) -> None:
        """The module itself as a sequence; `super().forward` does not script."""
        self._flush()
        source = self._names[step.reads[0]]
        self._release(step.reads[0])
        name = self._chosen(step, 0)
        self._bind(step.writes[0], name)
        comment = self._comment(step, step.writes[0])
        if name != source:
            self._out.append(Statement((name,), f"{name} = {source}", frozenset({source})))
        layer = self._fresh("layer")
        text = f"for {layer} in self:"
        body = (f"{name} = {layer}({name})",)
        self._out.append(Statement((name,), text, frozenset({name}), comment, step.train, body))

    def _add_growth(self, step: Step) -> None:
        """A list that every child makes longer by a map made of all maps before."""
        self._flush()
        reads: set[str] = set()
        base = ", ".join(self._named(value, reads) for value in step.reads)
        for value in step.reads:
            self._release(value)
        name = self._fresh("maps")
        self._bind(step.writes[0], name)
        self._lists.add(name)
        layer = self._fresh("layer")
        joined = f"torch.cat({name}{_arguments(step.args, leading=True)})"
        self._out.append(Statement((name,), f"{name} = [{base}]", frozenset(reads), (), step.train))
        comments = self._comment(step, step.writes[0])
        text = f"for {layer} in {attribute(step.slot)}:"
        body = (f"{name}.append({layer}({joined}))",)
        names = frozenset({name})
        self._out.append(Statement((name,), text, names, comments, step.train, body))

    def _finish(self, arguments: list[str]) -> Forward:
        outputs = [value for _, value in self._body.outputs]
        if self._optional:
            return self._finish_optional(arguments)
        waiting = [p.step.writes[0] for p in self._stack]
        single = len(outputs) == 1 and waiting == outputs and not self._stack[0].step.train
        if not single:
            self._flush()
            reads: set[str] = set()
            results = [self._named(value, reads) for value in outputs]
            return Forward(arguments, self._out, results, frozenset(reads))
        last = self._stack.pop()
        comment = self._comment(last.step, outputs[0])
        return Forward(arguments, self._out, [last.text], last.reads, comment)

    def _finish_optional(self, arguments: list[str]) -> Forward:
        self._flush()
        self._give(made=False)
        reads: set[str] = set(self._optional.values())
        results = [
            self._optional[i] if i in self._optional else self._named(value, reads)
            for i, (_, value) in enumerate(self._body.outputs)
        ]
        return Forward(arguments, self._out, results, frozenset(reads))


def _mentions(step: Step) -> list[Value]:
    """The values in the text of a call, in order, as often as they occur."""
    found: list[Value] = []
    for key in _HOLE.findall(step.call):
        if key == "*":
            found.extend(step.reads)
        elif key.isdigit():
            found.append(step.reads[int(key)])
    return found


def attribute(slot: Slot | None) -> str:
    """How a slot is reached from `self`."""
    text = "self"
    chain: list[Slot] = []
    while slot is not None and slot.parent is not None:
        chain.append(slot)
        slot = slot.parent
    for one in reversed(chain):
        kind = one.parent.kind if one.parent is not None else "module"
        if kind in ("list", "sequential"):
            text += f"[{int(one.key)}]"
        elif kind == "dict" and not one.array:
            text += f'["{one.key}"]'
        elif is_identifier(one.key):
            text += f".{one.key}"
        else:
            text += f'.get_submodule("{one.key}")'
    return text


def _arguments(bounds: Sequence[Bound], *, leading: bool) -> str:
    texts = [f"{b.name}={b.text}" if b.name else str(b.text) for b in bounds if b.text is not None]
    joined = ", ".join(texts)
    return f", {joined}" if leading and joined else joined


def _calls(step: Step) -> int:
    """How many calls a template nests."""
    depth = deepest = 0
    for c in step.call:
        depth += (c == "(") - (c == ")")
        deepest = max(deepest, depth)
    return deepest


def _strength(step: Step) -> int:
    """How strongly the expression binds: 1 for sums, 2 for products, 9 for calls and names."""
    if not step.infix:
        return 9
    return next((s for sign, s in _STRENGTH.items() if f" {sign} " in step.call), 9)


def _needs_brackets(step: Step, part: _Pending, before: str, after: str) -> bool:
    inner = _strength(part.step)
    if inner == 9:
        return False
    if after.startswith((".", "[")):
        return True
    enclosed = before.endswith(("(", ", ")) and after.startswith((",", ")", "{args}"))
    if enclosed:
        return False
    outer = _strength(step) if step.infix else 3
    return inner < outer or (inner == outer and before != "")


def _is_heavy(step: Step) -> bool:
    if step.slot is None:
        return False
    make = step.slot.make
    return step.block or (make is not None and make.callee.name in HEAVY)
