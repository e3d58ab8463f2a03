"""The static pass over statements: what they bind, in which branch, and in what order."""

from __future__ import annotations

from segdsl import syntax
from segdsl.diagnostics import Diagnostic, text_helps
from segdsl.elaborate.complaints import bound_in_branch, bound_in_loop, never_bound
from segdsl.elaborate.convert import NOT_LITERAL, literal
from segdsl.elaborate.declared import parameter_hint
from segdsl.elaborate.dims import names_in
from segdsl.elaborate.expressions import split_call
from segdsl.elaborate.heads import check_type, map_type
from segdsl.elaborate.initialisers import is_initialiser, no_initialiser
from segdsl.elaborate.scopes import LayerMeaning, Meaning, Scope, Vague, names_of
from segdsl.elaborate.signature import is_port
from segdsl.elaborate.statements import bound_names, shared_names
from segdsl.elaborate.survey_calls import (
    check_argument,
    check_initialiser,
    check_layer,
    meaning_of,
    visit,
    visit_path,
)
from segdsl.elaborate.survey_state import Survey
from segdsl.source import Span


def survey_block(survey: Survey, block: syntax.Block) -> None:
    """Parameters, conditions, body and output ports of a block."""
    survey.scope.later = _later(block.body)
    _parameters(survey, block.params)
    for param in block.params:
        if is_port(param.type):
            _port_sizes(survey, param.type)
    _constraints(survey, block.where)
    _body(survey, block.body)
    for port in block.outputs:
        _output_port(survey, block, port)


def survey_net(survey: Survey, net: syntax.Net) -> None:
    """Parameters, conditions and body of a net."""
    survey.scope.later = _later(net.body)
    _parameters(survey, net.params)
    _constraints(survey, net.where)
    _body(survey, net.body)


def survey_const(survey: Survey, const: syntax.Const) -> None:
    """The value of a constant, which may use other constants."""
    hint = (
        parameter_hint(syntax.Param(const.name, const.type, None, const.span))
        if const.type
        else None
    )
    check_argument(survey, const.name.name, const.value, hint)


def _later(body: tuple[syntax.Stmt, ...]) -> dict[str, Span]:
    pairs = [(name.name, name.span) for statement in body for name in bound_names(statement)]
    for statement in body:
        if isinstance(statement, syntax.If):
            pairs += [(name, statement.span) for name in sorted(shared_names(statement))]
    return names_of(pairs)


def _parameters(survey: Survey, params: tuple[syntax.Param, ...]) -> None:
    for param in params:
        name = param.name
        if param.default is not None and not is_port(param.type):
            check_argument(survey, name.name, param.default, parameter_hint(param))
        word = param.type.name.name if isinstance(param.type, syntax.NamedType) else ""
        if survey.scope.find(name.name) is None:  # a repeated one is an error of the head
            survey.introduce(name, Vague.ANYTHING if word == "block" else Vague.VALUE)


def _port_sizes(survey: Survey, declared: syntax.Type) -> None:
    """Every free name in the shape of an input port is a dimension variable."""
    if not isinstance(declared, syntax.ShapeType):
        return
    for dim in declared.dims:
        if isinstance(dim, syntax.AnyDims):
            continue
        for name in names_in(dim):
            if survey.is_free(name.name) and name.name != "tensor":
                survey.size(name.name, name.span)
        _size(survey, dim)


def _size(survey: Survey, dim: syntax.Expr) -> None:
    if isinstance(dim, syntax.Name) and dim.name in ("_", "tensor"):
        return
    visit(survey, dim)


def _claimed_sizes(survey: Survey, declared: syntax.Type | None) -> None:
    """A shape behind a bound name: bare names bind, the rest is computed."""
    if not isinstance(declared, syntax.ShapeType):
        return
    for dim in declared.dims:
        if isinstance(dim, syntax.AnyDims):
            continue
        if isinstance(dim, syntax.Name) and survey.is_free(dim.name):
            survey.size(dim.name, dim.span)
        _size(survey, dim)


def _output_port(survey: Survey, block: syntax.Block, port: syntax.Port) -> None:
    name = port.name
    if isinstance(port.type, syntax.ShapeType):
        for dim in port.type.dims:
            if not isinstance(dim, syntax.AnyDims):
                _output_size(survey, dim)
    if survey.scope.find(name.name) is not None or name.name in survey.module.lost:
        return
    gone = survey.scope.ended(name.name)
    if gone is None:
        survey.report(never_bound(block.name.name, name))
    elif gone.condition:
        survey.report(bound_in_branch(name.name, gone.span, gone.condition, gone.taken, name.span))
    else:
        survey.report(bound_in_loop(name.name, gone.span, name.span))


def _output_size(survey: Survey, dim: syntax.Expr) -> None:
    if isinstance(dim, syntax.Name) and dim.name == "tensor":
        return
    unbound = [n for n in names_in(dim) if survey.is_free(n.name)]
    for name in unbound:
        if name.name not in survey.module.lost:
            message = f"`{name.name}` is bound by no input port"
            survey.report(Diagnostic("E3011", message, name.span))
    if not unbound:
        _size(survey, dim)


def _constraints(survey: Survey, constraints: tuple[syntax.Constraint, ...]) -> None:
    for constraint in constraints:
        visit(survey, constraint.condition)


def _body(survey: Survey, body: tuple[syntax.Stmt, ...]) -> None:
    for statement in body:
        _statement(survey, statement)


def _statement(survey: Survey, statement: syntax.Stmt) -> None:
    match statement:
        case syntax.Bind():
            _bind(survey, statement)
        case syntax.Run(value, _):
            visit(survey, value)
        case syntax.Var(name, value, _):
            visit(survey, value)
            survey.bind(name, Vague.ANYTHING, variable=True)
        case syntax.Append():
            _append(survey, statement)
        case syntax.If():
            _if(survey, statement)
        case syntax.For():
            _for(survey, statement)
        case syntax.Input():
            _input(survey, statement)
        case syntax.Output():
            _output(survey, statement)
        case syntax.WeightStmt():
            _weight(survey, statement)
        case syntax.Layer():
            _layer(survey, statement)
        case syntax.Init(_, value, _):
            _initial(survey, "init", value)
        case syntax.Check():
            _check(survey, statement)
        case syntax.Post():
            _post(survey, statement)


def _bind(survey: Survey, statement: syntax.Bind) -> None:
    declared = statement.type
    if declared is not None:
        survey.report(*check_type(declared))
    if declared is not None and not is_port(declared):
        hint = parameter_hint(syntax.Param(statement.names[0], declared, None, statement.span))
        check_argument(survey, statement.names[0].name, statement.value, hint)
    else:
        visit(survey, statement.value)
        _claimed_sizes(survey, declared)
    single = len(statement.names) == 1
    meaning: Meaning = meaning_of(survey, statement.value) if single else Vague.ANYTHING
    for name in statement.names:
        survey.bind(name, meaning)


def _append(survey: Survey, statement: syntax.Append) -> None:
    found = survey.scope.find(statement.name.name)
    if (found is None or not found.variable) and statement.name.name not in survey.module.lost:
        message = f"`+=` grows a list declared with `var {statement.name.name} = []`"
        survey.report(Diagnostic("E1003", message, statement.name.span))
    visit(survey, statement.value)


def _if(survey: Survey, statement: syntax.If) -> None:
    visit(survey, statement.condition)
    then = _branch(survey, statement.then)
    other = None if statement.otherwise is None else _branch(survey, statement.otherwise)
    survey.scope.close_branches(statement.condition.span.text, then, other)


def _branch(survey: Survey, body: tuple[syntax.Stmt, ...]) -> Scope:
    with survey.inner(_later(body)) as scope:
        _body(survey, body)
    return scope


def _for(survey: Survey, statement: syntax.For) -> None:
    visit(survey, statement.iterable)
    with survey.inner(_later(statement.body)) as scope:
        for name in statement.names:
            survey.introduce(name, _turn_meaning(statement))
        _body(survey, statement.body)
    survey.scope.close_loop(scope)


def _turn_meaning(statement: syntax.For) -> Meaning:
    """The turns of a `range` are numbers; elements of other lists may be blocks."""
    call = statement.iterable
    ranged = isinstance(call, syntax.Call) and isinstance(call.callee, syntax.Name)
    return Vague.VALUE if ranged and call.callee.name == "range" else Vague.ANYTHING  # type: ignore[union-attr]


def _input(survey: Survey, statement: syntax.Input) -> None:
    if survey.in_block:
        message = "`input` stands in a net, not in a block"
        survey.report(Diagnostic("E4004", message, statement.span))
    if isinstance(statement.type, syntax.ShapeType):
        for dim in statement.type.dims:
            if isinstance(dim, syntax.Name):
                if survey.is_free(dim.name):
                    survey.size(dim.name, dim.span)
            elif not isinstance(dim, syntax.AnyDims):
                visit(survey, dim)
    _constraints(survey, statement.where)
    survey.bind(statement.name)


def _output(survey: Survey, statement: syntax.Output) -> None:
    if survey.in_block:
        message = "`output` stands in a net, not in a block"
        survey.report(Diagnostic("E4004", message, statement.span))
    if statement.value is None:
        survey.value(statement.name.name, statement.name.span)
    else:
        visit(survey, statement.value)
    _claimed_sizes(survey, statement.type)
    if statement.value is not None:
        survey.bind(statement.name)
    if statement.type is not None:
        survey.report(*map_type(statement.type))


def _weight(survey: Survey, statement: syntax.WeightStmt) -> None:
    if isinstance(statement.type, syntax.ShapeType):
        for dim in statement.type.dims:
            if not isinstance(dim, syntax.AnyDims):
                visit(survey, dim)
    value = statement.value
    if isinstance(value, syntax.At):
        visit_path(survey, value.path)
        value = value.value
    if value is not None:
        _initial(survey, statement.name.name, value)
    survey.bind(statement.name)


def _initial(survey: Survey, name: str, value: syntax.Expr) -> None:
    """Where only an initialiser may stand."""
    word = value.callee if isinstance(value, syntax.Call) else value
    if is_initialiser(value):
        check_initialiser(survey, value)
    elif isinstance(word, syntax.Name):
        survey.report(no_initialiser(name, word.name, word.span))
    elif literal(value) is NOT_LITERAL:
        visit(survey, value)


def _layer(survey: Survey, statement: syntax.Layer) -> None:
    value = statement.value
    if isinstance(value, syntax.At):
        visit_path(survey, value.path)
        value = value.value
    callee, args = split_call(value)
    sig = check_layer(survey, callee, args)
    survey.introduce(statement.name, LayerMeaning(statement.name.name, sig))


def _check(survey: Survey, statement: syntax.Check) -> None:
    survey.in_check = True
    visit(survey, statement.condition)
    survey.in_check = False


def _post(survey: Survey, statement: syntax.Post) -> None:
    message = "`post` operations are not part of this version of segdsl"
    helps = text_helps("run them on the outputs of the network")
    survey.report(Diagnostic("E4004", message, statement.span, helps=helps))
    for name in statement.names:
        survey.bind(name, Vague.ANYTHING)
