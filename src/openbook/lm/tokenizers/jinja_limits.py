"""What keeps a template of a stranger from taking the machine: a budget of steps, time and size, checked while it renders.

Jinja's sandbox keeps templates from reaching Python; it does not keep them from looping or growing for ever. So the syntax
tree is changed before it is compiled: every body of a loop or macro, and every condition of a loop, first counts a step, and
every `~` goes through a function that adds up sizes. Operators, calls and filters are checked before they run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError

MAX_STEPS = 1_000_000
MAX_SECONDS = 20.0
MAX_SIZE = 50_000_000
MAX_RANGE = 10_000
MAX_NUMBER_BITS = 4_096
MAX_WIDTH = 10_000

_WIDE = re.compile(r"(?:%[^a-zA-Z%]*|\{[^{}]*)\d{5}")
_NESTED = re.compile(r"\{[^{}]*\{|%[^a-zA-Z%]*\*")

STEP, JOIN = "_openbook_step", "_openbook_join"


class Budget:
    """What is left of one rendering: steps, and seconds of this thread's own work."""

    def __init__(self) -> None:
        self.steps = 0
        self.until_s = time.thread_time() + MAX_SECONDS

    def step(self) -> bool:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"it takes more than {MAX_STEPS:,} steps")
        if time.thread_time() > self.until_s:
            raise SecurityError(f"it takes more than {MAX_SECONDS:g} s")
        return True


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget() -> Any:
    """One rendering."""
    token = _current.set(Budget())
    try:
        yield
    finally:
        _current.reset(token)


def step() -> bool:
    """Counts a step; True, so that it can stand in a condition."""
    current = _current.get()
    return current.step() if current is not None else True


def join(*parts: Any) -> str:
    """`a ~ b`, within MAX_SIZE."""
    step()
    texts = [str(part) for part in parts]
    fits(sum(map(len, texts)))
    return "".join(texts)


def fits(size: int) -> None:
    if size > MAX_SIZE:
        raise SecurityError(f"it makes a value of {size:,} characters or items, the limit is {MAX_SIZE:,}")


def checked_range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range has {len(numbers):,} numbers, the limit is {MAX_RANGE:,}")
    return numbers


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuses what would grow beyond the limits: a * n, a ** n, a + b of large values, "%9999999d" % x."""
    if operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(value, Sized) and isinstance(times, int):
                fits(len(value) * max(times, 0))
    elif operator == "+":
        if isinstance(left, Sized) and isinstance(right, Sized):
            fits(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        check_format(left)
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * abs(right)}.get(operator, 0)
        if bits > MAX_NUMBER_BITS:
            raise SecurityError(f"it makes a number of {bits:,} bits, the limit is {MAX_NUMBER_BITS:,}")


def check_format(pattern: str) -> None:
    """A width or precision of more than four digits, or one that is taken from an argument, is refused."""
    if _WIDE.search(pattern) or _NESTED.search(pattern):
        raise SecurityError("it formats with a width that is too large, or taken from a value")


def check_call(name: str, subject: Any, arguments: Iterable[Any], named: Mapping[str, Any]) -> None:
    """Before a filter or a method of a text runs: what it is told to make must be within the limits."""
    step()
    given = [*arguments, *named.values()]
    size = len(subject) if isinstance(subject, Sized) else 0
    if name in ("replace", "join", "indent", "wordwrap"):
        longest = max((len(one) for one in given if isinstance(one, str)), default=0)
        longest += max((one for one in given if isinstance(one, int)), default=0) if name != "replace" else 0
        items = max([size, *(len(one) for one in given if isinstance(one, Sized))])
        fits(min(items, MAX_SIZE) * longest)
    elif name in ("format", "format_map", "__mod__") and isinstance(subject, str):
        check_format(subject)
    elif any(isinstance(one, int) and abs(one) > MAX_WIDTH for one in given):
        raise SecurityError(f"{name} is given a number beyond {MAX_WIDTH:,}")


def checked_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` behind `check_call`, with the marks by which jinja knows what it passes to a filter."""
    passed = getattr(function, "jinja_pass_arg", None)

    def call(*arguments: Any, **named: Any) -> Any:
        own = arguments[1:] if passed is not None else arguments
        check_call(name, own[0] if own else None, own[1:], named)
        made = function(*arguments, **named)
        if isinstance(made, Sized):
            fits(len(made))
        return made

    if passed is not None:
        call.jinja_pass_arg = passed  # type: ignore[attr-defined]
    return call


def count_steps(tree: nodes.Template) -> nodes.Template:
    """The tree with a step at the head of each body and condition, and each `~` as a call."""
    for loop in tree.find_all(nodes.For):
        loop.body.insert(0, _step(loop.lineno))
        if loop.test is not None:
            loop.test = nodes.And(_call(STEP, [], loop.lineno), loop.test, lineno=loop.lineno)
    for macro in tree.find_all(nodes.Macro):
        macro.body.insert(0, _step(macro.lineno))
    for block in tree.find_all(nodes.CallBlock):
        block.body.insert(0, _step(block.lineno))
    for parent in list(tree.find_all(nodes.Node)):
        _replace_joins(parent)
    return tree


def _replace_joins(parent: nodes.Node) -> None:
    for field, value in parent.iter_fields():
        if isinstance(value, nodes.Concat):
            setattr(parent, field, _call(JOIN, value.nodes, value.lineno))
        elif isinstance(value, list):
            changed = [_call(JOIN, one.nodes, one.lineno) if isinstance(one, nodes.Concat) else one for one in value]
            setattr(parent, field, changed)


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _step(line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_call(STEP, [], line), lineno=line)
