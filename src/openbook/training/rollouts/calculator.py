"""A calculator as an environment: what stands last between <calc> and </calc> is computed, and the result is the next message."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from openbook.training.data.row import Message

_CALL = re.compile(r"<calc>([^<>]{1,200})</calc>\s*$")
_TWO: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_MOST_DIGITS = 400


class Calculator:
    """Of one episode. A completion that ends in no call ends it."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row

    def step(self, completion: str) -> Sequence[Message]:
        found = _CALL.search(completion)
        return ({"role": "tool", "content": computed(found[1])},) if found else ()


def computed(expression: str) -> str:
    """The value of a sum of numbers, + - * / and brackets, exact; what is wrong with it else."""
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
        return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"
    except ZeroDivisionError:
        return "error: division by zero"
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return "error: not a sum"


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _TWO:
            found = _TWO[type(op)](_value(left), _value(right))
            if found.numerator.bit_length() > 3 * _MOST_DIGITS or found.denominator.bit_length() > 3 * _MOST_DIGITS:
                raise ValueError("too large")
            return found
    raise ValueError("not a sum")
