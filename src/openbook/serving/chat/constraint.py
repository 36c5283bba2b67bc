"""Grammars over a tokenizer's vocabulary, by llguidance: which tokens may come next, computed before each is drawn.

Source: https://github.com/guidance-ai/llguidance (an Earley parser over derivatives of regular expressions, a trie of tokens).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.grammar import grammar_error, named
from openbook.serving.chat.vocabulary import check_has_bytes, token_bytes

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_MOST_KEPT = 64
_NOTHING_COMES, _FORCED = "NoExtensionBias", "ff_tokens"
"""How llguidance says that no token may come next, and that those that must come have no end."""


class GrammarConstraint:
    """Satisfies `serving.engine.constraint.Constraint`."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size

    def allowed(self) -> NDArray[np.bool_]:
        words = np.zeros(-(-self._vocab_size // 32), np.int32)
        if not self._matcher.is_error():
            self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        if self._matcher.is_error():
            words[:] = 0
        bits = np.unpackbits(words.view(np.uint8), count=self._vocab_size, bitorder="little")
        return bits.view(np.bool_)

    def push(self, token: int) -> None:
        self._matcher.consume_token(token)

    @property
    def is_done(self) -> bool:
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def copy(self) -> GrammarConstraint:
        return GrammarConstraint(self._matcher.deep_copy(), self._vocab_size)


class GrammarCompiler:
    """Satisfies `serving.engine.constraint.Constraints`. The tokenizer is loaded for the first grammar; the last few that were
    compiled are kept. `vocab_size`: of the logits; `end_tokens`: of the model.
    """

    def __init__(self, load: Callable[[], Tokenizer], vocab_size: int, end_tokens: Iterable[int]) -> None:
        self._load, self._vocab_size, self._end_tokens = load, vocab_size, sorted(end_tokens)
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, GrammarConstraint] = OrderedDict()

    def __call__(self, grammar: str) -> GrammarConstraint:
        """Raises UsageError for a grammar that llguidance cannot enforce, with its reason, and for one that no answer follows."""
        with self._lock:
            found = self._compiled.get(grammar)
        if found is None:
            found = self._compile(grammar)  # without the lock: the engine's own thread does not wait for it
        with self._lock:
            self._compiled[grammar] = found
            self._compiled.move_to_end(grammar)
            if len(self._compiled) > _MOST_KEPT:
                self._compiled.popitem(last=False)
            return found.copy()

    def _compile(self, grammar: str) -> GrammarConstraint:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if matcher.is_error():
            raise grammar_error(matcher.get_error())
        _check_begins(matcher.deep_copy(), grammar, self._vocab_size)
        return GrammarConstraint(matcher, self._vocab_size)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper

        if not self._end_tokens:
            raise UsageError(
                "the model has no end token, so that no grammar can end its answers",
                "name eos_token_id in its generation_config.json",
            )
        words = _Words(self._load(), self._vocab_size, self._end_tokens[0])
        return LLTokenizer(TokenizerWrapper(words), eos_token=self._end_tokens)


def _check_begins(matcher: LLMatcher, grammar: str, vocab_size: int) -> None:
    """UsageError where no token may come first, where those that must come have no end, and where too many rules might come."""
    can_begin = GrammarConstraint(matcher, vocab_size).allowed().any()
    if can_begin and (forced := matcher.compute_ff_tokens()):
        matcher.try_consume_tokens(forced)
    reason = matcher.get_error() if matcher.is_error() else ""
    if reason.startswith(_NOTHING_COMES) or not (can_begin or reason):
        raise UsageError(
            f"no answer can follow {named(grammar)}", "give one that a text can follow from its first character on"
        )
    if _FORCED in reason:
        raise UsageError(
            f"no answer to {named(grammar)} ends, or what it forces is too long to follow",
            "let the rules that are made of themselves end too",
        )
    if reason:
        short = reason.split("; consider", maxsplit=1)[0].split("\n", maxsplit=1)[0]
        raise UsageError(
            f"{named(grammar)} is too large to be followed ({short})", "give fewer alternatives or optional properties"
        )


class _Words:
    """A tokenizer as llguidance asks for it. Tokens beyond its vocabulary stand for nothing and never come."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end: int) -> None:
        check_has_bytes(tokenizer)
        self.eos_token_id, self.bos_token_id = end, tokenizer.bos_id
        self.tokens = [token_bytes(tokenizer, number) for number in range(vocab_size)]
        self.special_token_ids = sorted(tokenizer.special_ids)
        self._tokenizer = tokenizer
        special = tokenizer.special_ids
        self._known = {raw: number for number, raw in enumerate(self.tokens) if raw and number not in special}
        self._longest = max(map(len, self._known), default=1)

    def __call__(self, text: bytes | str) -> list[int]:
        """How the model would write `text`; some tokenizers put a space in front, and then its longest tokens are taken."""
        raw = text if isinstance(text, bytes) else text.encode()
        ids = self._tokenizer.encode(raw.decode("utf-8", "ignore"), add_special_tokens=False)
        is_exact = all(number < len(self.tokens) for number in ids)
        return ids if is_exact and b"".join(self.tokens[number] for number in ids) == raw else self._greedy(raw)

    def _greedy(self, raw: bytes) -> list[int]:
        ids = []
        while raw:
            sizes = range(min(self._longest, len(raw)), 0, -1)
            size = next((size for size in sizes if raw[:size] in self._known), 0)
            if not size:
                break  # a byte without a token: what follows is not forced
            ids.append(self._known[raw[:size]])
            raw = raw[size:]
        return ids
