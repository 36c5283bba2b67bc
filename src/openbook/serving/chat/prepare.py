"""A chat, or a text, as the engine takes it: token ids and parameters, and beside them how the answer is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from openbook.core.messages import ChatRequest, ResponseFormat, SamplingParams
from openbook.lm.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Reading:
    """How an answer is read: see `Reply`. `echo`: text in front of it; `echoed`: the tokens of that text."""

    stop: tuple[str, ...] = ()
    wants_logprobs: bool = False
    echo: str = ""
    echoed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """`prompt` and `params` go to the engine (plain data), `reading` to the `Reply`."""

    prompt: list[int]
    params: SamplingParams
    reading: Reading = field(default_factory=Reading)


def prepare_chat(tokenizer: Tokenizer, request: ChatRequest) -> Prepared:
    """A chat by the tokenizer's template.

    Raises UsageError for a chat that the template refuses, and for tools, formats and reasoning that cannot be had, each by
    name; ModelUnavailable for a tokenizer without a template.
    """
    # What people type is text: "<|im_end|>" in a question ends no turn.
    literal = tokenizer.is_byte_level
    rendered = tokenizer.render(request.messages, add_generation_prompt=True, spans=False, literal=literal)
    return Prepared(rendered.ids, request.sampling, _plain(request.sampling))


def prepare_completion(
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    params: SamplingParams,
    *,
    response_format: ResponseFormat | None = None,
    echo: bool = False,
) -> Prepared:
    """A text that is gone on with, or the ids of one; no chat template. `echo`: the answer begins with the prompt."""
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    reading = _plain(params)
    if echo:
        text = prompt if isinstance(prompt, str) else tokenizer.decode(ids, skip_special_tokens=True)
        reading = replace(reading, echo=text, echoed=tuple(ids))
    return Prepared(ids, params, reading)


def _plain(params: SamplingParams) -> Reading:
    return Reading(params.stop, params.logprobs is not None)
