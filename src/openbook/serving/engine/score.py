"""How likely a prompt is, token by token: what an echo with log-probabilities tells, and evaluation harnesses ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.serving.engine.events import Chosen
from openbook.serving.engine.sequence import Sequence


@torch.inference_mode()
def score_prompt(sequence: Sequence, logits: Tensor, seen: int) -> None:
    """Adds to `prompt_scores` what the logits say. logits: (n, V) float32 behind tokens `seen`, `seen` + 1, ... of the prompt.

    A piece that is computed a second time after a preemption says nothing new.
    """
    top = sequence.params.prompt_logprobs
    assert top is not None, "only a request that asked for them has prompt scores"
    known = sequence.num_scored
    rows = logits[max(known - seen, 0) : sequence.num_prompt - 1 - seen]
    if not len(rows):
        return
    targets = sequence.tokens[known + 1 : known + 1 + len(rows)]
    wanted = torch.tensor(targets, device=rows.device)
    normalizer = rows.logsumexp(dim=1)  # (n,)
    chosen = (rows.gather(1, wanted[:, None])[:, 0] - normalizer).tolist()
    best = rows.topk(min(top, rows.shape[1]), dim=1)  # (n, top)
    tokens, values = best.indices.tolist(), (best.values - normalizer[:, None]).tolist()
    for token, value, *likeliest in zip(targets, chosen, tokens, values, strict=True):
        sequence.prompt_scores.append(Chosen(token, value, tuple(zip(*likeliest, strict=True))))
