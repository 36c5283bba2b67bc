"""Opens a generator from what a user types: `--model DIR | URL | URL#NAME | a name from config.yaml`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from openbook.core.config import Settings, load_settings, nearest
from openbook.core.errors import UsageError
from openbook.core.messages import ChatModel
from openbook.lm.local import model_directory, models_named
from openbook.serving.endpoint import Endpoint, is_url, parse_endpoint
from openbook.serving.remote import RemoteChatModel


def open_chat_model(spec: str, settings: Settings | None = None) -> ChatModel:
    """The model that `spec` names. To an endpoint nothing is sent yet; a local checkpoint is loaded, once, and stays.

    Raises `UsageError` for a name that nobody knows, `ModelUnavailable` for a checkpoint that cannot be used.
    """
    spec = spec.strip()
    if not spec:
        raise UsageError("the name of the model is empty", "use DIR, URL, URL#NAME, or a name from config.yaml")
    if is_url(spec):
        return RemoteChatModel(parse_endpoint(spec))
    models = (settings or load_settings()).models
    if spec in models:
        entry = models[spec]
        found = parse_endpoint(entry.url)
        return RemoteChatModel(Endpoint(found.url, entry.model or found.model))
    if Path(spec).expanduser().is_dir() or spec.endswith(".gguf") or models_named(spec):
        return _local(model_directory(spec).resolve())
    known = nearest(spec, sorted(models)) if models else "config.yaml names no models"
    raise UsageError(
        f"model {spec!r} is not known",
        f"{known}; `openbook config set models.NAME.url=URL` adds one, or name a URL or a checkpoint's directory",
    )


@lru_cache(maxsize=1)
def _local(path: Path) -> ChatModel:
    """A question after the other is asked of the same model: it is loaded for the first."""
    from openbook.core.threads import set_thread_environment

    set_thread_environment()
    from openbook.serving.engine.engine import Engine

    return Engine.load(path).chat()
