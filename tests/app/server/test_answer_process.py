"""The model "library" asks the model beside it: one that writes nothing is no fault of the server."""

from __future__ import annotations

import pytest

from chat_server import ChatServer, said
from openbook.app.server.answer_process import ServedModel
from openbook.core.errors import ModelUnavailable
from openbook.core.messages import ChatRequest, Message
from openbook.serving.endpoint import parse_endpoint
from openbook.serving.remote import RemoteChatModel

REQUEST = ChatRequest((Message.of("user", "When does the ferry leave?"),))


def test_nothing_written_is_an_empty_answer_not_an_error() -> None:
    with ChatServer(said("  ", "length")).running() as server:
        endpoint = parse_endpoint(server.url)
        model, other = ServedModel(endpoint), RemoteChatModel(endpoint)
        try:
            assert model.complete(REQUEST).text == ""
            with pytest.raises(ModelUnavailable, match="empty answer"):
                other.complete(REQUEST)
        finally:
            model.close()
            other.close()
