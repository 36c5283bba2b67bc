"""What keeps a template of a stranger from taking the machine: a budget of steps, time and size, checked while it renders.

Jinja's sandbox keeps templates from reaching Python; it does not keep them from looping or growing for ever. So the syntax
tree is changed before it is compiled: every body of a loop or macro, and every condition of a loop, first counts a step; every
`~` adds up sizes; and every list, tuple or mapping that a template makes is weighed, with all that it holds as often as it
holds it, so that none is made that would take for ever to print or to compare. Operators, calls and filters are checked
before they run.
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
MAX_ITEMS = 1_000_000
MAX_RANGE = 10_000
MAX_NUMBER_BITS = 4_096
MAX_WIDTH = 10_000

_WIDE = re.compile(r"(?:%[^a-zA-Z%]*|\{[^{}]*)\d{5}")
_NESTED = re.compile(r"\{[^{}]*\{|%[^a-zA-Z%]*\*")

STEP, JOIN, WEIGH = "_openbook_step", "_openbook_join", "_openbook_weigh"
_AS_THEY_ARE = frozenset(
    "attr batch count d default first items last length list map random reject rejectattr reverse select selectattr slice".split()
)
"""Filters that hand the items on as they are: these need no weighing, which would make loops over a chat quadratic."""

_SIZED = frozenset("batch center expandtabs indent ljust rjust slice to_bytes tojson truncate wordwrap zfill".split())


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
    fits(sum(weight(part) for part in parts))
    return "".join(map(str, parts))


def weigh(value: Any) -> Any:
    """`value`, when its text is within the limits."""
    weight(value)
    return value


def weight(value: Any) -> int:
    """Characters of a value as text, about, everything counted as often as it is held. SecurityError beyond the limits."""
    if isinstance(value, str | bytes):
        return len(value)
    total = seen = 0
    open_ = [value]
    while open_:
        one = open_.pop()
        seen += 1
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, Mapping):
            open_.extend(one.keys())
            open_.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            open_.extend(one)
        fits(total)
        if seen > MAX_ITEMS or len(open_) > MAX_ITEMS:
            raise SecurityError(f"it makes a value of more than {MAX_ITEMS:,} items")
    return total + seen


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
                fits(weight(value) * max(times, 0))
    elif operator == "+":
        if isinstance(left, Sized) and isinstance(right, Sized):
            fits(len(left) + len(right))
    elif operator == "%" and isinstance(left, str):
        check_format(left, [right])
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * abs(right)}.get(operator, 0)
        if bits > MAX_NUMBER_BITS:
            raise SecurityError(f"it makes a number of {bits:,} bits, the limit is {MAX_NUMBER_BITS:,}")


def check_format(pattern: str, arguments: Iterable[Any]) -> None:
    """A width or precision of more than four digits, or one that is taken from an argument, is refused."""
    if _WIDE.search(pattern) or _NESTED.search(pattern):
        raise SecurityError("it formats with a width that is too large, or taken from a value")
    fields = pattern.count("{") + pattern.count("%")
    fits(len(pattern) + fields * (MAX_WIDTH // 1_000 + sum(weight(one) for one in arguments)))


def check_call(name: str, subject: Any, arguments: Iterable[Any], named: Mapping[str, Any]) -> None:
    """Before a filter or a method of a text runs: what it is told to make must be within the limits."""
    step()
    given = [*arguments, *named.values()]
    numbers = [one for one in given if isinstance(one, int)]
    if name in _SIZED and any(abs(one) > MAX_WIDTH for one in numbers):
        raise SecurityError(f"{name} is given a number beyond {MAX_WIDTH:,}")
    if name in _AS_THEY_ARE:
        return
    size = weight(subject) + sum(weight(one) for one in given)
    texts = [len(one) for one in given if isinstance(one, str | bytes)]
    if name == "replace" and isinstance(subject, str | bytes):
        fits(len(subject) * max(texts, default=1))
    elif name == "join":
        between = [len(subject)] if isinstance(subject, str | bytes) else []
        fits(size + size * max([*texts, *between], default=0))
    elif name in ("indent", "wordwrap"):
        fits(size + size * (max(texts, default=0) + max(numbers, default=0)))
    elif name in ("format", "format_map") and isinstance(subject, str):
        check_format(subject, given)


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
    """The tree with a step at the head of each body and condition, and each `~` and each container as a call."""
    for loop in tree.find_all(nodes.For):
        loop.body.insert(0, _step(loop.lineno))
        if loop.test is not None:
            loop.test = nodes.And(_call(STEP, [], loop.lineno), loop.test, lineno=loop.lineno)
    for macro in tree.find_all(nodes.Macro):
        macro.body.insert(0, _step(macro.lineno))
    for block in tree.find_all(nodes.CallBlock):
        block.body.insert(0, _step(block.lineno))
    for parent in list(tree.find_all(nodes.Node)):
        for field, value in parent.iter_fields():
            if isinstance(value, nodes.Node):
                setattr(parent, field, _guarded(value))
            elif isinstance(value, list):
                setattr(parent, field, [_guarded(one) if isinstance(one, nodes.Node) else one for one in value])
    return tree


def _guarded(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Expr):
        return node
    if isinstance(node, nodes.Concat):
        return _call(JOIN, node.nodes, node.lineno)
    is_made = isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
    if is_made and any(not isinstance(one, nodes.Const | nodes.Pair) for one in node.iter_child_nodes()):
        return _call(WEIGH, [node], node.lineno)
    if isinstance(node, nodes.Dict) and any(not isinstance(pair.value, nodes.Const) for pair in node.items):
        return _call(WEIGH, [node], node.lineno)
    return node


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _step(line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_call(STEP, [], line), lineno=line)
