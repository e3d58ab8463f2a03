"""Names that nobody uses: maps and parameters (W7010), blocks, imports, constants (W7011)."""

from __future__ import annotations

from collections.abc import Iterator

from segdsl import syntax
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Severity
from segdsl.elaborate.signature import is_port
from segdsl.source import Span
from segdsl.walk import nodes, used_names


def unused_maps(item: syntax.Block | syntax.Net) -> Iterator[Diagnostic]:
    """W7010: what a body computes and nobody reads. Names that begin with `_` may stay unused."""
    used = used_names(item.params, item.where, item.body)
    if isinstance(item, syntax.Block):
        used |= {port.name.name for port in item.outputs}
    yield from _unused_parameters(item, used)
    told: set[str] = set()
    for node in nodes(item.body):
        for name in _bound(node):
            if name.name not in used and name.name not in told and not name.name.startswith("_"):
                told.add(name.name)
                yield _unused(node, name)
        if isinstance(node, syntax.Run):
            yield from _lost(node)


def _unused_parameters(item: syntax.Block | syntax.Net, used: set[str]) -> Iterator[Diagnostic]:
    """What callers give and nothing asks for: setting it would change nothing."""
    shaped = used_names(item.outputs) if isinstance(item, syntax.Block) else set()
    for parameter in item.params:
        name = parameter.name.name
        if name not in used | shaped and not name.startswith("_"):
            what = "port" if is_port(parameter.type) else "parameter"
            message = f"the {what} `{name}` of `{item.name.name}` is never used"
            helps = (Help("use it, or remove it here and where it is given"),)
            yield Diagnostic("W7010", message, parameter.name.span, Severity.WARNING, helps=helps)


def _bound(node: object) -> tuple[syntax.Ident, ...]:
    match node:
        case syntax.Bind(names=names):
            return names
        case syntax.Layer() if _keeps_a_place(node):
            return ()
        case syntax.Var() | syntax.Layer() | syntax.WeightStmt() | syntax.Input():
            return (node.name,)
        case syntax.Stage(tap=tap) | syntax.Repeat(tap=tap) if tap is not None:
            return (tap,)
    return ()


def _keeps_a_place(layer: syntax.Layer) -> bool:
    """Whether a layer has no weights and a path: it stands for the order of what is below it."""
    value = layer.value
    return isinstance(value, syntax.At) and (
        isinstance(value.value, syntax.Name) and value.value.name == "identity"
    )


def _unused(node: object, name: syntax.Ident) -> Diagnostic:
    free = f"_{name.name}"
    helps: tuple[Help, ...] = ()
    rename = Help(f"name it `{free}`", (Edit(name.span, free),), Applicability.LIKELY)
    match node:
        case syntax.Input():
            message = f"the input `{name.name}` is never used"
        case syntax.Stage() | syntax.Repeat():
            message, helps = f"the tap `{name.name}` is never used", (_untapped(name),)
        case syntax.Layer() | syntax.WeightStmt():
            message, helps = f"`{name.name}` is declared and never used", (Help("remove it"),)
        case _:
            message = f"`{name.name}` is computed and never used"
            helps = (Help("remove it"), rename)
    return Diagnostic("W7010", message, name.span, Severity.WARNING, helps=helps)


def _untapped(name: syntax.Ident) -> Help:
    """Leave the ` as x` away; the word `as` stands right before the name."""
    text = name.span.source.text
    start = len(text[: text.rindex("as", 0, name.span.start)].rstrip())
    edit = Edit(Span(name.span.source, start, name.span.end), "")
    return Help(f"leave `as {name.name}` away", (edit,), Applicability.LIKELY)


def _lost(run: syntax.Run) -> Iterator[Diagnostic]:
    """A statement whose result nobody can read: it has no name."""
    last: object = run.value
    if isinstance(last, syntax.Pipe):
        last = last.stages[-1]
    if isinstance(last, syntax.Stage | syntax.Repeat) and last.tap is not None:
        return
    span: Span = getattr(last, "span", run.span)
    message = "the result of this statement is never used"
    helps = (Help("give it a name with `as`, or remove it"),)
    yield Diagnostic("W7010", message, span, Severity.WARNING, helps=helps)


def unused_imports(tree: syntax.Module) -> Iterator[Diagnostic]:
    """W7011: imported names that the file does not use."""
    items = [i for i in tree.items if not isinstance(i, syntax.ImportNames | syntax.ImportFile)]
    used = used_names(*items)
    for item in tree.items:
        if isinstance(item, syntax.ImportFile) and item.alias.name not in used:
            yield _unused_import(item.alias, _line_of(item.span))
        elif isinstance(item, syntax.ImportNames):
            idle = [pair for pair in item.names if pair[1].name not in used]
            for pair in idle:
                whole = len(idle) == len(item.names)
                edit = _line_of(item.span) if whole else _from_list(item, pair, idle)
                yield _unused_import(pair[1], edit)


def _unused_import(alias: syntax.Ident, edit: Edit | None) -> Diagnostic:
    message = f"`{alias.name}` is imported and never used"
    edits = () if edit is None else (edit,)
    certain = Applicability.CERTAIN if edits else Applicability.TEMPLATE
    helps = (Help("remove it", edits, certain),)
    return Diagnostic("W7011", message, alias.span, Severity.WARNING, helps=helps)


def _from_list(
    item: syntax.ImportNames,
    pair: tuple[syntax.Ident, syntax.Ident],
    idle: list[tuple[syntax.Ident, syntax.Ident]],
) -> Edit:
    """Take one name out of a list of imports, with one of the commas beside it."""
    place = item.names.index(pair)
    later = next((p for p in item.names[place + 1 :] if p not in idle), None)
    if later is not None:
        following = item.names[place + 1]
        return Edit(Span(pair[0].span.source, pair[0].span.start, following[0].span.start), "")
    before = item.names[place - 1]
    return Edit(Span(pair[0].span.source, before[1].span.end, pair[1].span.end), "")


def _line_of(span: Span) -> Edit:
    """Take a statement away, with its line where nothing else stands there."""
    text, end = span.source.text, span.end
    while end < len(text) and text[end] in " \t\r":
        end += 1
    own = span.start == 0 or text[span.start - 1] == "\n"
    if own and text[end : end + 1] == "\n":
        return Edit(Span(span.source, span.start, end + 1), "")
    return Edit(span, "")


def unused_items(tree: syntax.Module) -> Iterator[Diagnostic]:
    """W7011: blocks and constants of a file with nets that nothing else in it uses.

    A file without nets is there for others.
    """
    if not any(isinstance(item, syntax.Net) for item in tree.items):
        return
    uses = {id(item): used_names(item) for item in tree.items}
    for item in tree.items:
        if not isinstance(item, syntax.Block | syntax.Const) or item.name.name.startswith("_"):
            continue
        if not any(item.name.name in uses[id(o)] for o in tree.items if o is not item):
            yield _unused_item(item)


def _unused_item(item: syntax.Block | syntax.Const) -> Diagnostic:
    kind = "block" if isinstance(item, syntax.Block) else "constant"
    message = f"the {kind} `{item.name.name}` is never used"
    remove = Help("remove it")
    if isinstance(item, syntax.Const):
        remove = Help("remove it", (_line_of(item.span),), Applicability.CERTAIN)
    return Diagnostic("W7011", message, item.name.span, Severity.WARNING, helps=(remove,))
