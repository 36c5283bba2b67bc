"""What a parser finds in an answer, before stop strings and ids: pieces, in order."""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """Text for the reader; `start`: its place in the answer as it was decoded, code points."""

    text: str
    start: int


class Thought(NamedTuple):
    text: str


class Begun(NamedTuple):
    """A tool call; `call` counts them from 0."""

    call: int
    name: str


class Arguments(NamedTuple):
    """The next piece of a call's arguments, JSON."""

    call: int
    text: str


class Ended(NamedTuple):
    """The call is complete."""

    call: int


Part = Said | Thought | Begun | Arguments | Ended


def merged(parts: list[Part]) -> list[Part]:
    """The same with neighbours joined that follow on one another."""
    found: list[Part] = []
    for part in parts:
        match found[-1] if found else None, part:
            case Said(before, start), Said(text, after) if after == start + len(before):
                found[-1] = Said(before + text, start)
            case Thought(before), Thought(text):
                found[-1] = Thought(before + text)
            case Arguments(index, before), Arguments(same, text) if index == same:
                found[-1] = Arguments(index, before + text)
            case _:
                found.append(part)
    return found
