"""The tokens of an answer as parts: decoded, thoughts and tool calls told apart."""

from __future__ import annotations

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.calls import CallParser
from openbook.serving.chat.decode import decoder
from openbook.serving.chat.parts import Part, Said
from openbook.serving.chat.reading import Reading
from openbook.serving.chat.thoughts import ThoughtParser


class AnswerParser:
    """`decode` a token, then `read` its text. What it gives depends on the tokens alone."""

    def __init__(self, tokenizer: Tokenizer, reading: Reading) -> None:
        self._decoder = decoder(tokenizer, reading.shown, reading.before)
        self._thoughts = ThoughtParser(reading.thoughts == "are open") if reading.thoughts != "none" else None
        self._calls = _call_parser(tokenizer, reading)
        self._place = 0

    @property
    def is_thinking(self) -> bool:
        return self._thoughts is not None and self._thoughts.is_thinking

    def decode(self, token: int) -> str:
        return self._decoder.push([token])

    def decode_rest(self) -> str:
        return self._decoder.finish()

    def read(self, text: str) -> list[Part]:
        """What is certain after `text`."""
        if not text:
            return []
        start, self._place = self._place, self._place + len(text)
        return self._with_calls(self._thoughts.push(text) if self._thoughts else [Said(text, start)])

    def finish(self) -> list[Part]:
        """What was held back."""
        parts = self._with_calls(self._thoughts.finish()) if self._thoughts else []
        return parts + (self._calls.finish() if self._calls else [])

    def _with_calls(self, parts: list[Part]) -> list[Part]:
        if self._calls is None:
            return parts
        found: list[Part] = []
        for part in parts:
            found += self._calls.push(part.text, part.start) if isinstance(part, Said) else [part]
        return found


def _call_parser(tokenizer: Tokenizer, reading: Reading) -> CallParser | None:
    if reading.syntax is None:
        return None
    is_special = tokenizer.backend.token_to_id(reading.syntax.begin) in reading.shown
    return CallParser(reading.syntax, reading.tools, hides_marks=is_special)
