"""Serving: an engine for local checkpoints, and generators behind an OpenAI-compatible URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbook.core.messages import SamplingParams
    from openbook.serving.engine.engine import Engine

__all__ = ["Engine", "SamplingParams"]


def __getattr__(name: str) -> Any:
    """Imported at first use: a remote generator needs no torch."""
    if name == "Engine":
        from openbook.serving.engine.engine import Engine

        return Engine
    if name == "SamplingParams":
        from openbook.core.messages import SamplingParams

        return SamplingParams
    raise AttributeError(f"module 'openbook.serving' has no attribute {name!r}")
