"""What a model thinks before it speaks, between <think> and </think> at the beginning of an answer, told apart while it comes."""

from __future__ import annotations

from typing import Literal

from openbook.serving.chat.calls import overlap
from openbook.serving.chat.json_scan import SPACE
from openbook.serving.chat.parts import Part, Said, Thought

BEGIN, END = "<think>", "</think>"


class ThoughtParser:
    """`is_open`: the prompt ends with <think> already. White space around thoughts is dropped.

    A thought that is never closed is one to the end.
    """

    def __init__(self, is_open: bool = False) -> None:
        self._buffer = ""
        self._start = 0
        self._state: Literal["before", "inside", "behind", "said"] = "inside" if is_open else "before"
        self._has_thought = False

    @property
    def is_thinking(self) -> bool:
        return self._state == "inside"

    def push(self, text: str) -> list[Part]:
        self._buffer += text
        parts: list[Part] = []
        while self._step(parts):
            pass
        return parts

    def finish(self) -> list[Part]:
        parts: list[Part] = []
        if self._state == "inside":
            self._think(parts, self._buffer.strip(SPACE) if not self._has_thought else self._buffer.rstrip(SPACE))
        elif self._state == "before" and self._buffer:
            parts.append(Said(self._buffer, self._start))
        self._buffer = ""
        return parts

    def _step(self, parts: list[Part]) -> bool:
        content = self._buffer.lstrip(SPACE)
        match self._state:
            case "before":
                if content.startswith(BEGIN):
                    self._drop(len(self._buffer) - len(content) + len(BEGIN))
                    self._state = "inside"
                elif BEGIN.startswith(content):
                    return False
                else:
                    self._state = "said"
            case "inside":
                return self._inside(parts)
            case "behind":
                self._drop(len(self._buffer) - len(content))
                if not content:
                    return False
                self._state = "said"
            case "said":
                if self._buffer:
                    parts.append(Said(self._buffer, self._start))
                    self._drop(len(self._buffer))
                return False
        return True

    def _inside(self, parts: list[Part]) -> bool:
        if not self._has_thought:
            self._drop(len(self._buffer) - len(self._buffer.lstrip(SPACE)))
        end = self._buffer.find(END)
        if end >= 0:
            self._think(parts, self._buffer[:end].rstrip(SPACE))
            self._drop(end + len(END))
            self._state = "behind"
            return True
        certain = self._buffer[: len(self._buffer) - overlap(self._buffer, END)].rstrip(SPACE)
        self._think(parts, certain)
        self._drop(len(certain))
        return False

    def _think(self, parts: list[Part], text: str) -> None:
        if text:
            self._has_thought = True
            parts.append(Thought(text))

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._start += size
