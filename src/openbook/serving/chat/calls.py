"""Tool calls in an answer, whatever format a model was taught: one incremental parser, and the marks of each format.

What a parser gives depends on the whole text alone, not on how it was cut into pieces. A call that breaks off before its name
and the beginning of its arguments are known is text; white space around calls is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openbook.serving.chat.call_object import CallObject, Status
from openbook.serving.chat.json_scan import SPACE
from openbook.serving.chat.parts import Arguments, Begun, Ended, Part, Said


@dataclass(frozen=True)
class CallSyntax:
    """`begin` and `end` stand around a call, `joiner` between two. `is_list`: calls stand in brackets. `is_bare`: at the
    beginning of an answer `begin` may be missing; only tools that the request names are then taken for calls.
    """

    begin: str
    end: str = ""
    joiner: str = ""
    is_list: bool = False
    is_bare: bool = False


class CallParser:
    """`names`: the tools of the request. `hides_marks`: `begin` is a special token, which is never shown."""

    def __init__(self, syntax: CallSyntax, names: frozenset[str] = frozenset(), hides_marks: bool = False) -> None:
        self._syntax, self._names, self._hides_marks = syntax, names, hides_marks
        self._buffer = ""
        self._start = 0  # place of the buffer in the answer
        self._state: Literal["text", "call", "after"] = "text"
        self._is_head = True  # nothing but white space since the beginning or the last call
        self._in_list = self._has_begun = self._is_hidden = self._needs_name = False
        self._mark = (0, 0)  # [start, end) of `begin` or of the joiner in the buffer
        self._cursor = 0
        self._object: CallObject | None = None
        self._count = 0
        self._has_ended = False

    def push(self, text: str, start: int | None = None) -> list[Part]:
        """`start`: the place of `text`, where it does not follow on the last."""
        if start is not None and not self._buffer:
            self._start = start
        self._buffer += text
        return self._read()

    def finish(self) -> list[Part]:
        """What was held back, when no more comes."""
        self._has_ended = True
        return self._read()

    def _read(self) -> list[Part]:
        parts: list[Part] = []
        steps = {"text": self._text, "call": self._call, "after": self._after}
        while steps[self._state](parts):
            pass
        return parts

    def _text(self, parts: list[Part]) -> bool:
        """Text up to the next mark. True when there is more to do."""
        syntax, buffer = self._syntax, self._buffer
        content = buffer.lstrip(SPACE)
        if syntax.is_bare and self._is_head and content.startswith("{"):
            return self._open(len(buffer) - len(content), 0)
        at = buffer.find(syntax.begin)
        if at >= 0:
            lead = len(buffer[:at].rstrip(SPACE))
            self._say(parts, lead)
            self._is_hidden = self._hides_marks
            return self._open(at - lead, len(syntax.begin), needs_name=False)
        if self._has_ended:
            dropped = self._is_head and self._count > 0 and not content
            self._say(parts, 0 if dropped else len(buffer))
            self._drop(len(self._buffer))
            return False
        held = overlap(buffer, syntax.begin)
        self._say(parts, len(buffer[: len(buffer) - held].rstrip(SPACE)))
        return False

    def _open(self, at: int, size: int, needs_name: bool = True) -> bool:
        """A call may begin behind the `size` characters at `at`. `needs_name`: of a tool that is known."""
        self._mark, self._cursor = (at, at + size), at + size
        self._needs_name, self._object, self._state = needs_name, None, "call"
        return True

    def _call(self, parts: list[Part]) -> bool:
        while self._cursor < len(self._buffer):
            char = self._buffer[self._cursor]
            status = self._before_object(char) if self._object is None else self._in_object(parts, self._object, char)
            if status == "broken":
                return self._give_up(parts)
            self._cursor += 1
            if status == "done":
                parts.append(Ended(self._count))
                self._count += 1
                self._is_hidden = False
                self._drop(self._cursor)
                self._state, self._is_head = "after", True
                return True
        if self._object is not None and self._has_begun:
            self._drop(self._cursor)
            self._cursor = 0
        elif self._has_ended:
            return self._give_up(parts)
        return False

    def _before_object(self, char: str) -> Status:
        if char == "{":
            self._object, self._has_begun = CallObject(takes_other_keys=not self._needs_name), False
            self._object.push(char)
        elif char == "[" and self._syntax.is_list and not self._in_list:
            self._in_list = True
        elif char not in SPACE:
            return "broken"
        return "more"

    def _in_object(self, parts: list[Part], one: CallObject, char: str) -> Status:
        """Tells what is certain of the call."""
        status = one.push(char)
        if status == "broken" or one.name is None:
            return status
        if not self._has_begun:
            if self._needs_name and one.name not in self._names:
                return "broken"
            self._has_begun = True
            parts.append(Begun(self._count, one.name))
        if fresh := one.take():
            parts.append(Arguments(self._count, fresh))
        return status

    def _give_up(self, parts: list[Part]) -> bool:
        """What was taken for a call is none: its mark is text, and what follows is read as such."""
        self._state = "text"
        if self._object is not None and self._has_begun:
            # It was told already. What it has of arguments stays; the rest is text.
            self._count += 1
            self._drop(self._cursor)
            self._object = None
            return True
        start, end = self._mark
        self._object = None
        if self._is_hidden:
            self._say(parts, start)
            self._drop(end - start)
        else:
            self._say(parts, max(end, start + 1))
        self._is_head = self._is_hidden = self._in_list = False
        return True

    def _after(self, parts: list[Part]) -> bool:
        """Behind a call: another, the end of the list, the closing mark, or text."""
        content = self._buffer.lstrip(SPACE)
        lead = len(self._buffer) - len(content)
        syntax = self._syntax
        if not content and not self._has_ended:
            return False
        if syntax.joiner and content.startswith(syntax.joiner) and (self._in_list or not syntax.is_list):
            return self._open(lead, len(syntax.joiner), needs_name=not self._in_list)
        closing = "]" if self._in_list else syntax.end
        if closing and content.startswith(closing):
            self._drop(lead + len(closing))
        elif closing and closing.startswith(content) and not self._has_ended:
            return False
        elif closing and closing.startswith(content):
            self._drop(len(self._buffer))
        self._state, self._in_list = "text", False
        return True

    def _say(self, parts: list[Part], size: int) -> None:
        """The first `size` characters of the buffer are text."""
        if size > 0:
            text = self._buffer[:size]
            parts.append(Said(text, self._start))
            self._is_head = self._is_head and not text.strip(SPACE)
            self._drop(size)

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._start += size


def overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if mark.startswith(text[-size:]):
            return size
    return 0
