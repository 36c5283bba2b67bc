"""Whether a prompt fits, and how long its answer may be."""

from __future__ import annotations

from dataclasses import replace

from openbook.app.server.errors import Refused
from openbook.app.server.service import Service
from openbook.serving.chat.prepare import Prepared


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
