"""Block instances: arguments, ports, conditions, body, results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdsl import syntax
from segdsl.diagnostics import SegError
from segdsl.elaborate.complaints import never_bound
from segdsl.elaborate.conditions import check_constraints
from segdsl.elaborate.declared import conform, hint_of, is_map_list, parameter_hint
from segdsl.elaborate.dims import bind_bare, claim_shape
from segdsl.elaborate.frame import Binding, Failed, Frame, Names, join
from segdsl.elaborate.operators import argument, arranged_call
from segdsl.elaborate.paths import default_path
from segdsl.elaborate.signature import block_signature, is_port
from segdsl.elaborate.state import Invocation, State, refuse
from segdsl.elaborate.values import (
    Anything,
    BlockRef,
    Map,
    Record,
    Unknown,
    as_const,
    describe,
)
from segdsl.infer import at_user
from segdsl.ir import Instance, Ports, Value
from segdsl.source import Span


def instantiate(state: State, ref: BlockRef, call: Invocation) -> Anything:
    """Run the body of a block for one call.

    Answers its output, or a record of several.

    Raises:
        SegError: arguments, ports or conditions are wrong.
    """
    block = ref.block
    path = call.path if call.path is not None else default_path(call.frame, block.name.name)
    arranged = arranged_call(block_signature(block), call)
    _check_depth(state, call)
    label = _label(call, path)
    frame = Frame(
        ref.module,
        call.frame.scope,
        path,
        label,
        Names(),
        {},
        call.frame.layer,
        (),
        call.frame.statement,
    )
    values, spans = _arguments(state, frame, block, call, arranged)
    layer = call.frame.layer
    written = layer.span if layer is not None and call.args is layer.args else None
    instance = Instance(
        block.name.name, path, _constants(block, values), call.span, block.name.span, written
    )
    frame.scope = (*call.frame.scope, instance)
    _bind_ports(state, frame, block, values, spans)
    check_constraints(state, frame, block.where, call.span)
    before = len(state.diagnostics)
    state.run_body(state, frame, block.body)
    if len(state.diagnostics) > before:
        raise Unknown
    results = _results(state, frame, block)
    state.builder.graph.ports[instance] = Ports(_port_values(block, values), _values(results))
    _remember_stages(state, label, results, call.span)
    if len(results) == 1:
        return next(iter(results.values()))
    return Record(block.name.name, results)


def _check_depth(state: State, call: Invocation) -> None:
    """Refuse instances inside instances without end: a block that is its own argument."""
    depth = sum(isinstance(step, Instance) for step in call.frame.scope)
    if depth >= state.limits.block_depth:
        message = (
            f"blocks stand inside one another more than {state.limits.block_depth} levels deep"
        )
        refuse(call.frame, "E0021", message, call.callee_span)


def _label(call: Invocation, path: str) -> str:
    """The prefix of node names: the instance's path, or for `@.` the word for its result."""
    if not call.transparent and path:
        return path
    turns = map(str, call.frame.turns)
    return join(call.frame.label, call.label or call.callee_span.text, *turns)


def _arguments(
    state: State,
    frame: Frame,
    block: syntax.Block,
    call: Invocation,
    arranged: Mapping[str, syntax.Arg],
) -> tuple[dict[str, Anything], dict[str, Span]]:
    values: dict[str, Anything] = {}
    spans: dict[str, Span] = {}
    for place, param in enumerate(block.params):
        name = param.name.name
        if place == 0 and call.piped is not None:
            value, span = call.piped
        elif call.maps is not None and name in call.maps:
            value, span = call.maps[name]
        elif name in arranged:
            arg = arranged[name]
            span = arg.value.span
            value = argument(state, call.args_frame, arg.value, hint_of(param.type))
        else:
            assert param.default is not None
            span = param.default.span
            value = argument(state, frame, param.default, hint_of(param.type))
        values[name] = conform(call.frame, name, param.type, parameter_hint(param), value, span)
        spans[name] = span
        frame.names.own[name] = Binding(values[name], param.name.span)
    return values, spans


def _constants(block: syntax.Block, values: Mapping[str, Anything]) -> Any:
    return tuple(
        (p.name.name, as_const(values[p.name.name])) for p in block.params if not is_port(p.type)
    )


def _bind_ports(
    state: State,
    frame: Frame,
    block: syntax.Block,
    values: Mapping[str, Anything],
    spans: Mapping[str, Span],
) -> None:
    """First every bare name of every port binds, then the other sizes are compared."""
    shaped = [
        (p, p.type, value)
        for p in block.params
        if isinstance(p.type, syntax.ShapeType) and isinstance(value := values[p.name.name], Map)
    ]
    for param, declared, value in shaped:
        bind_bare(state, frame, declared, value, param.name.name)
    for param, declared, value in shaped:
        claim_shape(state, frame, declared, value, f"`{param.name.name}`", port=True)


def _results(state: State, frame: Frame, block: syntax.Block) -> dict[str, Anything]:
    results: dict[str, Anything] = {}
    for port in block.outputs:
        binding = frame.names.find(port.name.name)
        if binding is None:
            if port.name.name in frame.module.lost:
                raise Unknown
            diagnostic = never_bound(block.name.name, port.name)
            raise SegError(at_user(diagnostic, frame.scope))
        if isinstance(binding.value, Failed):
            raise Unknown
        results[port.name.name] = _checked(state, frame, port, binding.value)
    return results


def _checked(state: State, frame: Frame, port: syntax.Port, value: Anything) -> Anything:
    many = isinstance(value, tuple) and all(isinstance(v, Map) for v in value)
    if not isinstance(value, Map) and not many:
        message = f"the output `{port.name.name}` must be a map, not {describe(value)}"
        refuse(frame, "E2003", message, port.span)
    if port.type is not None and is_map_list(port.type) != many:
        wanted = "one map" if many else "a list of maps"
        refuse(frame, "E2003", f"the output `{port.name.name}` is not {wanted}", port.span)
    if isinstance(port.type, syntax.ShapeType) and isinstance(value, Map):
        unbound = next(
            (d for d in port.type.dims if isinstance(d, syntax.Name) and _unbound(frame, d.name)),
            None,
        )
        if unbound is not None:
            refuse(frame, "E3011", f"`{unbound.name}` is bound by no input port", unbound.span)
        claim_shape(state, frame, port.type, value, f"`{port.name.name}`", port=False)
    return value


def _unbound(frame: Frame, name: str) -> bool:
    return (
        name != "_"
        and name not in frame.dims
        and frame.names.find(name) is None
        and name not in frame.module.items
    )


def _flat(value: Anything) -> Value | tuple[Value, ...]:
    if isinstance(value, Map):
        return value.value
    assert isinstance(value, tuple)
    return tuple(v.value for v in value if isinstance(v, Map))


def _port_values(
    block: syntax.Block, values: Mapping[str, Anything]
) -> tuple[tuple[str, Value | tuple[Value, ...]], ...]:
    return _values({p.name.name: values[p.name.name] for p in block.params if is_port(p.type)})


def _values(maps: Mapping[str, Anything]) -> tuple[tuple[str, Value | tuple[Value, ...]], ...]:
    return tuple((name, _flat(value)) for name, value in maps.items())


def _remember_stages(state: State, label: str, results: Mapping[str, Anything], span: Span) -> None:
    for name, value in results.items():
        if isinstance(value, Map):
            key = label if len(results) == 1 else join(label, name)
            state.builder.graph.stages.setdefault(key, value.value)
