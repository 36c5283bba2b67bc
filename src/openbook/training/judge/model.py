"""Opens a judge from what a user types."""

from __future__ import annotations

from openbook.core.messages import ChatModel
from openbook.serving.models import open_chat_model
from openbook.serving.remote import RemoteChatModel


def open_judge(spec: str, timeout_s: float = 300.0, connections: int = 8) -> ChatModel:
    """`DIR | URL | URL#NAME | a name from config.yaml`. Of a server: an answer may take `timeout_s` seconds, and
    `connections` questions are on their way at a time. UsageError for a name that nobody knows, ModelUnavailable for what is no
    model.
    """
    model = open_chat_model(spec)
    if isinstance(model, RemoteChatModel):
        return RemoteChatModel(model.endpoint, timeout_s=timeout_s, connections=connections)
    return model
