"""An answer of the library as a chat: its text with marks, and beside it the citations. It is checked before it is sent, so
that a stream brings it in one piece.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from openbook.app.server.event_stream import sse
from openbook.app.server.json_text import as_json
from openbook.app.server.render.chat import DONE, Heading

_SHOWN = ("citations", "nearest", "abstained", "confidence", "standalone", "warnings")


def library_whole(answer: dict[str, Any], heading: Heading) -> dict[str, Any]:
    """The reply. `library` in the message: what `openbook ask --json` says beside the text."""
    message = {"role": "assistant", "content": answer["marked"], "refusal": None, "library": _beside(answer)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return heading.of("chat.completion") | {"choices": [choice]}


async def library_chunks(asked: Awaitable[dict[str, Any]], heading: Heading) -> AsyncGenerator[bytes, None]:
    """Server-sent events."""
    answer = await asked
    for delta, reason in (
        ({"role": "assistant", "content": ""}, None),
        ({"content": answer["marked"]}, None),
        ({"library": _beside(answer)}, "stop"),
    ):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield sse(as_json(heading.of("chat.completion.chunk") | {"choices": [choice]}))
    yield DONE


def _beside(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in _SHOWN}
