"""Prompts that are repeated with the log-probability of each of their tokens, as evaluation harnesses ask for them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from openbook.app.server.render.completions import Echoed
from openbook.app.server.service import Service
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import TokenLogprob
from openbook.serving.chat.vocabulary import token_bytes
from openbook.serving.engine.events import Chosen


async def echoes(
    service: Service,
    prompts: Sequence[str | list[int]],
    ids: Sequence[Sequence[int]],
    top: int,
    salt: bytes,
    adapter: str | None = None,
) -> list[Echoed]:
    """Of each prompt, as text or ids, its text and its tokens. UsageError for one that the engine refuses."""
    found = []
    for prompt, tokens in zip(prompts, ids, strict=True):
        begun = time.monotonic()
        service.admission.enter(1)
        try:
            scored = await service.engine.score(tokens, top, salt=salt, adapter=adapter)
        finally:
            service.admission.leave(time.monotonic() - begun)
        text = prompt if isinstance(prompt, str) else service.tokenizer.decode(prompt)

        def named(chosen: Chosen) -> TokenLogprob:
            return spelled(service.tokenizer, chosen)

        first = Chosen(tokens[0], float("-inf"))
        found.append(Echoed(text, [named(one) for one in (first, *scored)], named))
    return found


def spelled(tokenizer: Tokenizer, chosen: Chosen) -> TokenLogprob:
    """A special token is spelled as the vocabulary has it."""

    def text_of(number: int) -> tuple[str, bytes]:
        raw = token_bytes(tokenizer, number)
        return raw.decode("utf-8", "replace"), raw

    likeliest = tuple((*text_of(token), value) for token, value in chosen.likeliest)
    return TokenLogprob(*text_of(chosen.token), chosen.logprob or 0.0, likeliest)
