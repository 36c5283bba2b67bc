"""Openbook: a language model sitting an open-book exam over your documents.

`from openbook import Library` is all that most programs need; it is imported at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openbook.assistant.desk import Library

__version__ = "0.1.0"
__all__ = ["Library", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Library":
        from openbook.assistant.desk import Library

        return Library
    raise AttributeError(f"module 'openbook' has no attribute {name!r}")
