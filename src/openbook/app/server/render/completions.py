"""Answers as /v1/completions gives them: chunks of a stream, or one reply. Both read the same events.

Source of the shapes: https://platform.openai.com/docs/api-reference/completions/object
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from openbook.app.server.answers import Answers
from openbook.app.server.errors import error_body
from openbook.app.server.event_stream import sse
from openbook.app.server.json_text import as_json
from openbook.app.server.render.chat import DONE, Heading, gathered, usage_entry
from openbook.serving.chat.events import Finished, TextDelta, TokenLogprob

_KIND = "text_completion"


async def completion_chunks(
    answers: Answers, heading: Heading, count: int, *, wants_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Server-sent events; `count`: of all answers to all prompts."""
    offsets = [0] * count
    no_usage = {"usage": None} if wants_usage else {}

    def chunk(index: int, text: str, logprobs: Sequence[TokenLogprob], reason: str | None) -> bytes:
        said = logprobs_entry(logprobs, offsets[index]) if logprobs else None
        offsets[index] += sum(len(one.token) for one in logprobs)
        choice = {"index": index, "text": text, "logprobs": said, "finish_reason": reason}
        return sse(as_json(heading.of(_KIND) | {"choices": [choice]} | no_usage))

    async with answers:
        await answers.begun()
        async for index, event in answers.events():
            if isinstance(event, TextDelta):
                yield chunk(index, event.text, event.logprobs, None)
            elif isinstance(event, Finished):
                if event.reason == "error":
                    yield sse(as_json(error_body(500, event.message, code="broken_off")))
                    return
                yield chunk(index, "", (), event.reason)
        if wants_usage:
            yield sse(as_json(heading.of(_KIND) | {"choices": [], "usage": usage_entry(answers.usage())}))
        yield DONE


async def completion_whole(
    answers: Answers, heading: Heading, num_prompts: int, count: int, best_of: int, *, wants_logprobs: bool
) -> dict[str, Any]:
    """One reply: of the `best_of` answers to each prompt the `count` whose tokens are likeliest on average."""
    wholes = await gathered(answers, num_prompts * best_of)
    kept: list[int] = []
    for prompt in range(num_prompts):
        group = range(prompt * best_of, (prompt + 1) * best_of)
        kept += sorted(group, key=answers.mean_logprob, reverse=True)[:count] if best_of > count else group
    choices = []
    for index, place in enumerate(kept):
        whole = wholes[place]
        said = logprobs_entry(whole.logprobs, 0) if wants_logprobs else None
        reason = whole.finished.reason if whole.finished else None
        choices.append({"index": index, "text": whole.text, "logprobs": said, "finish_reason": reason})
    return heading.of(_KIND) | {"choices": choices, "usage": usage_entry(answers.usage())}


def logprobs_entry(logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """The older shape. `offset`: where the first token begins in the text, code points."""
    offsets = []
    for one in logprobs:
        offsets.append(offset)
        offset += len(one.token)
    return {
        "tokens": [one.token for one in logprobs],
        "token_logprobs": [one.logprob for one in logprobs],
        "top_logprobs": [{token: value for token, _, value in one.likeliest} for one in logprobs],
        "text_offset": offsets,
    }
