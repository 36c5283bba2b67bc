"""A library that is open: its catalogue, its settings, and what is loaded only when it is needed."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from openbook.core.errors import IncompatibleEmbedder, ModelUnavailable, OpenbookError, UsageError
from openbook.core.messages import Embedder, Reranker
from openbook.library.catalogue.catalogue import Catalogue, is_library
from openbook.library.catalogue.connection import CATALOGUE
from openbook.library.catalogue.generations import active_generation, create_generation
from openbook.library.catalogue.rows import Generation
from openbook.library.catalogue.schema import SCHEMA_VERSION
from openbook.library.embed.describe import LocalEmbedderDescription
from openbook.library.embed.open import describe_embedder, is_url, open_embedder
from openbook.library.lexical.tokenize import TOKENIZER_VERSION
from openbook.library.retrieve.indexes import DerivedIndexes
from openbook.library.retrieve.scopes import ScopeCache
from openbook.library.split.settings import SplitSettings

if TYPE_CHECKING:
    from openbook.library.embed.open import EmbedderDescription

DEFAULT_EMBEDDER = "default"
NO_EMBEDDER = "none"
NO_EMBEDDER_NOTE = (
    "no embedder is installed: search and answers use BM25 alone (`openbook setup embedder` installs one)"
)


_LANGUAGE_NAMES = {"zh": "Chinese", "en": "English", "ja": "Japanese", "ko": "Korean", "de": "German", "fr": "French"}


def no_vectors_note() -> str:
    """Why a library without vectors searches by words alone, and what to do about it."""
    if describe_embedder(None) is None:
        return NO_EMBEDDER_NOTE
    return "this library has no vectors: search and answers use BM25 alone (`openbook reembed default` adds them)"


def language_note(embedder: str, language: str) -> str:
    """What to say, in the language of the question where it is Chinese, when an embedder does not know that language."""
    embedder = "all-MiniLM-L6-v2" if embedder == DEFAULT_EMBEDDER else embedder
    if language == "zh":
        return f"资料库的向量模型（{embedder}）不懂中文：本次检索只用了 BM25"
    name = _LANGUAGE_NAMES.get(language, f"the language {language!r}")
    return f"the library's embedder ({embedder}) has no {name}: this search used BM25 alone"


class LibraryStore:
    """The library in `directory`. Thread-safe; `close` ends its connections.

    `embedder` and `reranker` may be given (any that satisfies the protocols); otherwise the embedder is the one that
    the active generation names, loaded at the first use in `precision`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        precision: str = "auto",
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self.directory = directory
        self.catalogue = Catalogue(directory)
        _bring_up_to_date(self.catalogue)
        self.precision = precision
        self.reranker = reranker
        self._given_embedder = embedder
        self._embedders: dict[str, Embedder] = {}
        self._languages: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(
        cls,
        directory: Path,
        split: SplitSettings,
        embedder: str | Embedder | None = None,
        *,
        precision: str = "auto",
        exist_ok: bool = False,
    ) -> LibraryStore:
        """A new, empty library. `embedder`: a directory or URL, "none", None for the default one where installed, or an
        object, which must then be given at every opening.

        Raises `UsageError` when `directory` holds other files, or a library unless `exist_ok`, which opens that.
        """
        held = _names_in(directory)
        if held and not (exist_ok and any(name.startswith(CATALOGUE) for name in held)):
            raise UsageError(f"{directory} is not empty", "name a new directory, or use the library that is there")
        given = None if isinstance(embedder, str) or embedder is None else embedder
        name, described = (embedder.name, None) if given is not None else embedder_named(embedder)  # type: ignore
        description = given or described
        if split.splitter == "semantic" and description is None:
            raise UsageError(
                "the semantic splitter needs an embedder", "`openbook setup embedder`, or another --splitter"
            )
        dimension = (description.dimension or dimension_of(name)) if description else None
        catalogue = Catalogue(directory, create=True)
        try:
            with catalogue.write() as connection:
                # Another process may have made it meanwhile: then this one only opens it.
                if connection.execute("SELECT 1 FROM generations WHERE state = 'active'").get is None:
                    create_generation(
                        connection,
                        "active",
                        splitter=split.model_dump_json(),
                        embedder=name,
                        embedder_hash=description.hash if description else None,
                        dimension=dimension,
                        tokenizer_version=TOKENIZER_VERSION,
                    )
        finally:
            catalogue.close()
        return cls(directory, precision=precision, embedder=given)

    @staticmethod
    def is_ready(directory: Path) -> bool:
        """Whether a whole library is there; False also for one whose making was cut off."""
        if not is_library(directory):
            return False
        catalogue = Catalogue(directory)
        try:
            with catalogue.read() as connection:
                tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'generations'").get
                return bool(tables and connection.execute("SELECT 1 FROM generations WHERE state = 'active'").get)
        finally:
            catalogue.close()

    @cached_property
    def scopes(self) -> ScopeCache:
        return ScopeCache()

    @cached_property
    def indexes(self) -> DerivedIndexes:
        return DerivedIndexes(self.catalogue)

    def generation(self) -> Generation:
        with self.catalogue.read() as connection:
            return active_generation(connection)

    def embedder(self, generation: Generation | None = None) -> Embedder | None:
        """The embedder of a generation (the active one by default); None when it has none.

        Raises `IncompatibleEmbedder` when what is found under its name makes other vectors, `ModelUnavailable` when
        nothing is found.
        """
        generation = generation or self.generation()
        if generation.embedder is None or generation.embedder_hash is None:
            return None
        if self._given_embedder is not None:
            return matching(self._given_embedder, generation)
        with self._lock:
            if generation.embedder_hash not in self._embedders:
                self._embedders[generation.embedder_hash] = self._open_embedder(generation)
            return self._embedders[generation.embedder_hash]

    def _open_embedder(self, generation: Generation) -> Embedder:
        name = generation.embedder
        found = open_embedder(None if name == DEFAULT_EMBEDDER else name, self.precision)  # type: ignore[arg-type]
        if found is None:
            raise ModelUnavailable(
                f"the embedder of {self.directory} is not installed",
                "`openbook setup embedder`, or search with --mode bm25",
            )
        return matching(found, generation)

    def tokenizer(self, generation: Generation) -> str | None:
        """The directory whose tokenizer measures chunks; None (an estimate) for a remote, given or missing embedder."""
        if generation.embedder is None or is_url(generation.embedder) or self._given_embedder is not None:
            return None
        description = describe_embedder(None if generation.embedder == DEFAULT_EMBEDDER else generation.embedder)
        if not isinstance(description, LocalEmbedderDescription):
            return None
        return str(description.directory / description.recipe.transformer)

    def languages(self, generation: Generation) -> frozenset[str]:
        """Languages that the embedder of a generation was trained for; found out without loading it."""
        if generation.embedder_hash is None:
            return frozenset()
        if self._given_embedder is not None:
            return self._given_embedder.languages
        if generation.embedder_hash not in self._languages:
            name = None if generation.embedder == DEFAULT_EMBEDDER else generation.embedder
            description = describe_embedder(name)
            self._languages[generation.embedder_hash] = description.languages if description else frozenset()
        return self._languages[generation.embedder_hash]

    def close(self) -> None:
        self.catalogue.close()


def _names_in(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{directory} cannot be a library: {error.strerror}", "name a new directory") from error


def _bring_up_to_date(catalogue: Catalogue) -> None:
    """Gives a library that an older version wrote the present schema. What is damaged is said where it is used."""
    with suppress(OpenbookError):
        with catalogue.read() as connection:
            version = connection.pragma("user_version")
        if 0 < version < SCHEMA_VERSION:
            with catalogue.write():
                pass


def matching(embedder: Embedder, generation: Generation) -> Embedder:
    """`embedder`, if its vectors are those of the generation."""
    if embedder.hash != generation.embedder_hash:
        raise IncompatibleEmbedder(
            f"the library was embedded with {generation.embedder} ({str(generation.embedder_hash)[:12]}), "
            f"{embedder.name} ({embedder.hash[:12]}) makes other vectors",
            "`openbook reembed MODEL` makes a new generation with it",
        )
    return embedder


def embedder_named(name: str | None) -> tuple[str | None, EmbedderDescription | None]:
    """What the catalogue keeps as the name of an embedder, and its description; (None, None) without one."""
    if name == NO_EMBEDDER:
        return None, None
    if name is None or name == DEFAULT_EMBEDDER:
        description = describe_embedder(None)
        if description is None and name == DEFAULT_EMBEDDER:
            raise ModelUnavailable("the default embedder is not installed", "`openbook setup embedder`")
        return (DEFAULT_EMBEDDER, description) if description else (None, None)
    described = describe_embedder(name)
    return (name if is_url(name) else str(Path(name).expanduser().absolute())), described


def dimension_of(name: str | None) -> int | None:
    """What an endpoint's vectors measure, found out by asking it once; None for no embedder."""
    if name is None or not is_url(name):
        return None
    found = open_embedder(name)
    assert found is not None, "a URL names an embedder"
    return int(found.embed(["dimension"], "passage").shape[1])
