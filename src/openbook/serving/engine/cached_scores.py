"""Scores of texts that grow by a token a step, with several ends tried behind each: what was read is not read again.

Keys and values lie in blocks, as the engine's own do. Each end is read in blocks of its own behind the text; when its first token
becomes a part of the text, its block does too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from openbook.lm.families.base import Family
from openbook.serving.engine.blocks import BlockManager, block_hashes
from openbook.serving.engine.plan import Piece, StepPlan
from openbook.serving.engine.runner import Runner

BLOCK_SIZE = 16
_STEP_TOKENS = 2_048
"""Of a forward pass over texts that were not read."""


class Asked(NamedTuple):
    """`ends`: each is scored as if the text, `tokens`, ended with it. `key`: whose text it is; a later one begins with an earlier
    one. `salt`: see `block_hashes`.
    """

    key: Hashable
    tokens: list[int]
    ends: list[list[int]]
    salt: bytes = b""


@dataclass
class _Text:
    """`read`: tokens whose keys and values lie in `table`. `tails`: the blocks of ends, by their first token."""

    salt: bytes
    read: list[int] = field(default_factory=list)
    table: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    tails: dict[int, list[int]] = field(default_factory=dict)


class CachedScores:
    """`model`: a decoder with a head of one number. `num_blocks` blocks hold its keys and values. For one thread."""

    def __init__(self, model: Family, num_blocks: int) -> None:
        self.blocks = BlockManager(num_blocks, BLOCK_SIZE)
        self._runner = Runner(model, num_blocks, BLOCK_SIZE, model.dtype)
        self._texts: dict[Hashable, _Text] = {}  # the one that was asked last stands last

    def room(self, num_ends: int, longest: int) -> int:
        """The most tokens of a text that fits with so many ends of at most `longest` tokens."""
        tail = self.blocks.blocks_for(longest + BLOCK_SIZE - 1)
        return max(self.blocks.num_blocks - num_ends * tail, 0) * BLOCK_SIZE

    def score(self, asked: Sequence[Asked]) -> list[list[float]]:
        """Of each end of each text. The caller has looked at `room`."""
        found: list[list[float]] = []
        rounds = self._rounds(asked) if asked else []
        for one in rounds:
            self._make_room(one)
            self._read([(self._begun(each), each.tokens) for each in one])
            found += self._ends(one)
            if len(rounds) > 1:
                for each in one:
                    self.forget(each.key)
        return found

    def forget(self, key: Hashable) -> None:
        text = self._texts.pop(key, None)
        if text is not None:
            self._drop_tails(text)
            self.blocks.release(text.table)

    def _needs(self, one: Asked) -> int:
        """Blocks that it takes at most."""
        count, size = len(one.tokens), BLOCK_SIZE
        tails = sum(self.blocks.blocks_for(count + len(end)) - count // size for end in one.ends)
        return self.blocks.blocks_for(count) + tails

    def _rounds(self, asked: Sequence[Asked]) -> list[list[Asked]]:
        """What there are blocks for at once."""
        rounds: list[list[Asked]] = [[]]
        left = self.blocks.num_blocks
        for one in asked:
            needed = self._needs(one)
            assert needed <= self.blocks.num_blocks, "score() without looking at room()"
            if needed > left:
                rounds.append([])
                left = self.blocks.num_blocks
            rounds[-1].append(one)
            left -= needed
        return rounds

    def _make_room(self, round_: Sequence[Asked]) -> None:
        """Texts of others are forgotten, the oldest first, until all of these have their blocks."""
        own = {one.key for one in round_}
        needed = sum(map(self._needs, round_))
        for key in [key for key in self._texts if key not in own]:
            held = sum(len(text.table) + sum(map(len, text.tails.values())) for text in self._others(own))
            if self.blocks.num_blocks - held >= needed:
                return
            self.forget(key)

    def _others(self, own: set[Hashable]) -> list[_Text]:
        return [text for key, text in self._texts.items() if key not in own]

    def _begun(self, one: Asked) -> _Text:
        """Its text as far as it is known; the end that became a part of it is taken over."""
        text = self._texts.pop(one.key, None)
        if text is not None:
            at = len(text.read)
            if one.tokens[:at] == text.read:
                if len(one.tokens) > at and one.tokens[at] in text.tails:
                    self._take_over(text, one.tokens[at])
                self._drop_tails(text)
                self._texts[one.key] = text
                return text
            self._drop_tails(text)
            self.blocks.release(text.table)
        text = self._texts[one.key] = _Text(one.salt)
        return text

    def _take_over(self, text: _Text, token: int) -> None:
        own = text.tails.pop(token)
        if len(text.read) % BLOCK_SIZE:
            self.blocks.release([text.table.pop()])  # its copy goes on
        text.table.append(own[0])
        self.blocks.release(own[1:])
        text.read.append(token)
        self._seal(text)

    def _drop_tails(self, text: _Text) -> None:
        for blocks in text.tails.values():
            self.blocks.release(blocks)
        text.tails = {}

    def _read(self, texts: Sequence[tuple[_Text, list[int]]]) -> None:
        """Texts that begin alike (the answers to one prompt) are read once, all but their last block."""
        fresh: set[tuple[bytes, tuple[int, ...]]] = set()
        first: list[tuple[_Text, list[int]]] = []
        twins: list[tuple[_Text, list[int]]] = []
        for text, tokens in texts:
            name = (text.salt, tuple(tokens))
            (twins if not text.read and name in fresh else first).append((text, tokens))
            if not text.read:
                fresh.add(name)
        for group in (first, twins):
            for text, tokens in group:
                if not text.read:
                    self._find(text, tokens)
            self._pass_over(group)

    def _find(self, text: _Text, tokens: list[int]) -> None:
        """What other texts have in common with its beginning is not read again."""
        names = block_hashes(tokens, BLOCK_SIZE, text.salt)
        known = self.blocks.find(names)
        self.blocks.share(known)
        text.table, text.hashes, text.read = known, names[: len(known)], tokens[: len(known) * BLOCK_SIZE]

    def _pass_over(self, texts: Sequence[tuple[_Text, list[int]]]) -> None:
        """Forward passes over what is not read, of at most `_STEP_TOKENS`."""
        waiting = [one for one in texts if len(one[0].read) < len(one[1])]
        while waiting:
            pieces, left = [], _STEP_TOKENS
            for number, (text, tokens) in enumerate(waiting):
                new = tokens[len(text.read) :][:left]
                if not new:
                    break
                seen = len(text.read)
                text.table += self.blocks.allocate(self.blocks.blocks_for(seen + len(new)) - len(text.table))
                pieces.append(Piece(number, new, seen, list(text.table), 0))
                text.read += new
                left -= len(new)
            self._runner.run(StepPlan(pieces, []))
            for text, _ in waiting:
                self._seal(text)
            waiting = [one for one in waiting if len(one[0].read) < len(one[1])]

    def _seal(self, text: _Text) -> None:
        done = len(text.hashes)
        full = len(text.read) // BLOCK_SIZE
        if full > done:
            before = text.hashes[-1] if text.hashes else None
            names = block_hashes(text.read[done * BLOCK_SIZE : full * BLOCK_SIZE], BLOCK_SIZE, text.salt, before)
            for block, name in zip(text.table[done:full], names, strict=True):
                self.blocks.seal(block, name)
            text.hashes += names

    def _ends(self, round_: Sequence[Asked]) -> list[list[float]]:
        """All ends of all texts in one forward pass."""
        pieces: list[Piece] = []
        copies: list[tuple[int, int]] = []
        for one in round_:
            text, count = self._texts[one.key], len(one.tokens)
            whole = count // BLOCK_SIZE
            for end in one.ends:
                own = self.blocks.allocate(self.blocks.blocks_for(count + len(end)) - whole)
                if count % BLOCK_SIZE:
                    copies.append((text.table[whole], own[0]))
                pieces.append(Piece(len(pieces), end, count, [*text.table[:whole], *own], 1))
        computed = self._runner.run(StepPlan(pieces, copies))
        scores = dict(zip((piece.number for piece in computed.pieces), computed.logits[:, 0].tolist(), strict=True))
        return self._kept(round_, pieces, scores)

    def _kept(self, round_: Sequence[Asked], pieces: Sequence[Piece], scores: dict[int, float]) -> list[list[float]]:
        """The scores, text by text; an end's blocks stay with its text, those of a second end with the same first token go."""
        found, place = [], 0
        for one in round_:
            text = self._texts[one.key]
            for piece in pieces[place : place + len(one.ends)]:
                own = piece.block_table[len(one.tokens) // BLOCK_SIZE :]
                if piece.tokens[0] in text.tails:
                    self.blocks.release(own)
                else:
                    text.tails[piece.tokens[0]] = own
            found.append([scores[number] for number in range(place, place + len(one.ends))])
            place += len(one.ends)
        return found
