"""Completions that want a reward, for tests."""

from __future__ import annotations

from typing import Any

from openbook.training.rewards.sampled import Sampled


def sampled(completion: str, *, tokens: int | None = None, is_finished: bool = True, **row: Any) -> Sampled:
    asked = {"role": "user", "content": str(row.get("prompt", "a question"))}
    return Sampled(row, (asked,), completion, len(completion.split()) if tokens is None else tokens, is_finished)
