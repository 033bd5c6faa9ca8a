"""Small expressions over a configuration, such as `model.hidden_sizes[0] * time.steps > 4500`.

A configuration may come from a stranger, so nothing is evaluated but what stands here: numbers,
texts, keys of the configuration, arithmetic, comparisons, and a few functions.
"""

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from snnexp.errors import ConfigError

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "sum": sum,
    "min": min,
    "max": max,
    "int": int,
    "round": round,
}


def evaluate(expression: str, lookup: Callable[[str], Any]) -> Any:
    """The value of an expression; `lookup` gives the value of a key, or None where there is none.

    Raises ConfigError for anything that is no such expression, and for unknown keys.
    """
    try:
        return _value(ast.parse(_with_brackets(expression), mode="eval").body, lookup)
    except (SyntaxError, TypeError, ValueError, ArithmeticError, OmegaConfBaseException) as error:
        raise ConfigError(f"{expression!r} cannot be evaluated: {error}") from error


def _with_brackets(expression: str) -> str:
    """An entry of a list as Python has it, `sizes[0]`, where it stands as in keys, `sizes.0`."""

    def bracket(found: re.Match[str]) -> str:
        return found[0] if found[0][0] in "'\"" else re.sub(r"\.(\d+)\b", r"[\1]", found[0])

    return re.sub(r"'[^']*'|\"[^\"]*\"|[A-Za-z_]\w*(\.\w+|\[\d+\])+", bracket, expression)


def _value(node: ast.expr, lookup: Callable[[str], Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute() | ast.Subscript():
            found = lookup(ast.unparse(node))
            if found is None:
                raise ValueError(f"{ast.unparse(node)} is no key of the configuration with a value")
            return found
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, lookup), _value(right, lookup))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(operand, lookup))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, lookup) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_value(part, lookup) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, lookup) for part in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(OPERATORS[type(op)](a, b) for op, a, b in pairs)
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(part, lookup) for part in parts))
    raise ValueError(
        f"{ast.unparse(node)} is not allowed; use keys, numbers, arithmetic, "
        f"comparisons, and, or, not, {', '.join(FUNCTIONS)}"
    )
