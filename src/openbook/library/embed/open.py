"""From what a person names (nothing, a directory, a URL) to an embedder, or to what it is without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from openbook.library.embed.describe import LocalEmbedderDescription, describe_default, describe_directory

if TYPE_CHECKING:
    from openbook.core.messages import Embedder
    from openbook.library.embed.encoders import Precision
    from openbook.library.embed.remote import RemoteEmbedderDescription

    EmbedderDescription = LocalEmbedderDescription | RemoteEmbedderDescription

Spec = str | Path | None


def is_url(spec: Spec) -> bool:
    return isinstance(spec, str) and spec.lower().startswith(("http://", "https://"))


def describe_embedder(spec: Spec = None) -> EmbedderDescription | None:
    """Name, hash, dimension, languages and token counter of an embedder, without importing torch or numba.

    `spec`: None for the default one (None is returned where it is not installed), a directory, or a URL. Raises
    ModelUnavailable when the directory is no usable embedder.
    """
    if spec is None:
        return describe_default()
    if is_url(spec):
        from openbook.library.embed.remote import describe_url

        return describe_url(str(spec))
    return describe_directory(Path(spec))


def open_embedder(spec: Spec = None, precision: Precision | Literal["auto"] = "auto") -> Embedder | None:
    """An embedder for `spec` as in `describe_embedder`. Its weights are read at the first use."""
    if is_url(spec):
        from openbook.library.embed.remote import RemoteEmbedder, describe_url

        return RemoteEmbedder(describe_url(str(spec)))
    description = describe_default() if spec is None else describe_directory(Path(spec))
    if description is None:
        return None
    from openbook.library.embed.local import SentenceEmbedder

    return SentenceEmbedder(description, precision)
