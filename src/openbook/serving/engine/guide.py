"""Reward-guided decoding: a token is chosen by what the model says of it, and by what a reward model says of the answer with it.

Source: Khanov et al. 2024 (ARGS), https://arxiv.org/abs/2402.01694, equation 2: among the k likeliest tokens v,
log p(v | x) + w r(x, v). Where we differ: r is the score of the answer as if it ended with v, taken behind the tokens that end a
turn, for there our reward models have learned to score; ARGS takes the score at v itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.memory import kv_bytes
from openbook.lm.reward import RewardModel
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.engine.cached_scores import BLOCK_SIZE, Asked, CachedScores
from openbook.serving.engine.loading import num_blocks
from openbook.serving.engine.sequence import Sequence

WEIGHT, TOP_K = 1.0, 10
_REMEDY = "train one from the model that it is to guide: openbook train reward model.path=DIR"


class RewardGuide:
    """A `LogitsProcessor`. Tokens that are not among the `top_k` likeliest are forbidden; `weight` 0 changes nothing.

    `end_tokens`: those that end an answer; such a candidate is scored as the answer that it ends. `num_seqs`: as many sequences
    have their keys and values in memory, where it is enough; the others' are computed again.
    """

    def __init__(
        self,
        reward: RewardModel,
        end_tokens: Collection[int],
        *,
        weight: float = WEIGHT,
        top_k: int = TOP_K,
        num_seqs: int = 32,
    ) -> None:
        check_guide(weight, top_k)
        self.weight, self.top_k = weight, top_k
        self._ends = frozenset(end_tokens)
        self._closing = closing_ids(reward.tokenizer)
        longest: int = min(reward.settings.max_tokens, reward.model.config.max_seq_len) - len(self._closing)
        tails = top_k * (1 + (len(self._closing) + BLOCK_SIZE) // BLOCK_SIZE)
        block = kv_bytes(reward.model, BLOCK_SIZE, 1)
        blocks = num_blocks(block, longest + tails * BLOCK_SIZE, num_seqs, None)
        self._scores = CachedScores(reward.model, blocks)
        self._longest = min(longest, self._scores.room(top_k, 1 + len(self._closing)))
        if self._longest < 1:
            raise UsageError(
                f"there is no room for {top_k} candidates beside a text of {longest:,} tokens", "lower top_k"
            )

    @classmethod
    def load(
        cls,
        directory: Path | str,
        tokenizer: Tokenizer,
        end_tokens: Collection[int],
        *,
        weight: float = WEIGHT,
        top_k: int = TOP_K,
        num_seqs: int = 32,
    ) -> RewardGuide:
        """The reward model in a directory, for a model with this tokenizer. ModelUnavailable, with the reason, for one that
        cannot guide it.
        """
        check_guide(weight, top_k)
        reward = RewardModel.load(directory)
        if why := why_not(reward, tokenizer):
            raise ModelUnavailable(f"{directory} cannot guide: {why}", _REMEDY)
        return cls(reward, end_tokens, weight=weight, top_k=top_k, num_seqs=num_seqs)

    @property
    def max_seq_len(self) -> int:
        return self._longest

    def forget(self, sequence: Sequence) -> None:
        self._scores.forget(sequence)

    def process(self, logits: Tensor, sequences: list[Sequence]) -> None:
        if self.weight == 0:
            return
        values, tokens = logits.topk(min(self.top_k, logits.shape[1]), dim=1)  # (S, k) each
        asked, places = [], []
        for place, sequence in enumerate(sequences):
            if not bool(values[place, 0].isfinite()):
                continue  # no number, or nothing is allowed: the sampler sees it
            allowed = tokens[place, values[place] > -torch.inf].tolist()
            text = sequence.tokens[sequence.num_virtual :]
            asked.append(Asked(sequence, text, [self._end(token) for token in allowed], sequence.salt))
            places.append(place)
        for place, scores in zip(places, self._scores.score(asked), strict=True):
            count = len(scores)
            guided = values[place, :count] + self.weight * torch.tensor(scores, device=logits.device)  # (count,)
            row = logits[place]
            row.fill_(-torch.inf)
            row[tokens[place, :count]] = guided

    def _end(self, token: int) -> list[int]:
        """What stands behind the text when `token` is chosen and the answer ends there."""
        if token in self._ends and self._closing:
            return self._closing
        return [token, *self._closing]


def check_guide(weight: float, top_k: int) -> None:
    """UsageError for settings that cannot be."""
    if not math.isfinite(weight) or weight < 0:
        raise UsageError(f"the weight of the guide is {weight!r}", "it may be 0 or more")
    if top_k < 1:
        raise UsageError(f"the guide looks at {top_k} tokens", "it may be 1 or more")


def why_not(reward: RewardModel, tokenizer: Tokenizer) -> str:
    """Why a reward model cannot guide a model with this tokenizer; empty where it can."""
    if not reward.model.causal:
        return f"it is a {reward.model.config.model_type} model, which reads an answer anew for each token; a decoder does not"
    if reward.settings.kind != "answers":
        return "it scores steps of a solution, no answers that are on their way"
    if reward.settings.prompts != "chat":
        return f"it learned prompts as {reward.settings.prompts}, and answers are written to chats"
    if reward.tokenizer.backend.get_vocab() != tokenizer.backend.get_vocab():
        return "its tokens are others than the model's"
    if reward.tokenizer.chat_template != tokenizer.chat_template:
        return "its chat template is another than the model's"
    return ""


def closing_ids(tokenizer: Tokenizer) -> list[int]:
    """What the chat template puts behind an answer: the end that two chats with different answers have in common."""
    first, second = (
        tokenizer.render(
            [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}], spans=False, literal=True
        ).ids
        for said in ("a", "b")
    )
    count = 0
    while count < min(len(first), len(second)) and first[-1 - count] == second[-1 - count]:
        count += 1
    return list(first[len(first) - count :])
