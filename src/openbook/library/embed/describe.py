"""What an embedder is, without loading it: for listings, settings and BM25-only paths that must not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openbook.core.messages import TokenCounter
from openbook.library.embed.default import check_default, default_directory, sha256_of
from openbook.library.embed.languages import languages_of
from openbook.library.embed.recipe import hash_of
from openbook.lm.checkpoint import weight_files
from openbook.lm.sentence import Recipe, read_recipe
from openbook.lm.tokenizers.encoder import CheckpointTokens

DEFAULT_NAME = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class LocalEmbedderDescription:
    """An embedder in a directory. `hash` is that of `core.messages.Embedder`; `tokens` is free of torch."""

    name: str
    directory: Path
    recipe: Recipe
    hash: str
    languages: frozenset[str]
    tokens: TokenCounter

    @property
    def dimension(self) -> int:
        return self.recipe.dimension

    @property
    def max_tokens(self) -> int:
        return self.recipe.max_tokens


def describe_directory(directory: Path, name: str = "") -> LocalEmbedderDescription:
    """Reads the JSON files and the hashes of a sentence-transformers directory; a few ms once the hash is known."""
    directory = directory.expanduser().absolute()
    recipe = read_recipe(directory)
    transformer = directory / recipe.transformer
    return LocalEmbedderDescription(
        name=name or directory.name,
        directory=directory,
        recipe=recipe,
        hash=hash_of(directory, recipe),
        languages=languages_of(directory, transformer, sha256_of(weight_files(transformer)[0])),
        tokens=CheckpointTokens(transformer),
    )


def describe_default() -> LocalEmbedderDescription | None:
    """The default embedder after its hash was checked; None where it is not installed."""
    directory = default_directory()
    if directory is None:
        return None
    check_default(directory)
    return describe_directory(directory, DEFAULT_NAME)
