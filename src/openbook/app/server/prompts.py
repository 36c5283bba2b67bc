"""Whether a prompt fits, and how long its answer may be."""

from __future__ import annotations

from dataclasses import replace

from openbook.app.server.errors import Refused
from openbook.app.server.service import Service
from openbook.serving.chat.prepare import Prepared


def room_for(service: Service, prepared: Prepared, *, is_stated: bool) -> Prepared:
    """An answer whose length nobody stated may fill what the prompt leaves. 400 with both numbers for a prompt that is too
    long: nothing is cut.
    """
    count, room = len(prepared.prompt), service.max_tokens_room
    if count + min(prepared.params.max_tokens, 1) > service.engine.facts.max_seq_len:
        raise Refused(
            400,
            f"the prompt has {count:,} tokens, the limit is {service.engine.facts.max_seq_len:,} with the answer: "
            "shorten it, or serve with a larger --max-seq-len",
            code="context_length_exceeded",
        )
    if is_stated:
        return prepared
    return replace(prepared, params=replace(prepared.params, max_tokens=max(room - count, 1)))
