"""Texts and pairs as an encoder reads them: ids, segments, and whether a text was cut. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from openbook.lm.tokenizers.backend import open_backend
from openbook.lm.tokenizers.pair_layout import PairLayout, around

if TYPE_CHECKING:
    import tokenizers


class Encoded(NamedTuple):
    """`ids` and `segments` with special tokens. `truncated`: the text had more tokens than the model reads."""

    ids: list[int]
    segments: list[int]
    truncated: bool


class Located(NamedTuple):
    """A text with special tokens; `places` and `spans` are of the others: where in `ids`, and which code points."""

    encoded: Encoded
    places: list[int]
    spans: list[tuple[int, int]]


class EncoderTokenizer:
    """Texts and pairs to ids, cut at `max_tokens` (special tokens included). Thread-safe."""

    def __init__(self, backend: tokenizers.Tokenizer, max_tokens: int) -> None:
        backend.enable_truncation(max_tokens, strategy="longest_first")
        self.max_tokens = max_tokens
        self._backend = backend

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text with its special tokens."""
        return [_encoded(one) for one in self._backend.encode_batch_fast(list(texts))]

    def encode_located(self, texts: Sequence[str]) -> list[Located]:
        """Each text with its special tokens, and where its own tokens stand in it."""
        return [_located(one) for one in self._backend.encode_batch(list(texts))]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Each pair in one sequence; the longer side is cut first."""
        return [_encoded(one) for one in self._backend.encode_batch_fast(list(pairs))]

    def encode_seams(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Each pair in one sequence, cut far from the place where the two meet: see `pair_layout.around`."""
        backend, layout = self._uncut
        room = self.max_tokens - layout.specials
        firsts, seconds = (
            [one.ids for one in backend.encode_batch_fast([pair[side] for pair in pairs], add_special_tokens=False)]
            for side in (0, 1)
        )
        found = []
        for first, second in zip(firsts, seconds, strict=True):
            ids, segments = layout.join(*around(first, second, room))
            found.append(Encoded(ids, segments, len(first) + len(second) > room))
        return found

    @cached_property
    def _uncut(self) -> tuple[tokenizers.Tokenizer, PairLayout]:
        backend = type(self._backend).from_str(self._backend.to_str())
        backend.no_truncation()
        return backend, PairLayout.of(backend)

    def vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self._backend.get_vocab()
        return vocabulary


def _encoded(encoding: tokenizers.Encoding) -> Encoded:
    return Encoded(encoding.ids, encoding.type_ids, bool(encoding.overflowing))


def _located(encoding: tokenizers.Encoding) -> Located:
    places = [place for place, is_special in enumerate(encoding.special_tokens_mask) if not is_special]
    return Located(_encoded(encoding), places, [encoding.offsets[place] for place in places])


class CheckpointTokens:
    """The `TokenCounter` of a checkpoint directory. Pickles by its path, so that parse workers can have it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each token, code points, in order, special tokens left out; nothing is cut."""
        encoding = _untruncated(self.directory).encode(text, add_special_tokens=False)
        return list(encoding.offsets)

    def __repr__(self) -> str:
        return f"CheckpointTokens({str(self.directory)!r})"


@lru_cache(maxsize=4)
def _untruncated(directory: Path) -> tokenizers.Tokenizer:
    return open_backend(directory)


def open_encoder_tokenizer(directory: Path, max_tokens: int) -> EncoderTokenizer:
    """The encoder's tokenizer of a checkpoint directory. ModelUnavailable when there is none, or it is broken."""
    return EncoderTokenizer(open_backend(directory), max_tokens)
