"""The one secret: the key of a remote endpoint, read from the environment, and kept out of every message."""

from __future__ import annotations

import os

from openbook.core.errors import UsageError


def api_key() -> str | None:
    """`OPENBOOK_API_KEY`, else `OPENAI_API_KEY`, without white space around it; None when neither is set.

    Raises `UsageError`, which does not repeat it, for a key that no HTTP header can carry.
    """
    for name in ("OPENBOOK_API_KEY", "OPENAI_API_KEY"):
        key = os.environ.get(name, "").strip()
        if key:
            if not (key.isascii() and key.isprintable()):
                raise UsageError(f"{name} holds characters that a key cannot have", "copy the key again")
            return key
    return None


def without_key(text: str) -> str:
    """`text` without the key, which some servers repeat in their errors."""
    for name in ("OPENBOOK_API_KEY", "OPENAI_API_KEY"):
        key = os.environ.get(name, "").strip()
        if key:
            text = text.replace(key, "[key]")
    return text
