"""Opens a generator from what a user types: `--model DIR | URL | URL#NAME | a name from config.yaml`."""

from __future__ import annotations

from pathlib import Path

from openbook.core.config import Settings, load_settings, nearest
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.serving.endpoint import Endpoint, is_url, parse_endpoint
from openbook.serving.remote import RemoteChatModel


def open_chat_model(spec: str, settings: Settings | None = None) -> RemoteChatModel:
    """The model that `spec` names; nothing is sent yet.

    Raises `UsageError` for a name that nobody knows, `ModelUnavailable` for a directory: local checkpoints are not
    run in this process.
    """
    return RemoteChatModel(_endpoint(spec.strip(), settings))


def _endpoint(spec: str, settings: Settings | None) -> Endpoint:
    if not spec:
        raise UsageError("the name of the model is empty", "use URL, URL#NAME, or a name from config.yaml")
    if is_url(spec):
        return parse_endpoint(spec)
    models = (settings or load_settings()).models
    if spec in models:
        entry = models[spec]
        found = parse_endpoint(entry.url)
        return Endpoint(found.url, entry.model or found.model)
    if Path(spec).expanduser().is_dir():
        raise ModelUnavailable(
            f"{spec} is a directory, and this version runs no local checkpoint",
            "serve it (Ollama, vLLM, llama.cpp) and name its URL, e.g. --model http://127.0.0.1:11434/v1",
        )
    known = nearest(spec, sorted(models)) if models else "config.yaml names no models"
    raise UsageError(
        f"model {spec!r} is not known", f"{known}; `openbook config set models.NAME.url=URL` adds one, or name a URL"
    )
