"""Which token stands for which characters, so that log-probabilities are told of what is shown and of nothing else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.decode import Hidden
from openbook.serving.chat.events import TokenLogprob
from openbook.serving.chat.vocabulary import token_bytes
from openbook.serving.engine.events import Chosen


@dataclass
class _Token:
    """`last`: the last place that it has a part in, -1 while that is not known. `raw`: what of it is shown."""

    chosen: Chosen
    last: int = -1
    raw: bytearray = field(default_factory=bytearray)


class TokenPlaces:
    """`push` each token with the text that came out after it; `show` the places that a reader sees, in order.

    The bytes of the tokens that are told are those of the text that is shown. A token is told when all of it is decided.
    """

    def __init__(self, tokenizer: Tokenizer, shown: frozenset[int] = frozenset()) -> None:
        self._tokenizer, self._hidden = tokenizer, Hidden(tokenizer, shown)
        self._tokens: deque[_Token] = deque()
        self._bytes: deque[tuple[_Token, int]] = deque()  # that no character was found for yet
        self._parts: dict[int, list[tuple[_Token, int]]] = {}  # place -> the bytes of its character
        self._end = 0

    def push(self, chosen: Chosen | None, text: str) -> None:
        """`chosen` None: only text that was held back."""
        if chosen is not None and chosen.token not in self._hidden:
            token = _Token(chosen)
            self._tokens.append(token)
            self._bytes.extend((token, one) for one in token_bytes(self._tokenizer, chosen.token))
        for char in text:
            self._place(char)

    def show(self, start: int, count: int) -> list[TokenLogprob]:
        """The tokens that are decided when the `count` characters from `start` on are shown, and all before them are decided."""
        for place in range(start, start + count):
            for token, byte in self._parts.get(place, ()):
                token.raw.append(byte)
        return self._decided(start + count)

    def finish(self) -> list[TokenLogprob]:
        """What is left, when nothing more is shown."""
        return self._decided(self._end)

    def _place(self, char: str) -> None:
        """Finds the bytes of the next character."""
        place, wanted = self._end, char.encode("utf-8", "replace")
        self._end += 1
        front = bytes(one for _, one in islice(self._bytes, 4))
        if front[:1] == b" " and not wanted.startswith(b" "):  # a first space that the tokenizer leaves out
            self._bytes.popleft()
            front = front[1:]
        size = len(wanted) if front.startswith(wanted) else _invalid(front)
        taken = [self._bytes.popleft() for _ in range(min(size, len(self._bytes)))]
        self._parts[place] = taken
        for token, _ in taken:
            token.last = place

    def _decided(self, end: int) -> list[TokenLogprob]:
        found = []
        waiting = {id(token) for token, _ in self._bytes}
        while self._tokens and self._tokens[0].last < end and id(self._tokens[0]) not in waiting:
            token = self._tokens.popleft()
            if token.raw:
                found.append(self._told(token))
        for place in [place for place in self._parts if place < end]:
            del self._parts[place]
        return found

    def _told(self, token: _Token) -> TokenLogprob:
        raw = bytes(token.raw)
        likeliest = tuple((*self._named(number), logprob) for number, logprob in token.chosen.likeliest)
        return TokenLogprob(raw.decode("utf-8", "replace"), raw, token.chosen.logprob or 0.0, likeliest)

    def _named(self, number: int) -> tuple[str, bytes]:
        raw = token_bytes(self._tokenizer, number)
        return raw.decode("utf-8", "replace"), raw


def _invalid(front: bytes) -> int:
    """How many bytes in front became one U+FFFD."""
    try:
        front.decode()
    except UnicodeDecodeError as error:
        return error.end if error.start == 0 else 1
    return 1
