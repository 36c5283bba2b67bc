"""The value of a short mathematical expression in plain text or LaTeX, without `eval`: exact where it is rational.

Grammar, loosest first: sums; products, also of things that only stand beside each other; signs; powers; then numbers, mixed
numbers (`1\\frac12`), letters, `\\frac`, `\\sqrt`, brackets. Letters are variables: two expressions are compared at several
points. Texts come from models, so sizes are bounded: what is too long, too deep or too large is no expression.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

Value = Fraction | float
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*(?:[eE][-+]?\d{1,3})?|\.\d+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<letter>[A-Za-z])|(?P<sign>[-+*/^(){}\[\]]))"
)
_LONGEST, _DEEPEST, _MOST_BITS = 300, 40, 4096
_WORD = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{3,}")
_SAYS_SOMETHING = re.compile(r"[-+*/^\d\\]")
_CLOSING = {"(": ")", "{": "}", "[": "]"}


class NoExpression(ValueError):
    """A text that is none."""


def value_of(text: str, letters: Mapping[str, Fraction]) -> Value:
    """The value of `text` with each letter as `letters` has it; NoExpression for a text that is none, words among them."""
    if len(text) > _LONGEST or not _SAYS_SOMETHING.search(text) or _WORD.search(text):
        raise NoExpression(text)
    parser = _Parser(_tokens(text), letters)
    try:
        value = parser.sum(0)
    except (ZeroDivisionError, OverflowError) as error:
        raise NoExpression(text) from error
    if parser.next is not None or isinstance(value, complex):
        raise NoExpression(text)
    return value


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NoExpression(text)
        found.append(match[match.lastgroup or 0].replace(",", ""))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over tokens, of which the next is at the end."""

    def __init__(self, tokens: list[str], letters: Mapping[str, Fraction]) -> None:
        self._left = tokens[::-1]
        self._letters = letters

    @property
    def next(self) -> str | None:
        return self._left[-1] if self._left else None

    def sum(self, depth: int) -> Value:
        if depth > _DEEPEST:
            raise NoExpression("nested too deeply")
        value = self._product(depth)
        while self.next in ("+", "-"):
            sign = self._left.pop()
            other = self._product(depth)
            value = value + other if sign == "+" else value - other
        return value

    def _product(self, depth: int) -> Value:
        value = self._signed(depth)
        while (token := self.next) is not None:
            if token in ("*", "/"):
                self._left.pop()
                other = self._signed(depth)
                value = value * other if token == "*" else value / other
            elif token[0].isalpha() or token[0] == "\\" or token in ("(", "{"):
                value = value * self._power(depth)
            else:
                break
        return value

    def _signed(self, depth: int) -> Value:
        signs = 0
        while self.next in ("+", "-"):
            signs += self._left.pop() == "-"
        value = self._power(depth)
        return -value if signs % 2 else value

    def _power(self, depth: int) -> Value:
        value = self._primary(depth)
        if self.next == "^":
            self._left.pop()
            sign = -1 if self.next == "-" and self._left.pop() else 1
            value = _powered(value, sign * self._exponent(depth + 1))
        return value

    def _primary(self, depth: int) -> Value:
        match token := self._left.pop() if self._left else None:
            case None:
                raise NoExpression("it ends too soon")
            case "\\frac":
                above = self._group(depth + 1)
                return above / self._group(depth + 1)
            case "\\sqrt":
                return self._root(depth + 1)
            case "\\pi":
                return math.pi
            case "(" | "{" | "[":
                return self._inside(_CLOSING[token], depth)
        if token[0].isdigit() or token[0] == ".":
            whole = Fraction(token)
            if self.next == "\\frac" and whole.denominator == 1:  # a mixed number, as in 1\frac{1}{2}
                whole += self._primary(depth)  # type: ignore[assignment]
            return whole
        if token in self._letters:
            return self._letters[token]
        raise NoExpression(token)

    def _inside(self, closing: str, depth: int) -> Value:
        value = self.sum(depth + 1)
        if not self._left or self._left.pop() != closing:
            raise NoExpression("a bracket is not closed")
        return value

    def _root(self, depth: int) -> Value:
        """Behind \\sqrt, which may say of which degree it is. Of an odd degree a negative number has one."""
        degree: Value = Fraction(2)
        if self.next == "[":
            self._left.pop()
            degree = self._inside("]", depth)
        base = self._group(depth)
        if base < 0 and isinstance(degree, Fraction) and degree.denominator == 1 and degree % 2:
            return -_powered(-base, 1 / degree)
        return _powered(base, 1 / degree)

    def _exponent(self, depth: int) -> Value:
        """Something in braces, or a whole number: 2^10 is 1024, though LaTeX would raise the 1 alone."""
        if (token := self.next) is not None and token.isdigit():
            self._left.pop()
            return Fraction(token)
        return self._primary(depth)

    def _group(self, depth: int) -> Value:
        """What a command takes: something in braces, or one sign, so that \\frac12 is a half."""
        token = self.next
        if token is not None and token.isdigit() and len(token) > 1:
            self._left[-1] = token[1:]
            return Fraction(token[0])
        return self._primary(depth)


def _powered(base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent.numerator)
        if bits > _MOST_BITS:
            raise NoExpression("too large")
        return Fraction(base**exponent.numerator)
    if exponent == Fraction(1, 2) and isinstance(base, Fraction) and base >= 0:
        roots = math.isqrt(base.numerator), math.isqrt(base.denominator)
        if (roots[0] ** 2, roots[1] ** 2) == (base.numerator, base.denominator):
            return Fraction(*roots)
    found: object = float(base) ** float(exponent)
    if not isinstance(found, float):
        raise NoExpression("a root of a negative number")
    return found
