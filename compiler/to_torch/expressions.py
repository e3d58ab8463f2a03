"""Arithmetic over constructor arguments: `4 * planes`. Read from the .seg text, evaluated, printed.

Everything here is a guess that `compiler.to_torch.classes` checks by evaluation, so a wrong
guess costs readability only.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache

from compiler.to_torch.lower import Literal, literal

MAX_TEXT = 200
MAX_EXPONENT = 64
MAX_VALUE = 2**63

Expression = ast.expr
Symbols = Mapping[str, Literal]

_BINARY: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: (" + ", 1),
    ast.Sub: (" - ", 1),
    ast.Mult: (" * ", 2),
    ast.FloorDiv: (" // ", 2),
    ast.Mod: (" % ", 2),
    ast.Pow: ("**", 4),
}


class UnknownError(Exception):
    """An expression has no value: an unknown name, a wrong type, a number too large."""


@lru_cache(maxsize=65536)
def parse(text: str) -> Expression | None:
    """The arithmetic expression that a piece of .seg text is, or None if it is anything else."""
    if len(text) > MAX_TEXT or not text.isascii():
        return None
    words = {"true": "True", "false": "False"}
    try:
        tree = ast.parse(words.get(text, text).strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree if _allowed(tree) else None


def _allowed(tree: Expression) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            continue
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            continue
        if not isinstance(node, ast.Name | ast.expr_context | ast.operator | ast.unaryop):
            return False
    return True


def names(tree: Expression) -> list[str]:
    """The names that occur in an expression, each once, in order."""
    return list(dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)))


def name(text: str) -> Expression:
    """The expression that is one name."""
    return ast.Name(text)


def constant(value: Literal) -> Expression:
    """The expression that is one number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)  # type: ignore[arg-type]


def evaluate(tree: Expression, symbols: Symbols) -> Literal:
    """The value of an expression.

    Raises:
        UnknownError: it has none.
    """
    match tree:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]
        case ast.Name(id=text):
            if text not in symbols:
                raise UnknownError(text)
            return symbols[text]
        case ast.UnaryOp(operand=operand):
            return -_number(evaluate(operand, symbols))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _number(evaluate(left, symbols)), _number(evaluate(right, symbols))
            return _apply(type(op), a, b)
    raise UnknownError(type(tree).__name__)


def _number(value: Literal) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnknownError(repr(value))
    return value


def _apply(op: type[ast.operator], a: float, b: float) -> int | float:
    if op is ast.Add:
        result = a + b
    elif op is ast.Sub:
        result = a - b
    elif op is ast.Mult:
        result = a * b
    elif op is ast.Pow:
        if not (isinstance(a, int) and isinstance(b, int) and 0 <= b <= MAX_EXPONENT):
            raise UnknownError("power")
        result = int(a**b)
    elif b == 0:
        raise UnknownError("division by zero")
    else:
        result = a // b if op is ast.FloorDiv else a % b
    if abs(result) >= MAX_VALUE:
        raise UnknownError("too large")
    return result


def same(value: Literal, wanted: Literal) -> bool:
    """Whether two values are one literal: `1` is neither `1.0` nor `True`."""
    return type(value) is type(wanted) and value == wanted


def gives(tree: Expression, symbols: Symbols, wanted: Literal) -> bool:
    """Whether an expression has exactly this value."""
    try:
        return same(evaluate(tree, symbols), wanted)
    except UnknownError:
        return False


def replace_names(tree: Expression, values: Mapping[str, Expression]) -> Expression:
    """The expression with names replaced by expressions, and arithmetic between numbers done."""
    match tree:
        case ast.Name(id=text):
            return values.get(text, tree)
        case ast.UnaryOp(op=op, operand=operand):
            return ast.UnaryOp(op, replace_names(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            new = ast.BinOp(replace_names(left, values), op, replace_names(right, values))
            return _simplified(new)
    return tree


def _simplified(tree: ast.BinOp) -> Expression:
    left, op, right = tree.left, tree.op, tree.right
    if not names(tree):
        try:
            return constant(evaluate(tree, {}))
        except UnknownError:
            return tree
    if isinstance(op, ast.Mult):
        if _is(left, 1):
            return right
        if _is(right, 1):
            return left
        if isinstance(right, ast.Constant):
            # numbers first, and one number only: 2 * (3 * x) is 6 * x
            return _simplified(ast.BinOp(right, op, left))
        if (
            isinstance(left, ast.Constant)
            and isinstance(right, ast.BinOp)
            and isinstance(right.op, ast.Mult)
            and isinstance(right.left, ast.Constant)
        ):
            factor = constant(evaluate(ast.BinOp(left, op, right.left), {}))
            return ast.BinOp(factor, op, right.right)
    if isinstance(op, ast.Add | ast.Sub) and _is(right, 0):
        return left
    if isinstance(op, ast.Add) and _is(left, 0):
        return right
    if isinstance(op, ast.FloorDiv) and _is(right, 1):
        return left
    if isinstance(op, ast.Add) and text(left) == text(right):
        return _simplified(ast.BinOp(constant(2), ast.Mult(), left))
    return tree


def _is(tree: Expression, value: int) -> bool:
    return isinstance(tree, ast.Constant) and tree.value == value and tree.value is not True


def text(tree: Expression, outer: int = 0) -> str:
    """The expression as source; `outer` is how strongly its neighbours bind."""
    match tree:
        case ast.Constant(value=value):
            return literal(value)  # type: ignore[arg-type]
        case ast.Name(id=word):
            return word
        case ast.UnaryOp(operand=operand):
            inner = "-" + text(operand, 3)
            return f"({inner})" if outer >= 3 else inner
        case ast.BinOp(left=left, op=op, right=right):
            sign, strength = _BINARY[type(op)]
            power = isinstance(op, ast.Pow)
            if power and not (_simple(left) and _simple(right)):
                sign = " ** "
            right_side = text(right, strength + (0 if power else 1))
            inner = f"{text(left, strength + (1 if power else 0))}{sign}{right_side}"
            return f"({inner})" if outer > strength else inner
    raise UnknownError(type(tree).__name__)


def _simple(tree: Expression) -> bool:
    return isinstance(tree, ast.Name | ast.Constant)


def minus(tree: Expression, number: int) -> Expression:
    """`tree - number`."""
    return _simplified(ast.BinOp(tree, ast.Sub(), constant(number)))


def times(left: Expression, right: Expression) -> Expression:
    """`left * right`."""
    return _simplified(ast.BinOp(left, ast.Mult(), right))


def halved(tree: Expression) -> Expression:
    """`tree // 2`, with an even factor in front halved."""
    if (
        isinstance(tree, ast.BinOp)
        and isinstance(tree.op, ast.Mult)
        and isinstance(tree.left, ast.Constant)
    ):
        factor = tree.left.value
        if isinstance(factor, int) and factor % 2 == 0:
            return times(constant(factor // 2), tree.right)
    return _simplified(ast.BinOp(tree, ast.FloorDiv(), constant(2)))


def total(parts: Sequence[Expression | None]) -> Expression | None:
    """The sum, equal terms as a product and numbers last; None where a part is unknown."""
    counts: dict[str, tuple[Expression, int]] = {}
    number = 0
    for part in parts:
        if part is None:
            return None
        if isinstance(part, ast.Constant) and isinstance(part.value, int):
            number += part.value
            continue
        key = text(part)
        counts[key] = (part, counts.get(key, (part, 0))[1] + 1)
    result: Expression | None = None
    for part, count in counts.values():
        term = times(constant(count), part)
        result = term if result is None else _simplified(ast.BinOp(result, ast.Add(), term))
    if result is None:
        return constant(number)
    return _simplified(ast.BinOp(result, ast.Add(), constant(number)))


def plus(left: Expression, right: Expression) -> Expression:
    """`left + right`."""
    return _simplified(ast.BinOp(left, ast.Add(), right))


def over(tree: Expression, number: int) -> Expression:
    """`tree // number`."""
    return _simplified(ast.BinOp(tree, ast.FloorDiv(), constant(number)))


def difference(left: Expression | None, right: Expression | None) -> Expression | None:
    """The term that `right` has beyond `left`, if `right` is `left` plus that term."""
    if left is None or right is None:
        return None
    for term in ast.walk(right):
        if isinstance(term, ast.Name | ast.BinOp) and text(plus(left, term)) == text(right):
            return term
    return None
