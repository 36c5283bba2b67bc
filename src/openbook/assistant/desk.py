"""The `Library` of a program: everything the command line does, each method one call down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openbook.core.errors import UsageError
from openbook.core.paths import library_path
from openbook.core.progress import Progress, silent
from openbook.core.threads import set_thread_environment
from openbook.library.catalogue import reads
from openbook.library.catalogue.rows import DocumentRow
from openbook.library.catalogue.scope import OWNER, Scope, parse_filter
from openbook.library.retrieve.hit import Hit, SearchResult
from openbook.library.retrieve.rerank import DEPTH
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.search import Fusion, Mode, search
from openbook.library.split.settings import SplitSettings
from openbook.library.store import LibraryStore

if TYPE_CHECKING:
    from openbook.assistant.answer.answer import Answer
    from openbook.core.messages import ChatModel, Embedder, Reranker
    from openbook.library.check.inspect import Problem
    from openbook.library.ingest.add import AddReport
    from openbook.library.ingest.plan import Plan


class Library:
    """A library of documents: `Library.open("my-library")`, `add`, `search`, `ask`. Thread-safe; close it, or use
    `with`. A bare name lives under `$OPENBOOK_HOME`; anything with a "/" is a path.
    """

    def __init__(self, store: LibraryStore) -> None:
        self.store = store

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        create: bool = True,
        split: SplitSettings | None = None,
        embedder: str | Embedder | None = None,
        reranker: Reranker | None = None,
        precision: str = "auto",
    ) -> Library:
        """The library at `path` (default `$OPENBOOK_HOME/default`), made with `split` and `embedder` when it is new.

        Raises `UsageError` when there is none and `create` is false, and `IncompatibleEmbedder` (at the first use)
        when `embedder` makes other vectors than the library holds.
        """
        set_thread_environment()
        directory = library_path(path)
        given = None if isinstance(embedder, str) else embedder
        if create and not LibraryStore.is_ready(directory):
            LibraryStore.create(directory, split or SplitSettings(), embedder, exist_ok=True).close()
        return cls(LibraryStore(directory, precision=precision, embedder=given, reranker=reranker))

    def add(
        self,
        *paths: str | Path,
        collection: str = "default",
        exclude: Sequence[str] = (),
        records: bool = False,
        dry_run: bool = False,
        progress: Progress = silent,
        **options: Any,
    ) -> AddReport:
        """Adds files and folders (with `records`, JSONL files of one document a line); reads only what changed."""
        from openbook.library.ingest.add import AddOptions, add_paths

        chosen = AddOptions(collection, tuple(exclude), records, dry_run=dry_run, **options)
        return add_paths(self.store, [Path(path) for path in paths], chosen, progress)

    def sync(
        self,
        *,
        dry_run: bool = False,
        confirm: Callable[[list[Plan]], bool] = lambda plans: True,
        progress: Progress = silent,
        **options: Any,
    ) -> AddReport:
        """Makes the library equal the folders that were added. `confirm` sees the plans first."""
        from openbook.library.ingest.add import AddOptions, sync

        return sync(self.store, AddOptions(dry_run=dry_run, **options), progress, confirm)

    def remove(self, *names: str) -> list[str]:
        """Takes documents (ids, paths, folders) out of the library; returns the paths. The files stay."""
        from openbook.library.ingest.add import remove_documents

        return [row.path for row in remove_documents(self.store, names)]

    def documents(self, *, scope: Scope = OWNER) -> list[DocumentRow]:
        with self.store.catalogue.read() as connection:
            return list(reads.documents(connection, scope))

    def document(self, name: str, *, scope: Scope = OWNER) -> DocumentRow:
        """By id ("d12"), path, or the end of a path. Raises `UsageError`."""
        with self.store.catalogue.read() as connection:
            return reads.find_document(connection, scope, name)

    def text(self, name: str, *, scope: Scope = OWNER) -> str:
        """The text of a document: what `start` and `end` of hits and citations count in, by code points."""
        with self.store.catalogue.read() as connection:
            return reads.document_text(connection, reads.find_document(connection, scope, name).id)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filters: Iterable[str] = (),
        collections: Sequence[str] | None = None,
        principal: str | None = None,
        rerank: bool | None = None,
    ) -> list[Hit]:
        """The `k` best passages. `rerank`: None where it was measured to win."""
        return self.search_result(
            query, k, mode=mode, filters=filters, collections=collections, principal=principal, rerank=rerank
        ).hits

    def search_result(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filters: Iterable[str] = (),
        collections: Sequence[str] | None = None,
        principal: str | None = None,
        fusion: Fusion = "z-score",
        rerank: bool | None = None,
        rerank_depth: int = DEPTH,
    ) -> SearchResult:
        """`search` with what each stage took and what the user should know. The first `rerank_depth` are reranked."""
        scope = self._scope(filters, collections, principal)
        wanted = Wanted(rerank, rerank_depth)
        return search(self.store, query, k, mode=mode, scope=scope, fusion=fusion, reranking=wanted)

    def ask(
        self,
        question: str,
        *,
        model: str | ChatModel | None = None,
        max_wrong: float = 0.10,
        history: Sequence[tuple[str, str]] = (),
        filters: Iterable[str] = (),
        collections: Sequence[str] | None = None,
        principal: str | None = None,
        on_text: Callable[[str], None] | None = None,
        rerank: bool | None = None,
        rerank_depth: int = DEPTH,
    ) -> Answer:
        """An answer whose citations were checked, or an abstention with the nearest passages.

        Without `model` the answer is a quotation. `history`: earlier (question, answer) pairs, for follow-ups.
        `on_text` gets the pieces of a model's answer as they arrive, before they are checked. `rerank`: None where it was
        measured to win.
        """
        from openbook.assistant.answer.ask import ask

        return ask(
            self.store,
            question,
            model=model,
            max_wrong=max_wrong,
            history=history,
            scope=self._scope(filters, collections, principal),
            on_text=on_text,
            reranking=Wanted(rerank, rerank_depth, "ask"),
        )

    def _scope(self, filters: Iterable[str], collections: Sequence[str] | None, principal: str | None) -> Scope:
        """A scope whose collections exist. A principal is not told which exist."""
        scope = scope_of(filters, collections, principal)
        if principal is None and collections:
            with self.store.catalogue.read() as connection:
                known = reads.collections(connection)
            unknown = [name for name in collections if name not in known]
            if unknown:
                raise UsageError(f"there is no collection {unknown[0]!r}", f"there are: {', '.join(known)}")
        return scope

    def check(self, *, progress: Progress = silent) -> list[Problem]:
        """Everything in the library that does not agree with the documents; empty when all is well."""
        from openbook.library.check.inspect import inspect

        return inspect(self.store, progress)

    def repair(self, problems: Sequence[Problem], *, progress: Progress = silent) -> list[str]:
        from openbook.library.check.repair import repair

        return repair(self.store, problems, progress)

    def reembed(
        self, embedder: str | None = None, *, split: SplitSettings | None = None, progress: Progress = silent
    ) -> None:
        """A new generation with another embedder (or splitter), put in place when it is complete."""
        from openbook.library.reindex import reembed

        reembed(self.store, embedder, split, progress)

    def export(self, directory: str | Path, *, progress: Progress = silent) -> int:
        from openbook.library.exchange import export_library

        return export_library(self.store, Path(directory), progress)

    @classmethod
    def import_from(
        cls, directory: str | Path, path: str | Path | None = None, *, progress: Progress = silent
    ) -> Library:
        """A new library at `path` from files that `export` wrote."""
        from openbook.library.exchange import import_library

        import_library(library_path(path), Path(directory), progress)
        return cls.open(path, create=False)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def scope_of(
    filters: Iterable[str] = (), collections: Sequence[str] | None = None, principal: str | None = None
) -> Scope:
    """A `Scope` from filters as they are typed ("path=*.md") and names of collections."""
    return Scope(
        principal,
        tuple(collections) if collections is not None else None,
        tuple(parse_filter(text) for text in filters),
    )
