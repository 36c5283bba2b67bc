"""Which model a long job asks: work that one began is not gone on with by another that has the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from openbook.core.messages import ChatModel

_WEIGHTS = (".safetensors", ".bin", ".gguf")


def identity_of(model: ChatModel) -> str:
    """Its name; of a model in this process also a hash of where it is and of the sizes and times of its weight files, since names
    are the last part of a path, and many are called "model". ModelUnavailable where a server that has to be asked for its name
    does not answer.
    """
    source: Path | None = getattr(model, "source", None)
    if source is None:
        return model.name
    source = source.resolve()
    files = [source] if source.is_file() else sorted(one for one in source.iterdir() if one.suffix in _WEIGHTS)
    seen = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return f"{model.name} {hashlib.blake2b(repr((str(source), seen)).encode(), digest_size=8).hexdigest()}"
