"""A tool call as every format writes it, a JSON object with a name and arguments, read while it comes."""

from __future__ import annotations

import json
from typing import Literal

from openbook.serving.chat.json_scan import SPACE, ObjectScan

_ARGUMENTS = ("arguments", "parameters")
_KEYS = (*_ARGUMENTS, "name", "type", "id")
Status = Literal["more", "broken", "done"]


class CallObject:
    """`push` takes the object a character at a time, from its brace on. `name` is set once the call has begun for certain: its
    name is known and its arguments are an object; from then on `take` gives what is new of the arguments.

    `takes_other_keys`: whether keys that calls do not have are passed over; else they show early that it is none.
    Arguments in front of the name wait for it. Arguments that are written as a string are read out of it; none are `{}`.
    """

    def __init__(self, takes_other_keys: bool = True) -> None:
        self.name: str | None = None
        self._takes_other_keys = takes_other_keys
        self._said_name: str | None = None
        self._scan = ObjectScan()
        self._key = self._value = ""
        self._is_in_value = False
        self._has_arguments = False
        self._fresh: list[str] = []

    def push(self, char: str) -> Status:
        if not self._scan.push(char):
            return "broken"
        place = self._scan.place
        if self._is_in_value and place != "value" and not self._end_value():
            return "broken"
        match place:
            case "key":
                self._key += char
            case "value":
                if not self._in_value(char):
                    return "broken"
            case "between" if char == ",":
                self._key = ""
            case "between" if char == ":" and not self._takes_other_keys and self._name_of_key() not in _KEYS:
                return "broken"
        if not self._scan.is_done:
            return "more"
        if self._said_name is None:
            return "broken"
        if not self._has_arguments:
            self._fresh.append("{}")
        self.name = self._said_name
        return "done"

    def take(self) -> str:
        """The arguments that came since."""
        fresh = "".join(self._fresh)
        self._fresh.clear()
        return fresh

    def _in_value(self, char: str) -> bool:
        self._is_in_value = True
        name = self._name_of_key()
        if name in _ARGUMENTS and not self._has_arguments and (self._value[:1] or char) not in "{":
            # No object (yet): a string that holds one, or null.
            self._value += char
            return self._value[0] in '"n'
        if name in _ARGUMENTS and not self._has_arguments:
            self._value = "{"
            self._fresh.append(json.dumps(char)[1:-1] if self._scan.is_control else char)
            self.name = self._said_name
        elif name == "name" and self._said_name is None:
            self._value += char
        return True

    def _end_value(self) -> bool:
        """Behind a value; False when it is none that a call may have."""
        self._is_in_value = False
        name, value, self._value = self._name_of_key(), self._value, ""
        if name == "name" and self._said_name is None:
            said = json.loads(value, strict=False)
            self._said_name = said if isinstance(said, str) and said and _is_sound(said) else None
            if self._said_name is not None and self._fresh:
                self.name = self._said_name
            return self._said_name is not None
        if name in _ARGUMENTS and not self._has_arguments:
            self._has_arguments = True
            if value != "{":
                return self._unwrap(value)
        return True

    def _unwrap(self, value: str) -> bool:
        inner = json.loads(value, strict=False)
        text = "{}" if inner is None else str(inner).strip(SPACE)
        try:
            is_object = isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            return False
        if is_object and _is_sound(text):
            self._fresh.append(text)
            self.name = self._said_name
            return True
        return False

    def _name_of_key(self) -> str:
        return str(json.loads(self._key, strict=False)) if self._key.endswith('"') else ""


def _is_sound(text: str) -> bool:
    """Without half characters, which no UTF-8 has."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
