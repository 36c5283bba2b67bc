"""JSON as it comes, a character at a time: whether it can still become an object, and what each character belongs to."""

from __future__ import annotations

import re
from typing import Literal

SPACE = " \t\n\r"
Place = Literal["key", "value", "between"]

_LITERALS = ("true", "false", "null")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NUMBER_SO_FAR = re.compile(r"-?((0|[1-9][0-9]*)((\.[0-9]*)?|(\.[0-9]+)?[eE][+-]?[0-9]*))?")
_LONGEST_SCALAR = 400
_DEEPEST = 200


class ObjectScan:
    """One JSON object (RFC 8259). `push` is False for a character that no object can have there.

    After each character `place` says whether it is part of a key of this object, of one of its values, or of what stands
    between them; `is_done` is true behind the closing brace. Line breaks and other control characters in strings are let
    through, though JSON wants them escaped: models write them, and `is_control` tells.
    """

    def __init__(self) -> None:
        self.place: Place = "between"
        self.is_done = self.is_control = False
        self._open: list[str] = []
        self._expects: Literal["object", "key", "first key", "colon", "value", "first value", "comma"] = "object"
        self._string: Literal["", "key", "value"] = ""
        self._escape = 0  # characters of an escape that are to come; -1: its letter
        self._scalar = ""

    def push(self, char: str) -> bool:
        self.is_control = False
        if self._string:
            return self._in_string(char)
        if self._scalar:
            if char not in SPACE + ",]}":
                self._scalar += char
                return _may_be_scalar(self._scalar)
            if not _is_scalar(self._scalar):
                return False
            self._scalar = ""
            self._expects = "comma"
        return self._outside(char)

    def _in_string(self, char: str) -> bool:
        self.place = "key" if self._string == "key" and len(self._open) == 1 else "value"
        if self._escape == -1:
            self._escape = 4 if char == "u" else 0
            return char in '"\\/bfnrtu'
        if self._escape:
            self._escape -= 1
            return char in "0123456789abcdefABCDEF"
        if char == "\\":
            self._escape = -1
        elif char == '"':
            self._expects = "colon" if self._string == "key" else "comma"
            self._string = ""
        self.is_control = char < " "
        return True

    def _outside(self, char: str) -> bool:
        depth = len(self._open)
        self.place = "between" if depth <= 1 else "value"
        if char in SPACE:
            return True
        match self._expects, char:
            case "object", "{":
                self._open, self._expects = ["{"], "first key"
            case (("key" | "first key"), '"'):
                self._string = "key"
                self.place = "key" if depth == 1 else "value"
            case "colon", ":":
                self._expects = "value"
            case "comma", ",":
                self._expects = "key" if self._open[-1] == "{" else "value"
            case ("first key", "}") | ("first value", "]"):
                self._close()
            case "comma", ("}" | "]"):
                if self._open[-1] != ("{" if char == "}" else "["):
                    return False
                self._close()
            case (("value" | "first value"), _):
                self.place = "value"
                return self._begin_value(char)
            case _:
                return False
        return True

    def _begin_value(self, char: str) -> bool:
        if char == '"':
            self._string = "value"
        elif char in "{[":
            self._open.append(char)
            self._expects = "first key" if char == "{" else "first value"
            return len(self._open) <= _DEEPEST
        else:
            self._scalar = char
            return _may_be_scalar(char)
        return True

    def _close(self) -> None:
        self._open.pop()
        self._expects = "comma"
        self.is_done = not self._open
        self.place = "value" if self._open else "between"


def _may_be_scalar(text: str) -> bool:
    if len(text) > _LONGEST_SCALAR:
        return False
    return any(one.startswith(text) for one in _LITERALS) or _NUMBER_SO_FAR.fullmatch(text) is not None


def _is_scalar(text: str) -> bool:
    return text in _LITERALS or _NUMBER.fullmatch(text) is not None
