"""What an engine and a request may ask for: held against what can be before a model is loaded, and before a request is taken,
so that no request can stop the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import SamplingParams

if TYPE_CHECKING:
    from openbook.lm.families.base import Family

_STRONGEST = 10_000.0
"""Of penalties and biases: beyond it a float32 logit may become infinite, and its probability no number."""


def check_writes(model: Family) -> None:
    """ModelUnavailable for a model that does not write: an encoder, an encoder-decoder, one that scores texts."""
    if not model.causal:
        raise ModelUnavailable(
            f"a {model.config.model_type} model does not write from left to right",
            "serve a decoder-only model; an encoder-decoder writes through openbook.lm.generate",
        )
    if model.head_over == "sequences":
        raise ModelUnavailable(
            "the model scores texts and writes none: its head gives numbers for a sequence, no next token",
            "give it beside a model that writes: openbook run MODEL --best-of 8 --reward DIR, or --guide DIR",
        )


def check_engine(
    max_seq_len: int | None,
    max_num_seqs: int,
    max_step_tokens: int,
    kv_cache_gb: float | None,
    num_speculative: int = 1,
    max_adapters: int = 0,
) -> None:
    """Raises UsageError, which names the limit of an engine that cannot be. None: what the model and the memory give."""
    counts = {
        "max_seq_len": max_seq_len,
        "max_num_seqs": max_num_seqs,
        "max_step_tokens": max_step_tokens,
        "num_speculative": num_speculative,
    }
    for name, value in counts.items():
        if value is None and name == "max_seq_len":
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
            raise _refused(name, value, "a whole number, 1 or more")
    if not isinstance(max_adapters, Integral) or isinstance(max_adapters, bool) or int(max_adapters) < 0:
        raise _refused("max_adapters", max_adapters, "a whole number, 0 or more")
    if kv_cache_gb is None:
        return
    if isinstance(kv_cache_gb, bool) or not isinstance(kv_cache_gb, Real) or not 0 < kv_cache_gb < inf:
        raise _refused("kv_cache_gb", kv_cache_gb, "a number of gigabytes above 0")


def check_count(n: int) -> None:
    """Raises UsageError for a number of answers that cannot be."""
    if not isinstance(n, Integral) or isinstance(n, bool) or int(n) < 1:
        raise _refused("n", n, "a whole number, 1 or more")


def check_params(params: SamplingParams, vocabulary: int) -> None:
    """Raises UsageError, which names the parameter and what it may be, for one that no token can be drawn by."""
    whole = {
        "max_tokens": (params.max_tokens, 1 if params.prompt_logprobs is None else 0),
        "top_k": (params.top_k, 0),
        "logprobs": (0 if params.logprobs is None else params.logprobs, 0),
        "prompt_logprobs": (0 if params.prompt_logprobs is None else params.prompt_logprobs, 0),
    }
    for name, (value, least) in whole.items():
        if not isinstance(value, Integral) or int(value) < least:
            raise _refused(name, value, f"a whole number, {least} or more")
    if not isinstance(params.seed, Integral | None):
        raise _refused("seed", params.seed, "a whole number, or none")
    for name in ("top_p", "min_p", "typical_p"):
        if not 0 <= getattr(params, name) <= 1:
            raise _refused(name, getattr(params, name), "from 0 to 1")
    if not 0 <= params.temperature < inf:
        raise _refused("temperature", params.temperature, "0 or more")
    if not 1 / _STRONGEST <= params.repetition_penalty <= _STRONGEST:
        raise _refused("repetition_penalty", params.repetition_penalty, f"from {1 / _STRONGEST} to {_STRONGEST:,.0f}")
    for name in ("presence_penalty", "frequency_penalty"):
        if not abs(getattr(params, name)) <= _STRONGEST:
            raise _refused(name, getattr(params, name), f"from -{_STRONGEST:,.0f} to {_STRONGEST:,.0f}")
    _check_bias(params.logit_bias, vocabulary)


def _check_bias(biases: Iterable[tuple[int, float]], vocabulary: int) -> None:
    """-inf forbids a token; one at least must be left."""
    forbidden: set[int] = set()
    for token, bias in biases:
        if not isinstance(token, Integral) or not 0 <= int(token) < vocabulary:
            raise _refused("a token of logit_bias", token, f"from 0 to {vocabulary - 1}")
        if bias != -inf and not (isfinite(bias) and abs(bias) <= _STRONGEST):
            raise _refused("a bias of logit_bias", bias, f"-inf, or from -{_STRONGEST:,.0f} to {_STRONGEST:,.0f}")
        if bias == -inf:
            forbidden.add(token)
    if len(forbidden) == vocabulary:
        raise UsageError("logit_bias forbids every token", "leave one")


def _refused(name: str, value: object, allowed: str) -> UsageError:
    return UsageError(f"{name} is {value!r}", f"it may be {allowed}")
