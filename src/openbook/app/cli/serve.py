"""`openbook serve`: an OpenAI-compatible server for a local model. This process holds no weights: the engine has its own."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from openbook.app.cli import serve_options as options
from openbook.app.cli.options import LibraryOption

_SOME_FAILED = 4


def serve(
    documents: options.DocumentsArgument = None,
    *,
    model: options.ModelOption,
    quantize: options.QuantizeOption = "none",
    port: options.PortOption = 8000,
    host: options.HostOption = "127.0.0.1",
    api_keys: options.KeysOption = None,
    max_seq_len: options.LengthOption = None,
    max_num_seqs: options.SequencesOption = 32,
    kv_cache_gb: options.CacheOption = None,
    kv_dtype: options.CacheDtypeOption = None,
    speculate: options.SpeculateOption = None,
    num_speculative: options.ProposedOption = 4,
    adapter: options.AdapterOption = None,
    max_adapters: options.MaxAdaptersOption = None,
    allow_runtime_adapters: options.RuntimeAdaptersOption = False,
    allow_weight_updates: options.WeightUpdatesOption = False,
    threads: options.ThreadsOption = None,
    max_queue: options.QueueOption = 256,
    max_connections: options.ConnectionsOption = 1_000,
    embedder: options.TextEmbedderOption = None,
    reranker: options.RerankerOption = None,
    served_model_name: options.ServedNameOption = None,
    drain_seconds: options.DrainOption = 30.0,
    write_timeout: options.WriteTimeoutOption = 30.0,
    library: LibraryOption = None,
) -> None:
    """Serve a local model to any client of the OpenAI API; with DOCS or --library, the model "library" answers from them."""
    from openbook.app.cli.serve_screen import show_phase, show_service
    from openbook.app.server.run import serve as run_server
    from openbook.app.server.settings import ServerSettings
    from openbook.lm.local import model_directory
    from openbook.serving.link.wire import EngineSettings

    precision = _precision(quantize)
    directory = model_directory(model).resolve()
    name = served_model_name or directory.name.removesuffix(".gguf")
    adapters = _adapters(adapter or [], name)
    _check_room(adapters, max_adapters, allow_runtime_adapters)
    engine = EngineSettings(
        directory=str(directory),
        quantize=precision,
        max_seq_len=max_seq_len,
        max_num_seqs=max_num_seqs,
        kv_cache_gb=kv_cache_gb,
        kv_dtype=kv_dtype,
        speculate=speculate if speculate in (None, "ngram") else str(model_directory(str(speculate)).resolve()),
        num_speculative=num_speculative,
        adapters=adapters,
        max_adapters=max_adapters,
        threads=threads,
    )
    settings = ServerSettings(
        engine,
        name,
        host=host,
        port=port,
        keys_file=api_keys,
        max_queue=max_queue,
        max_connections=max_connections,
        drain_s=drain_seconds,
        write_timeout_s=write_timeout,
        embedder=embedder,
        reranker=reranker,
        library=_library(documents or [], library, embedder),
        watched=tuple(str(one.resolve()) for one in documents or []),
        allows_runtime_adapters=allow_runtime_adapters,
        allows_weight_updates=allow_weight_updates,
    )
    if code := run_server(settings, show_phase, show_service):
        raise typer.Exit(code)


def _precision(said: str) -> str | None:
    """What --quantize means to the engine. UsageError for what it does not know."""
    from openbook.core.errors import UsageError

    if said not in ("int8", "int4", "none"):
        raise UsageError(f"quantize {said!r} is not known", "known are int8, int4 and none")
    return None if said == "none" else said


def _check_room(adapters: dict[str, str], most: int | None, may_come: bool) -> None:
    """UsageError where adapters may be loaded while the server runs, and there is room for none."""
    from openbook.core.errors import UsageError

    if may_come and not (len(adapters) if most is None else most):
        raise UsageError("--allow-runtime-adapters leaves room for none", "add --max-adapters N")


def _adapters(given: list[str], model: str) -> dict[str, str]:
    """Name -> directory of what --adapter said."""
    from openbook.core.errors import UsageError

    found: dict[str, str] = {}
    for one in given:
        name, equals, directory = one.partition("=")
        if not (name and equals and directory):
            raise UsageError(f"--adapter {one!r} is no adapter", "write NAME=DIR")
        if name in found or name in (model, "library"):
            raise UsageError(f"--adapter {name} is a name that is taken", "choose another one")
        found[name] = str(Path(directory).resolve())
    return found


def _library(documents: list[Path], library: str | None, embedder: Path | None) -> str | None:
    """The directory of the library, after the documents were added to it by `openbook add`; None where none is asked for."""
    import subprocess

    from openbook.core.config import load_settings
    from openbook.core.errors import UsageError
    from openbook.core.paths import library_path

    if not documents and library is None:
        return None
    directory = library_path(library or load_settings().library)
    if documents:
        given = ["--library", str(directory), *(["--embedder", str(embedder)] if embedder is not None else [])]
        command = [sys.executable, "-m", "openbook", "add", *given, "--", *map(str, documents)]
        code = subprocess.run(command, check=False, stdout=sys.stderr).returncode  # reading takes torch
        if code not in (0, _SOME_FAILED):
            raise typer.Exit(code)
    if not (directory / "library.sqlite3").is_file():
        raise UsageError(f"there is no library at {directory}", "name documents to add, or another --library")
    return str(directory)
