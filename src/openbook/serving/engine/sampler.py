"""The next token of each sequence, by its own parameters and its own stream of random numbers.

A draw depends on the request's seed and the token's place alone: not on what runs beside it, nor on how often it was preempted.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.core.messages import SamplingParams
from openbook.serving.engine.constraint import restrict
from openbook.serving.engine.events import NO_TOKEN, Chosen
from openbook.serving.engine.processor import process
from openbook.serving.engine.sequence import Sequence

Peaks = NDArray[np.float32]
_LIKELY = 1_024
"""How many are sorted first: nearly always they hold `top_p`, and a whole vocabulary takes a hundred times as long."""
_GREEDY_BELOW = 1e-5
"""Logits over a smaller temperature may be infinite, and the likeliest token has all of the probability long before."""
_SEEDS = 2**128
_WORD = 2**64 - 1


@torch.inference_mode()
def choose(logits: Tensor, sequences: list[Sequence], peaks: Peaks | None = None) -> list[Chosen]:
    """logits: (S, V) float32, changed in place -> a token for each sequence; `NO_TOKEN` where none can be drawn.

    `peaks`: see `runner.Computed`.
    """
    for place, sequence in enumerate(sequences):
        if _is_changed(sequence):
            peaks = None
            penalise(logits[place], sequence)
            if sequence.constraint is not None:
                restrict(logits[place], sequence.constraint)
    if process(logits, sequences):
        peaks = None
    found = []
    best = likeliest(logits, peaks)
    drawn = _drawn_whole(logits, sequences, best)
    for place, (sequence, first) in enumerate(zip(sequences, best, strict=True)):
        params = sequence.params
        if first < 0:
            found.append(Chosen(NO_TOKEN))
        elif place in drawn and not params.logprobs:
            found.append(drawn[place])
        elif is_greedy(params) and params.logprobs is None:
            found.append(Chosen(first))
        else:
            row = logits[place]
            if is_greedy(params):
                token = first
            else:
                token = drawn[place].token if place in drawn else draw(row, params, _uniform(sequence))
            found.append(Chosen(token) if params.logprobs is None else _explained(row, token, params))
    return found


def _drawn_whole(logits: Tensor, sequences: list[Sequence], best: list[int]) -> dict[int, Chosen]:
    """place -> what is drawn, of those that draw from their whole softmax."""
    if logits.device.type != "cpu" or logits.dtype != torch.float32 or logits.stride(1) != 1:
        return {}
    places = [at for at, one in enumerate(sequences) if best[at] >= 0 and _draws_whole(one.params)]
    if not places:
        return {}
    from openbook.lm.kernels.drawing import draw_rows

    own = [sequences[at] for at in places]
    scales = np.array([1 / one.params.temperature for one in own], np.float32)
    told = np.where([one.params.tempered_logprobs for one in own], scales, np.float32(1))
    uniforms = _uniforms(own)
    tokens, logprobs = np.empty(len(own), np.int64), np.empty(len(own), np.float64)
    draw_rows(logits.numpy(), logits.shape[1], np.array(places), scales, told, uniforms, tokens, logprobs)
    wants = [one.params.logprobs is not None for one in own]
    chosen = zip(tokens.tolist(), logprobs.tolist(), wants, strict=True)
    return {
        at: Chosen(token, said if wanted else None) for at, (token, said, wanted) in zip(places, chosen, strict=True)
    }


def _draws_whole(params: SamplingParams) -> bool:
    is_cut = params.top_k > 0 or params.top_p < 1 or params.min_p > 0 or params.typical_p < 1
    return not is_cut and not is_greedy(params)


def likeliest(logits: Tensor, peaks: Peaks | None = None) -> list[int]:
    """(S, V) -> the likeliest token of each row; -1 where a logit is no number, or the largest is infinite."""
    if logits.device.type != "cpu" or logits.dtype != torch.float32 or logits.stride(1) != 1:
        best = logits.max(dim=1)  # no number where any is none
        return torch.where(best.values.isfinite(), best.indices, -1).tolist()
    from openbook.lm.kernels import likeliest as kernel

    rows, stride = len(logits), logits.stride(0) if len(logits) > 1 else logits.shape[1]
    whole = logits if stride == logits.shape[1] else logits.as_strided((rows, stride), (stride, 1))
    found = np.empty(rows, np.int64)
    if peaks is not None:
        kernel.likeliest_by_peaks(whole.numpy(), logits.shape[1], peaks, found)
    else:
        kernel.likeliest(whole.numpy(), logits.shape[1], found)
    return found.tolist()


def _is_changed(sequence: Sequence) -> bool:
    """Whether anything is done to its logits before a token is chosen."""
    params = sequence.params
    has_penalty = params.repetition_penalty != 1.0 or params.presence_penalty or params.frequency_penalty
    return bool(has_penalty or params.logit_bias) or sequence.constraint is not None


def penalise(row: Tensor, sequence: Sequence) -> None:
    """row: (V,), changed in place by penalties and biases.

    Repetition (Keskar et al. 2019, https://arxiv.org/abs/1909.05858) counts prompt and answer: what was seen is divided by it
    where it is positive, multiplied where negative. Presence and frequency (the OpenAI API's) count the answer alone.
    """
    params = sequence.params
    if params.repetition_penalty != 1.0:
        seen = torch.tensor(sorted(set(sequence.tokens[sequence.num_virtual :])), device=row.device)
        known = row[seen]
        row[seen] = torch.where(known > 0, known / params.repetition_penalty, known * params.repetition_penalty)
    if (params.presence_penalty or params.frequency_penalty) and sequence.num_output:
        output = torch.tensor(sequence.output, device=row.device)
        tokens, counts = output.unique(return_counts=True)  # type: ignore[no-untyped-call]
        row[tokens] -= params.presence_penalty + params.frequency_penalty * counts.to(row.dtype)
    for token, bias in params.logit_bias:
        row[token] += bias


def draw(row: Tensor, params: SamplingParams, uniform: float) -> int:
    """One token of (V,) logits, by inverting the distribution at `uniform` in [0, 1)."""
    probabilities, tokens = allowed(row, params)
    sums = probabilities.double().cumsum(dim=0)
    place = int(torch.searchsorted(sums, uniform * float(sums[-1]), right=True))
    return int(tokens[min(place, len(tokens) - 1)])


def allowed(row: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """(probabilities, tokens), likeliest first, of what may be drawn; the probabilities need not sum to one.

    Sources: top-p: Holtzman et al. 2019, https://arxiv.org/abs/1904.09751; min-p: Nguyen et al. 2024,
    https://arxiv.org/abs/2407.01082; typical: Meister et al. 2022, https://arxiv.org/abs/2202.00666.
    """
    everything = (row / params.temperature).softmax(dim=0)
    probabilities, tokens = _sorted(everything, params)
    keep = torch.ones_like(probabilities, dtype=torch.bool)
    if params.top_p < 1:
        keep &= probabilities.cumsum(dim=0) - probabilities < params.top_p
    if params.min_p > 0:
        keep &= probabilities >= params.min_p * probabilities[0]
    if params.typical_p < 1:
        keep &= _typical(probabilities, params.typical_p)
    keep[0] |= not bool(keep.any())
    return probabilities[keep], tokens[keep]


def _sorted(everything: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    count = len(everything)
    if 0 < params.top_k < count:
        found = everything.topk(params.top_k)
        return found.values, found.indices
    if params.typical_p == 1 and (params.top_p < 1 or params.min_p > 0) and count > _LIKELY:
        found = everything.topk(_LIKELY)
        is_enough = float(found.values.sum()) >= params.top_p if params.top_p < 1 else False
        is_enough |= bool(found.values[-1] < params.min_p * found.values[0])
        if is_enough:
            return found.values, found.indices
    ordered = everything.sort(descending=True, stable=True)
    return ordered.values, ordered.indices


def _typical(probabilities: Tensor, mass: float) -> Tensor:
    """Those whose surprise is nearest to the expected one, until they hold `mass`."""
    shares = probabilities / probabilities.sum()
    surprise = -shares.clamp_min(1e-30).log()
    order = (surprise - (shares * surprise).sum()).abs().argsort(stable=True)
    sums = shares[order].cumsum(dim=0)
    keep = torch.zeros_like(shares, dtype=torch.bool)
    keep[order[sums - shares[order] < mass]] = True
    return keep


def is_greedy(params: SamplingParams) -> bool:
    return params.temperature < _GREEDY_BELOW


def _uniform(sequence: Sequence) -> float:
    seed = sequence.params.seed
    assert seed is not None, "the engine gives every sequence a seed"
    return uniform_at(seed, len(sequence.tokens))


def _uniforms(sequences: list[Sequence]) -> NDArray[np.float64]:
    """(R,) as `_uniform` says, all at once."""
    from openbook.lm.kernels.philox import first_uniforms

    seeds = [(one.params.seed or 0) % _SEEDS for one in sequences]
    low, high = (np.array([seed >> shift & _WORD for seed in seeds], np.uint64) for shift in (0, 64))
    found = np.empty(len(sequences), np.float64)
    first_uniforms(low, high, np.array([len(one.tokens) for one in sequences], np.uint64), found)
    return found


def uniform_at(seed: int, place: int) -> float:
    """The number in [0, 1) by which the token in this place is drawn."""
    return float(np.random.Generator(np.random.Philox(key=seed % _SEEDS, counter=place)).random())


def _explained(row: Tensor, token: int, params: SamplingParams) -> Chosen:
    is_tempered = params.tempered_logprobs and not is_greedy(params)
    logprobs = (row / params.temperature if is_tempered else row).log_softmax(dim=0)
    best = logprobs.topk(min(params.logprobs or 0, len(row)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    likeliest = tuple(pair for pair in pairs if pair[1] != -torch.inf)  # what is forbidden has no probability
    return Chosen(token, float(logprobs[token]), likeliest)


def rows_of(logits: Tensor, rows: list[int]) -> Tensor:
    """These rows of (M, V): a view where they lie side by side, each a copy of its own else (it may be changed)."""
    if not rows or rows == list(range(rows[0], rows[0] + len(rows))):
        return logits[rows[0] : rows[0] + len(rows)] if rows else logits
    return logits[torch.tensor(rows, device=logits.device)]
