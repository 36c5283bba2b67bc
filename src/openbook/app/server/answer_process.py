"""The answer process: questions to the library, answered with the model that is served, asked over HTTP like any client's."""

from __future__ import annotations

import socket
from typing import Any

from openbook.core.errors import EmptyAnswer
from openbook.core.messages import ChatRequest, Completion
from openbook.core.sandbox.frames import receive
from openbook.core.threads import set_thread_environment
from openbook.serving.link.answering import answer_each
from openbook.serving.remote import RemoteChatModel

_AT_ONCE = 8


class ServedModel(RemoteChatModel):
    """The model of this server. Where it writes nothing, as a small one may, the library abstains; that is no error."""

    def complete(self, request: ChatRequest) -> Completion:
        try:
            return super().complete(request)
        except EmptyAnswer:
            return Completion("", "stop")


def main(fd: int) -> None:
    """Answers [question, history, key] with the answer as JSON and its text with marks; does not return."""
    connection = socket.socket(fileno=fd)
    reader = connection.makefile("rb")
    setup = receive(reader)
    set_thread_environment(setup["threads"])
    from openbook.assistant.desk import Library
    from openbook.lm.kernels.cache_files import guard_cache_files
    from openbook.serving.endpoint import Endpoint

    guard_cache_files()
    library = Library.open(setup["library"], create=False, precision=setup["precision"])

    def answer(call: list[Any]) -> dict[str, Any]:
        question, history, key = call
        model = ServedModel(Endpoint(setup["url"], setup["model"]), key=key)
        try:
            found = library.ask(
                question,
                model=model,
                max_wrong=setup["max_wrong"],
                history=[(asked, said) for asked, said in history],
                rerank=setup["rerank"],
                rerank_depth=setup["rerank_depth"],
            )
        finally:
            model.close()
        return found.to_json() | {"marked": found.marked}

    answer_each(connection, reader, answer, _AT_ONCE)
