"""The model called "library": a chat whose answers come from the documents, with citations that the code has checked."""

from __future__ import annotations

from typing import Any

from openbook.app.server.errors import Refused
from openbook.app.server.settings import ServerSettings
from openbook.app.server.shapes.chat import ChatBody, ChatMessage
from openbook.app.server.shapes.sampling import Harmless
from openbook.core.config import load_settings
from openbook.core.threads import available_cpus
from openbook.serving.link.worker import Worker

NAME = "library"
_MODULE = "openbook.app.server.answer_process"
_NICE = 10
_TAKEN = {"messages", "model", "stream", "stream_options", "n", *Harmless.model_fields}


class LibraryAnswers:
    """Questions to a library, in a process of its own that begins with the first. `url`: of this server."""

    def __init__(self, settings: ServerSettings, url: str) -> None:
        chosen = load_settings()
        setup = {
            "library": settings.library,
            "url": f"{url}/v1",
            "model": settings.name,
            "threads": max(1, (settings.engine.threads or available_cpus()) // 2),
            "precision": chosen.precision,
            "max_wrong": chosen.max_wrong,
            "rerank": chosen.rerank,
            "rerank_depth": chosen.rerank_depth,
        }
        self._max_queue = settings.max_queue
        self._worker = Worker(_MODULE, setup, nice=_NICE)

    async def ask(self, body: ChatBody, key: str | None) -> dict[str, Any]:
        """The answer as `openbook ask --json` prints it, and `marked`, its text with [1] and [?].

        `key`: of who asks; the answer process asks the model with it, so that its tokens count and its prefixes stay apart.

        400 for what a library does not do: instructions, tools, forms, several answers. 429 when too many wait.
        """
        question, history = conversation(body)
        if self._worker.num_waiting >= self._max_queue:
            raise Refused(
                429,
                f"{self._max_queue:,} questions wait already: ask again",
                code="queue_full",
                headers={"Retry-After": "5"},
            )
        found: dict[str, Any] = await self._worker.call(question, history, key)
        return found

    async def close(self) -> None:
        await self._worker.close()


def conversation(body: ChatBody) -> tuple[str, list[tuple[str, str]]]:
    """The question, and the (question, answer) pairs before it."""
    odd = sorted(name for name in body.model_fields_set - _TAKEN if getattr(body, name) is not None)
    if odd or body.count > 1:
        name = odd[0] if odd else "n"
        raise Refused(400, f"the library writes by its own rules: leave out {name}", param=name)
    turns = [(message.role, _text(message)) for message in body.messages]
    history = []
    while len(turns) > 1:
        (first, question), (second, answer) = turns.pop(0), turns.pop(0)
        if (first, second) != ("user", "assistant"):
            raise Refused(
                400, "a chat with the library is the user and the assistant in turn, without instructions: leave out the others",
                param="messages",
            )  # fmt: skip
        history.append((question, answer))
    if not turns or turns[0][0] != "user" or not turns[0][1].strip():
        raise Refused(400, "a chat with the library ends with a question of the user: add one", param="messages")
    return turns[0][1], history


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content or ())
