"""Whether a prompt fits, and how long its answer may be. A text that is much too long is not made into tokens first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from openbook.app.server.errors import Refused
from openbook.app.server.service import Service
from openbook.serving.chat.prepare import Prepared

_CHARACTERS_A_TOKEN = 8
"""So much of a text is looked at for each token that there is room for; most texts have fewer a token, so that it is enough."""
_SURE = 1.25
"""Where a text is cut, its last tokens are others than in the whole: a beginning tells that the whole is too long by so much."""


def room_for(service: Service, prepared: Prepared, adapter: str | None, *, is_stated: bool) -> Prepared:
    """An answer whose length nobody stated may fill what the prompt leaves. 400 with both numbers for a prompt that is too
    long: nothing is cut.
    """
    count, limit = len(prepared.prompt), service.engine.facts.max_seq_len
    virtual = service.engine.adapters.get(adapter, 0) if adapter is not None else 0
    if virtual + count + min(prepared.params.max_tokens, 1) > limit:
        own = f" and {virtual:,} of the adapter" if virtual else ""
        raise Refused(
            400,
            f"the prompt has {count:,} tokens{own}, the limit is {limit:,} with the answer: "
            "shorten it, or serve with a larger --max-seq-len",
            code="context_length_exceeded",
        )
    if is_stated:
        return prepared
    return replace(prepared, params=replace(prepared.params, max_tokens=max(service.tokens_room(adapter) - count, 1)))


def room_check(service: Service) -> Callable[[str], None]:
    """400 with both numbers for a text whose beginning alone has too many tokens; the rest of it is not looked at.

    8 MB of text take seconds and a gigabyte to become tokens, the beginning of it a small part of that. What passes may still be
    too long: `room_for` counts.
    """
    limit = service.engine.facts.max_seq_len

    def check(text: str) -> None:
        size = _CHARACTERS_A_TOKEN * limit
        while size < len(text):
            count = len(service.tokenizer.encode(text[:size], add_special_tokens=False))
            if count > _SURE * limit:
                raise Refused(
                    400,
                    f"the prompt has {len(text):,} characters, the first {size:,} of them are {count:,} tokens already, the "
                    f"limit is {limit:,} with the answer: shorten it, or serve with a larger --max-seq-len",
                    code="context_length_exceeded",
                )
            size *= 4

    return check
