"""Byte-level byte-pair encoding to read and learn from: training, encoding and decoding, without a dependency.

Training begins with the 256 bytes and joins, again and again, the pair of neighbouring tokens that is most frequent, of
equally frequent ones the pair with the smaller ids. Encoding joins in the order in which training learned. The tokenizer
that is used is the Rust library (`backend.py`); its merges are the same (tested).

Sources: Gage 1994, "A new algorithm for data compression"; Sennrich et al. 2016, https://arxiv.org/abs/1508.07909;
Radford et al. 2019 (GPT-2), section 2.2: bytes instead of characters, and the pattern below.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

Pair = tuple[int, int]
_SHORT = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class Bpe(NamedTuple):
    """`merges` in the order in which they were learned; `pieces` maps a token's id to its bytes.

    The ids of the single bytes are those of GPT-2: in the order of the characters that it shows them as.
    """

    merges: tuple[Pair, ...]
    pieces: tuple[bytes, ...]

    def encode(self, text: str) -> list[int]:
        ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        return [token for word in words(text) for token in self._encode_word(word, ranks)]

    def _encode_word(self, word: str, ranks: dict[Pair, int]) -> list[int]:
        """Joins the pair that was learned first until no neighbours are left that were ever joined."""
        tokens = [BYTE_IDS[byte] for byte in word.encode()]
        while len(tokens) > 1:
            best = min(pairwise(tokens), key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            tokens = joined(tokens, best, 256 + ranks[best])
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", errors="replace")


def train(texts: Iterable[str], vocab_size: int) -> Bpe:
    """At most `vocab_size` - 256 merges; fewer when every word has become one token. Raises ValueError below 256."""
    if vocab_size < 256:
        raise ValueError(f"vocab_size {vocab_size} leaves no room for the 256 bytes: give 256 or more")
    counts = Counter(word for text in texts for word in words(text))
    tokens = [[BYTE_IDS[byte] for byte in word.encode()] for word in counts]
    weights = list(counts.values())
    frequency: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # the words that hold a pair, or once did
    for place, word in enumerate(tokens):
        for pair in pairwise(word):
            frequency[pair] += weights[place]
            where[pair].add(place)
    heap: list[tuple[int, Pair]] = []
    for pair, count in frequency.items():
        heappush(heap, (-count, pair))
    merges: list[Pair] = []
    pieces = [bytes([byte]) for byte in BYTES]
    while heap and len(pieces) < vocab_size:
        count, pair = heappop(heap)
        if -count != frequency[pair] or count == 0:  # an entry from before the count changed
            continue
        merges.append(pair)
        pieces.append(pieces[pair[0]] + pieces[pair[1]])
        changed: set[Pair] = set()
        for place in where.pop(pair):
            before = tokens[place]
            after = joined(before, pair, len(pieces) - 1)
            for old in pairwise(before):
                frequency[old] -= weights[place]
                changed.add(old)
            for new in pairwise(after):
                frequency[new] += weights[place]
                where[new].add(place)
                changed.add(new)
            tokens[place] = after
        for one in changed:
            if frequency[one] > 0:
                heappush(heap, (-frequency[one], one))
    return Bpe(tuple(merges), tuple(pieces))


def joined(tokens: Sequence[int], pair: Pair, new: int) -> list[int]:
    """`tokens` with every `pair`, from the left, replaced by `new`."""
    out: list[int] = []
    place = 0
    while place < len(tokens):
        if place + 1 < len(tokens) and (tokens[place], tokens[place + 1]) == pair:
            out.append(new)
            place += 2
        else:
            out.append(tokens[place])
            place += 1
    return out


def words(text: str) -> Iterator[str]:
    """The pieces over whose borders nothing is joined: English endings, letters, digits, other signs (each with one
    space before it), and white space.
    """
    start = 0
    while start < len(text):
        end = _word_end(text, start)
        yield text[start:end]
        start = end


def _word_end(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends; GPT-2's pattern: 's|'t|... | ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|
    \\s+(?!\\S)|\\s+
    """
    for ending in _SHORT:
        if text.startswith(ending, start):
            return start + len(ending)
    first = start + 1 if text[start] == " " and start + 1 < len(text) and not text[start + 1].isspace() else start
    kind = _kind(text[first])
    end = first
    while end < len(text) and _kind(text[end]) == kind:
        end += 1
    if kind == "space" and end < len(text) and end - start > 1:
        end -= 1  # the last blank belongs to the next word
    return end


def _kind(sign: str) -> str:
    if sign.isspace():
        return "space"
    category = unicodedata.category(sign)[0]
    return category if category in "LN" else "other"


def _byte_order() -> list[int]:
    """The bytes in the order of the characters that GPT-2 shows them as: printable Latin-1 first, then the others."""
    shown = [byte for byte in range(256) if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174]
    return shown + [byte for byte in range(256) if byte not in shown]


BYTES = tuple(_byte_order())
BYTE_IDS = {byte: place for place, byte in enumerate(BYTES)}
