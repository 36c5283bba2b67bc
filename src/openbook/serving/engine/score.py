"""How likely a prompt is, token by token: what an echo with log-probabilities tells, and evaluation harnesses ask for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.nn.batch import Batch
from openbook.lm.score import CHUNK_ROWS
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.events import Chosen


@torch.inference_mode()
def prompt_logprobs(engine: EngineCore, prompt: Sequence[int], top: int) -> list[Chosen]:
    """For each token but the first, which nothing predicts: its log-probability and the `top` likeliest in its place.

    One forward pass without the cache, in the arithmetic that the model is served in. UsageError for a prompt that is empty,
    too long, or not of this vocabulary.
    """
    vocabulary = engine.model.config.vocab_size
    if not 1 <= len(prompt) <= engine.max_seq_len:
        raise UsageError(f"the prompt has {len(prompt):,} tokens", f"give 1 to {engine.max_seq_len:,}")
    if not all(0 <= token < vocabulary for token in prompt):
        raise UsageError(f"a token of the prompt is not in 0..{vocabulary - 1}", "use the model's own tokenizer")
    if len(prompt) == 1:
        return []
    device = engine.model.device
    ids = torch.tensor(prompt, device=device)
    head = _Likeliest(ids[1:], min(top, vocabulary))
    logprobs = engine.model(ids, Batch.of([len(prompt)], device=device), rows=torch.arange(len(prompt) - 1), head=head)
    each = zip(prompt[1:], logprobs.tolist(), head.tokens, head.values, strict=True)
    return [Chosen(token, value, tuple(zip(*likeliest, strict=True))) for token, value, *likeliest in each]


class _Likeliest:
    """A head: log p(targets) of hidden rows; the likeliest tokens stay in `tokens` and `values`."""

    def __init__(self, targets: Tensor, top: int) -> None:
        self._targets, self._top = targets, top
        self.tokens: list[list[int]] = []
        self.values: list[list[float]] = []

    def __call__(self, hidden: Tensor, lm_head: nn.Module | None) -> Tensor:
        """hidden: (M, E) -> (M,); a chunk of the logits is in memory at a time."""
        assert lm_head is not None, "a decoder has a head over the vocabulary"
        found = []
        for piece, wanted in zip(torch.split(hidden, CHUNK_ROWS), torch.split(self._targets, CHUNK_ROWS), strict=True):
            logits = lm_head(piece).float()  # (m, V)
            normalizer = logits.logsumexp(dim=1)  # (m,)
            found.append(logits.gather(1, wanted[:, None])[:, 0] - normalizer)
            values, tokens = logits.topk(self._top, dim=1)  # (m, top) each
            self.tokens += tokens.tolist()
            self.values += (values - normalizer[:, None]).tolist()
        return torch.cat(found)
