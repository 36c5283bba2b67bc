"""How each kind of model is asked what it knows: one measure a kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.lm.families.t5 import T5
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs
from openbook.lm.tokenizers.added import ends_of
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.loss import LossSum
from openbook.training.objectives.masked import MaskedLm
from openbook.training.objectives.spans import SpanCorruption
from openbook.training.recipe_parts import MaskedPart, SpansPart
from openbook.training.sources.masked import Masking, masked
from openbook.training.sources.pieces import EVAL_TOKENS, Piece, drawn
from openbook.training.sources.spans import Spoiling, spoiled
from openbook.training.special_tokens import sentinel

MOST_TOKENS = 256
"""Of a window of text."""
_USE = 4


class Probe(NamedTuple):
    prompt: str
    answer: str


class Measure(Protocol):
    """Asks under no_grad; both give name -> value."""

    def text(self, model: Family, name: str, text: str) -> dict[str, float]: ...

    def probes(self, model: Family, probes: Sequence[Probe]) -> dict[str, float]: ...


def measure_of(model: Family, tokenizer: Tokenizer, max_seq_len: int) -> Measure:
    """What fits the model: what it says, or else how its vectors lie."""
    size = min(max_seq_len, MOST_TOKENS)
    if model.causal:  # a reward model has a score in place of the vocabulary
        return Perplexity(tokenizer, size) if model.head_over == "tokens" else Drift(tokenizer, size)
    if isinstance(model, T5) and model.decoder is not None:
        if tokenizer.backend.token_to_id(sentinel(1)) is not None:
            return SpanLoss(tokenizer, size)
    elif getattr(model, "lm_head", None) is not None and "mask_token" in tokenizer.special:
        return MaskedLoss(tokenizer, size)
    return Drift(tokenizer, size)


class Perplexity:
    """exp of the mean of nats a token, each window by itself."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._before = ends_of(tokenizer)[0]

    def text(self, model: Family, name: str, text: str) -> dict[str, float]:
        total, count = 0.0, 0
        for some in _batches(_windows(self._tokenizer, text, self._size - len(self._before))):
            whole = [[*self._before, *one.tolist()] for one in some]
            ids, lengths = _joined(whole, model.device)
            total -= float(token_logprobs(model, ids, Batch.of(lengths, device=model.device)).sum())
            count += len(ids) - len(whole)
        return {"perplexity": math.exp(min(total / max(count, 1), 700.0))}

    def probes(self, model: Family, probes: Sequence[Probe]) -> dict[str, float]:
        """Right: each token of the answer is the likeliest. The answer's place is where the tokens of both texts part."""
        cut = [_cut(self._tokenizer, one) for one in probes]
        whole = [[*self._before, *ids] for ids, _ in cut]
        asked = [range(len(self._before) + at - 1, len(ids) - 1) for (_, at), ids in zip(cut, whole, strict=True)]
        kept = [at for at, places in enumerate(asked) if places and places[0] >= 0]
        targets = [whole[at][asked[at].start + 1 :] for at in kept]
        return _answered(model, [whole[at] for at in kept], [asked[at] for at in kept], targets, causal=True)


class MaskedLoss:
    """Nats of tokens that are hidden, the same ones each time."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._masking = tokenizer, Masking(tokenizer, MaskedPart())
        self._size = max(size - self._masking.taken(0), 1)

    def text(self, model: Family, name: str, text: str) -> dict[str, float]:
        pieces = _pieces(self._tokenizer, text, self._size)
        return _loss([MaskedLm().loss(model, masked(some, self._masking)) for some in pieces])

    def probes(self, model: Family, probes: Sequence[Probe]) -> dict[str, float]:
        """Right: each token of the answer is the likeliest where all of them are hidden."""
        masking = self._masking
        whole, asked, targets = list[list[int]](), list[range](), list[list[int]]()
        for ids, at in (_cut(self._tokenizer, one) for one in probes):
            if len(ids) <= self._size:
                hidden = [*ids[:at], *[masking.mask_id] * (len(ids) - at)]
                whole.append([*masking.before.tolist(), *hidden, *masking.behind.tolist()])
                asked.append(range(len(masking.before) + at, len(masking.before) + len(ids)))
                targets.append(ids[at:])
        return _answered(model, whole, asked, targets, causal=False)


class SpanLoss:
    """Nats of what a decoder writes, of the same spans each time. It is asked no probes."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._size, self._spoiling = tokenizer, size, Spoiling(tokenizer, SpansPart())

    def text(self, model: Family, name: str, text: str) -> dict[str, float]:
        pieces = _pieces(self._tokenizer, text, self._size)
        return _loss([SpanCorruption().loss(model, spoiled(some, self._spoiling)) for some in pieces])

    def probes(self, model: Family, probes: Sequence[Probe]) -> dict[str, float]:
        return {}


class Drift:
    """The cosine of the mean vector of each window with what it was when it was asked first. There are no probes."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._ends = tokenizer, ends_of(tokenizer)
        self._size = max(size - sum(map(len, self._ends)), 1)
        self._first: dict[str, Tensor] = {}

    def text(self, model: Family, name: str, text: str) -> dict[str, float]:
        before, behind = self._ends
        found: list[Tensor] = []
        for some in _batches(_windows(self._tokenizer, text, self._size)):
            ids, lengths = _joined([[*before, *one.tolist(), *behind] for one in some], model.device)
            batch = Batch.of(lengths, causal=model.causal, device=model.device)
            hidden = model(ids, batch, head="hidden")  # (N, E)
            found += [one.float().mean(dim=0) for one in torch.split(hidden, lengths)]
        vectors = torch.stack(found)  # (W, E)
        near = F.cosine_similarity(self._first.setdefault(name, vectors), vectors)
        return {"mean cosine of vectors": float(near.mean()), "least cosine of vectors": float(near.min())}

    def probes(self, model: Family, probes: Sequence[Probe]) -> dict[str, float]:
        return {}


def _answered(
    model: Family, whole: list[list[int]], asked: list[range], targets: list[list[int]], *, causal: bool
) -> dict[str, float]:
    """Of all probes: the share that is right, and the mean log-probability of a token of the answers."""
    if not whole:
        return {}
    right, total, count = 0, 0.0, 0
    for ids, places, wanted in zip(whole, asked, targets, strict=True):
        batch = Batch.of([len(ids)], causal=causal, device=model.device)
        rows = torch.tensor(list(places), device=model.device)
        logits = model(torch.tensor(ids, device=model.device), batch, rows=rows, head="logits").float()  # (M, V)
        known = torch.tensor(wanted, device=model.device)
        right += int((logits.argmax(dim=1) == known).all())
        total -= float(F.cross_entropy(logits, known, reduction="sum"))
        count += len(wanted)
    return {f"{len(whole)} probes, right": right / len(whole), f"{len(whole)} probes, log-probability": total / count}


def _cut(tokenizer: Tokenizer, probe: Probe) -> tuple[list[int], int]:
    """The ids of prompt and answer, and where the answer begins."""
    ids = tokenizer.encode(probe.prompt + probe.answer, add_special_tokens=False)
    prompt = tokenizer.encode(probe.prompt, add_special_tokens=False)
    same = 0
    while same < min(len(ids) - 1, len(prompt)) and ids[same] == prompt[same]:
        same += 1
    return ids, same


def _windows(tokenizer: Tokenizer, text: str, size: int) -> list[np.ndarray]:
    ids = np.array(tokenizer.encode(text, add_special_tokens=False), np.int64)
    return [ids[at : at + size] for at in range(0, len(ids), size) if len(ids) - at > 1]


def _batches(windows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    count = max(EVAL_TOKENS // max((len(one) for one in windows), default=1), 1)
    for at in range(0, len(windows), count):
        yield list(windows[at : at + count])


def _pieces(tokenizer: Tokenizer, text: str, size: int) -> Iterator[list[Piece]]:
    number = 0
    for some in _batches(_windows(tokenizer, text, size)):
        yield [Piece(ids, np.ones(len(ids), np.bool_), drawn(0, 0, number + at, _USE)) for at, ids in enumerate(some)]
        number += len(some)


def _loss(sums: Sequence[LossSum]) -> dict[str, float]:
    weight = sum(one.weight for one in sums)
    if not weight:
        return {}
    right = sum(one.metrics["accuracy"][0] for one in sums)
    return {"loss": sum(float(one.total) for one in sums) / weight, "accuracy": right / weight}


def _joined(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, list[int]]:
    ids = [token for one in sequences for token in one]
    return torch.tensor(ids, dtype=torch.int64, device=device), [len(one) for one in sequences]
