"""The text that a reader sees: held back where a stop string may begin, with the log-probabilities of its tokens."""

from __future__ import annotations

from collections import deque

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import TextDelta
from openbook.serving.chat.places import TokenPlaces
from openbook.serving.chat.reading import Reading
from openbook.serving.chat.stops import Stops
from openbook.serving.engine.events import Chosen


class ShownText:
    """`push` every token, `say` what of the decoded text is for the reader, in order."""

    def __init__(self, tokenizer: Tokenizer, reading: Reading) -> None:
        self._stops = Stops(reading.stop)
        self._places = TokenPlaces(tokenizer, reading.shown) if reading.wants_logprobs else None
        self._runs: deque[tuple[int, int]] = deque()  # (place, length) of what was said and is not shown yet

    @property
    def is_stopped(self) -> bool:
        return self._stops.is_stopped

    def push(self, chosen: Chosen | None, text: str) -> None:
        """A token, and what of the text came out after it."""
        if self._places is not None:
            self._places.push(chosen, text)

    def say(self, text: str, start: int) -> TextDelta:
        """`text` is for the reader; `start`: its place in what was decoded. What is certain of it."""
        if self._places is not None:
            self._runs.append((start, len(text)))
        return self._delta(self._stops.push(text))

    def pause(self) -> TextDelta:
        """Something else than text follows: what was held back becomes no stop string any more."""
        return self._delta(self._stops.finish())

    def finish(self) -> TextDelta:
        """What is left, with the tokens that were not told yet."""
        delta = self.pause()
        if self._places is None:
            return delta
        return TextDelta(delta.text, (*delta.logprobs, *self._places.finish()))

    def _delta(self, text: str) -> TextDelta:
        if self._places is None or not text:
            return TextDelta(text)
        left, logprobs = len(text), []
        while left:
            start, size = self._runs.popleft()
            taken = min(size, left)
            logprobs += self._places.show(start, taken)
            left -= taken
            if taken < size:
                self._runs.appendleft((start + taken, size - taken))
        return TextDelta(text, tuple(logprobs))
