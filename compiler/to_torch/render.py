"""From class plans to the text of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from compiler.to_torch.body import Construction, Slot, Step
from compiler.to_torch.classes import ClassPlan, Parameter
from compiler.to_torch.forward import Forward, ForwardWriter, Statement, attribute
from compiler.to_torch.layout import WIDTH, fitted
from compiler.to_torch.lower import REQUIRED, literal
from compiler.to_torch.names import is_identifier
from segdsl.ir import Value

MAX_STATEMENTS = 1000
"""A method that would be longer is written in parts."""

BASES = {
    "module": "nn.Module",
    "sequential": "nn.Sequential",
    "list": "nn.ModuleList",
    "dict": "nn.ModuleDict",
}


class ClassWriter:
    """Writes one class.

    Args:
        plan: the class.
        heading: the comment of the `class` line, "" for none.
        doc: the lines of its docstring.
        taken: names that no local variable may have.
        comment: the comments that may follow a statement that makes a value.
        results: the name of the NamedTuple that is returned, "" for a bare map or tuple.
        nest: whether calls may be nested.
    """

    def __init__(
        self,
        plan: ClassPlan,
        *,
        heading: str,
        doc: Sequence[str],
        taken: frozenset[str],
        comment: Callable[[Step, Value], tuple[str, ...]],
        results: str = "",
        nest: bool = True,
    ) -> None:
        self._plan = plan
        self._heading = heading
        self._doc = doc
        self._results = results
        self._nest = nest
        self._root = plan.body.root
        self._forward = ForwardWriter(plan.body, taken, comment, nest=nest).write()

    def lines(self) -> list[str]:
        """The class, without blank lines around it."""
        base = BASES[self._root.kind]
        heading = f"  # {self._heading}" if self._heading else ""
        out = [f"class {self._plan.name}({base}):{heading}", *self._docstring()]
        out += self._constructor()
        if not self._pure():
            if out[-1]:
                out.append("")
            out += self._forward_method()
        return out

    def _docstring(self) -> list[str]:
        if not self._doc:
            return []
        if len(self._doc) == 1:
            return [f'    """{self._doc[0]}"""', ""]
        rest = [f"    {line}".rstrip() for line in self._doc[1:]]
        return [f'    """{self._doc[0]}', *rest, '    """', ""]

    def _pure(self) -> bool:
        """Whether the class is nothing but a sequence, whose forward nn.Sequential has already."""
        body = self._plan.body
        alone = len(body.steps) == 1 and body.steps[0].loop and len(body.inputs) == 1
        return alone and [v for _, v in body.outputs] == body.steps[0].writes and not self._results

    # -- construction

    def _constructor(self) -> list[str]:
        lines = self._members()
        parameters = ", ".join(["self", *map(_parameter, self._plan.parameters)])
        stored = [f"        self.{name} = {bound.text}" for name, bound in self._plan.stored]
        if not lines and not stored and self._root.kind == "module":
            return []
        head = fitted(f"def __init__({parameters}):", 4)
        start = (
            []
            if lines and lines[0].startswith("        super()")
            else ["        super().__init__()"]
        )
        parts = _split(lines)
        if len(parts) == 1:
            return [*head, *start, *stored, *lines]
        calls = [f"        self._build{i}()" for i in range(1, len(parts) + 1)]
        out = [*head, *start, *stored, *calls]
        for i, part in enumerate(parts, 1):
            out += ["", f"    def _build{i}(self):", *part]
        return out

    def _members(self) -> list[str]:
        root = self._root
        if root.kind == "sequential":
            entries = ", ".join(self._entries(root))
            return fitted(f"super().__init__({entries})", 8)
        if root.kind == "list":
            return fitted(f"super().__init__({self._listed(root)})", 8)
        lines: list[str] = []
        for slot in root.children.values():
            lines += self._assigned(slot)
        return lines

    def _assigned(self, slot: Slot) -> list[str]:
        """The statements that make an attribute, and what hangs below it."""
        lines: list[str] = []
        stack = [slot]
        while stack:
            one = stack.pop()
            lines += self._assignment_lines(one)
            if one.make is not None and one.make.frozen and not one.array:
                lines.append(f"        {attribute(one)}.requires_grad_(False)")
            if not self._whole(one):
                stack.extend(reversed(one.children.values()))
        return lines

    def _assignment_lines(self, slot: Slot) -> list[str]:
        text = self._assignment(slot)
        if not slot.optional or len(text) + 8 <= WIDTH:
            return fitted(text, 8)
        made = fitted(self._plain(slot), 12)
        choice = [f"            if {slot.optional}", "            else nn.Identity()"]
        return [f"        {_reach(slot)} = (", *made, *choice, "        )"]

    def _assignment(self, slot: Slot) -> str:
        target = _reach(slot)
        value = self._expression(slot, alone=True) if self._whole(slot) else self._opening(slot)
        return f"{target[:-1]}, {value})" if target.endswith(")") else f"{target} = {value}"

    def _whole(self, slot: Slot) -> bool:
        """Whether one expression makes the slot and all below it."""
        if slot.make is not None:
            return not slot.children
        if slot.kind in ("sequential", "list"):
            return True
        if (
            slot.kind == "module"
            or not self._nest
            or len(slot.children) > 200
            or len(slot.keys) > 6
        ):
            return False
        return all(self._whole(child) for child in slot.children.values())

    def _opening(self, slot: Slot) -> str:
        if slot.make is not None:
            return construction(slot.make, alone=True)
        return "nn.ModuleDict()" if slot.kind == "dict" else "nn.Module()"

    def _expression(self, slot: Slot, *, alone: bool = False) -> str:
        """The expression that makes a slot; `alone` on a line, where the next one can freeze it."""
        text = self._plain(slot, alone=alone)
        return f"{text} if {slot.optional} else nn.Identity()" if slot.optional else text

    def _plain(self, slot: Slot, *, alone: bool = False) -> str:
        if slot.make is not None:
            return construction(slot.make, alone=alone)
        if slot.kind == "sequential":
            return f"nn.Sequential({', '.join(self._entries(slot))})"
        if slot.kind == "list":
            return f"nn.ModuleList({self._listed(slot)})"
        pairs = (f'"{key}": {self._expression(child)}' for key, child in slot.children.items())
        return f"nn.ModuleDict({{{', '.join(pairs)}}})"

    def _entries(self, slot: Slot) -> list[str]:
        texts: list[str] = []
        taken = {parameter.name for parameter in self._plan.parameters}
        for entry in slot.entries:
            if isinstance(entry, Slot):
                texts.append(self._expression(entry))
            else:
                texts += repeated(entry, taken)
        return texts

    def _listed(self, slot: Slot) -> str:
        entries = self._entries(slot)
        alone = len(entries) == 1 and entries[0].startswith("*(")
        return f"[{entries[0][2:-1]}]" if alone else f"[{', '.join(entries)}]"

    # -- forward

    def _forward_method(self) -> list[str]:
        forward = self._forward
        count = len(forward.results)
        kind = self._results or (
            "Tensor" if count == 1 else f"tuple[{', '.join(['Tensor'] * count)}]"
        )
        arguments = ", ".join(["self", *(f"{name}: Tensor" for name in forward.arguments)])
        head = fitted(f"def forward({arguments}) -> {kind}:", 4)
        value = ", ".join(forward.results)
        text = f"return {self._results}({value})" if self._results else f"return {value}"
        back = fitted(text, 8, forward.comments)
        if len(forward.statements) <= MAX_STATEMENTS:
            return [*head, *_indented(forward.statements), *back]
        return [*head, *_in_parts(forward, back)]


def _parameter(parameter: Parameter) -> str:
    text = f"{parameter.name}: {parameter.annotation}"
    return text if parameter.default == REQUIRED else f"{text} = {literal(parameter.default)}"


def _reach(slot: Slot) -> str:
    """The target of the assignment that makes a slot; for odd names a call to complete."""
    parent = slot.parent
    assert parent is not None
    around = attribute(parent)
    if parent.kind == "dict" and not slot.array:
        return f'{around}["{slot.key}"]'
    if is_identifier(slot.key):
        return f"{around}.{slot.key}"
    return f'{around}.add_module("{slot.key}")'


def construction(make: Construction, moving: str = "", *, alone: bool = False) -> str:
    """The call that constructs a module or an array.

    Args:
        make: what is constructed.
        moving: the text of the argument that moves in a series.
        alone: the next statement freezes the module, if it is frozen.
    """
    texts: list[str] = []
    for i, bound in enumerate(make.args):
        written = moving if i == make.moving else bound.text
        if written is not None:
            texts.append(f"{bound.name}={written}" if bound.name else written)
    arguments = ", ".join(texts)
    if make.callee.name == "nn.Parameter":
        flag = ", requires_grad=False" if make.frozen else ""
        return f"nn.Parameter(torch.zeros({arguments}){flag})"
    suffix = ".requires_grad_(False)" if make.frozen and not alone else ""
    return f"{make.callee.name}({arguments}){suffix}"


def repeated(make: Construction, taken: AbstractSet[str]) -> list[str]:
    """A construction as entries of a container: once, written out, or a comprehension."""
    if make.moving >= 0:
        return [_moving(make, taken)]
    text = construction(make)
    if make.count is None or make.count.text == "1":
        return [text]
    if make.count.text == "2":
        return [text, text]
    return [f"*({text} for _ in range({make.count.text}))"]


def _moving(make: Construction, taken: AbstractSet[str]) -> str:
    """A comprehension in which one argument differs from turn to turn."""
    if make.series is not None:
        word = make.args[make.moving].name[:1] or "n"
        variable = next(
            name for name in (word, "n", "number", "value", "_value") if name not in taken
        )
        return f"*({construction(make, variable)} for {variable} in {make.series.text})"
    assert make.first is not None
    assert make.step is not None
    assert make.count is not None
    variable = next(name for name in ("i", "k", "turn", "_turn") if name not in taken)
    step = str(make.step.text)
    factor = "" if step == "1" else f" * {step if step.isalnum() else f'({step})'}"
    moved = f"{variable}{factor}"
    if make.first.text != "0":
        moved = f"{make.first.text} + {moved}"
    return f"*({construction(make, moved)} for {variable} in range({make.count.text}))"


def _indented(statements: Sequence[Statement]) -> list[str]:
    lines: list[str] = []
    inside = False
    for statement in statements:
        if statement.train and not inside:
            lines.append("        if self.training:")
        inside = statement.train
        margin = 12 if inside else 8
        lines += fitted(statement.text, margin, statement.comments)
        lines += [f"{' ' * (margin + 4)}{text}" for text in statement.body]
    return lines


def _split(lines: list[str]) -> list[list[str]]:
    return [lines[i : i + MAX_STATEMENTS] for i in range(0, len(lines), MAX_STATEMENTS)] or [[]]


def _parts(statements: Sequence[Statement]) -> list[list[Statement]]:
    """Pieces of about `MAX_STATEMENTS`; training stays with what comes before."""
    parts: list[list[Statement]] = []
    for statement in statements:
        fresh = not parts or (len(parts[-1]) >= MAX_STATEMENTS and not statement.train)
        if fresh:
            parts.append([])
        parts[-1].append(statement)
    return parts


def _in_parts(forward: Forward, back: list[str]) -> list[str]:
    """A long forward as calls of methods; parts take and give what lives on."""
    statements = forward.statements
    parts = _parts(statements)
    needed = set(forward.reads)
    plans: list[tuple[list[str], list[str], list[Statement]]] = []
    for part in reversed(parts):
        given = sorted(needed & {name for s in part for name in s.targets})
        for statement in reversed(part):
            needed.difference_update(statement.targets)
            needed.update(statement.reads)
        plans.append((sorted(needed), given, part))
    plans.reverse()
    calls: list[str] = []
    methods: list[str] = []
    for i, (takes, gives, part) in enumerate(plans, 1):
        calls += fitted(f"{', '.join(gives)} = self._part{i}({', '.join(takes)})", 8)
        kinds = [forward.kinds.get(name, "Tensor") for name in gives]
        kind = kinds[0] if len(gives) == 1 else f"tuple[{', '.join(kinds)}]"
        typed = (f"{name}: {forward.kinds.get(name, 'Tensor')}" for name in takes)
        arguments = ", ".join(["self", *typed])
        methods += ["", *fitted(f"def _part{i}({arguments}) -> {kind}:", 4), *_indented(part)]
        methods += fitted(f"return {', '.join(gives)}", 8)
    return [*calls, *back, *methods]
