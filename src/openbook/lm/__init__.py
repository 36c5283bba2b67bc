"""Models: families of transformers over one ragged forward pass, their tokenizers, checkpoints and adapters."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbook.lm.dense import dense
    from openbook.lm.generate import Sampling, generate
    from openbook.lm.load import load_model, new_model, save_model
    from openbook.lm.tokenizers.tokenizer import Tokenizer

_WHERE = {
    "load_model": "load",
    "new_model": "load",
    "save_model": "load",
    "dense": "dense",
    "generate": "generate",
    "Sampling": "generate",
    "Tokenizer": "tokenizers.tokenizer",
}
"""Imported when they are asked for: `openbook.lm.checkpoint` must not bring torch."""

__all__ = ["Sampling", "Tokenizer", "dense", "generate", "load_model", "new_model", "save_model"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'openbook.lm' has no attribute {name!r}")
    return getattr(import_module(f"openbook.lm.{_WHERE[name]}"), name)


class _Exports(ModuleType):
    """Importing a file names it in its package: `dense` and `generate` stay the functions all the same."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Exports
