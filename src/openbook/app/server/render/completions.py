"""Answers as /v1/completions gives them: chunks of a stream, or one reply. Both read the same events.

Source of the shapes: https://platform.openai.com/docs/api-reference/completions/object
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openbook.app.server.answers import Answers
from openbook.app.server.event_stream import sse
from openbook.app.server.json_text import as_json
from openbook.app.server.render.chat import DONE, Heading, broken_event, gathered, usage_entry
from openbook.serving.chat.events import Finished, TextDelta, TokenLogprob, Usage
from openbook.serving.engine.events import Chosen

_KIND = "text_completion"


@dataclass(frozen=True)
class Echoed:
    """A prompt that is repeated with log-probabilities. `tokens`: its own, the first without a probability. `named`: how a
    token is spelled.
    """

    text: str
    tokens: list[TokenLogprob]
    named: Callable[[Chosen], TokenLogprob]


async def completion_chunks(
    answers: Answers, heading: Heading, count: int, echoed: Sequence[Echoed], *, wants_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Server-sent events; `count`: of all answers to all prompts. `echoed`: empty, or of each prompt."""
    offsets = [0] * count
    no_usage = {"usage": None} if wants_usage else {}

    def chunk(index: int, text: str, logprobs: Sequence[TokenLogprob], reason: str | None) -> bytes:
        said = logprobs_entry(logprobs, offsets[index]) if logprobs else None
        offsets[index] += sum(len(one.token) for one in logprobs)
        choice = {"index": index, "text": text, "logprobs": said, "finish_reason": reason}
        return sse(as_json(heading.of(_KIND) | {"choices": [choice]} | no_usage))

    async with answers:
        await answers.begun()
        for index in range(count if echoed else 0):
            before = echoed[index * len(echoed) // count]
            yield chunk(index, before.text, before.tokens, None)
        async for index, event in answers.events():
            if isinstance(event, TextDelta):
                yield chunk(index, event.text, event.logprobs, None)
            elif isinstance(event, Finished):
                if event.reason == "error":
                    yield broken_event(event)
                    return
                last = _last(answers, index, echoed[index * len(echoed) // count]) if echoed else ()
                yield chunk(index, "", last, event.reason)
        if wants_usage:
            yield sse(as_json(heading.of(_KIND) | {"choices": [], "usage": usage_entry(answers.usage())}))
        yield DONE


async def completion_whole(
    answers: Answers,
    heading: Heading,
    num_prompts: int,
    count: int,
    best_of: int,
    echoed: Sequence[Echoed],
    *,
    wants_logprobs: bool,
    spelled: Callable[[Chosen], TokenLogprob] | None = None,
) -> dict[str, Any]:
    """One reply: of the `best_of` answers to each prompt the `count` whose tokens are likeliest on average. `spelled`: how a
    token is told, where the ids of all that was written are.
    """
    wholes = await gathered(answers, num_prompts * best_of)
    kept: list[int] = []
    for prompt in range(num_prompts):
        group = range(prompt * best_of, (prompt + 1) * best_of)
        kept += sorted(group, key=answers.mean_logprob, reverse=True)[:count] if best_of > count else group
    choices = []
    for index, place in enumerate(kept):
        whole = wholes[place]
        text, logprobs = whole.text, whole.logprobs
        if echoed:
            before = echoed[place // best_of]
            text, logprobs = before.text + text, [*before.tokens, *logprobs, *_last(answers, place, before)]
        ids: dict[str, Any] = {}
        if spelled is not None:
            tokens = answers.tokens(place)
            ids = {"token_ids": [one.token for one in tokens]}
            logprobs = [spelled(one) for one in tokens] if wants_logprobs else []
        said = logprobs_entry(logprobs, 0) if wants_logprobs else None
        reason = whole.finished.reason if whole.finished else None
        choices.append({"index": index, "text": text, "logprobs": said, "finish_reason": reason, **ids})
    return heading.of(_KIND) | {"choices": choices, "usage": usage_entry(answers.usage())}


def prompts_whole(heading: Heading, echoed: Sequence[Echoed]) -> dict[str, Any]:
    """The reply when nothing is to be written: the prompts and how likely they are."""
    choices = [
        {"index": index, "text": one.text, "logprobs": logprobs_entry(one.tokens, 0), "finish_reason": "length"}
        for index, one in enumerate(echoed)
    ]
    usage = Usage(sum(len(one.tokens) for one in echoed), 0)
    return heading.of(_KIND) | {"choices": choices, "usage": usage_entry(usage)}


def _last(answers: Answers, index: int, echoed: Echoed) -> Sequence[TokenLogprob]:
    """Behind an echo the end token is told too: who scores texts counts on one entry for each token."""
    end = answers.end_token(index)
    return () if end is None else (echoed.named(end),)


def logprobs_entry(logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """The older shape. `offset`: where the first token begins in the text, code points."""
    offsets = []
    for one in logprobs:
        offsets.append(offset)
        offset += len(one.token)
    nothing = float("-inf")  # of the first token of a text, which nothing predicts
    return {
        "tokens": [_key(one.token, one.raw) for one in logprobs],
        "token_logprobs": [None if one.logprob == nothing else one.logprob for one in logprobs],
        "top_logprobs": [None if one.logprob == nothing else _top(one) for one in logprobs],
        "text_offset": offsets,
    }


def _top(one: TokenLogprob) -> dict[str, float]:
    """The likeliest and the token itself, so that one more than was asked for is possible."""
    return {_key(token, raw): value for token, raw, value in one.likeliest} | {_key(one.token, one.raw): one.logprob}


def _key(token: str, raw: bytes) -> str:
    """A part of a character has no text of its own."""
    if token.encode("utf-8", "replace") == raw or not raw:
        return token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
