"""The activations by name, and what checkpoints call them; free of torch, so that settings can be read without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

CHECKPOINT_NAMES: dict[Activation, str] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
    "silu": "silu",
}


def read_activation(raw: Mapping[str, Any], key: str, default: str) -> Activation:
    """The activation that `key` of a config.json names. Raises ValueError, which lists the known."""
    name = raw.get(key, default)
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"{key} {name!r} is not one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]
