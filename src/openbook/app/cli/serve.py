"""`openbook serve`: an OpenAI-compatible server for a local model. This process holds no weights: the engine has its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from openbook.app.cli.options import LibraryOption

if TYPE_CHECKING:
    from openbook.app.server.service import Service

_SOME_FAILED = 4


def serve(
    documents: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DOCS", help="Files and folders that the library gets first; their changes follow."),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="DIR|NAME", help="A directory, a name from `model list`, or a GGUF file.")
    ],
    quantize: Annotated[
        str, typer.Option("--quantize", help="int8, int4 or none; int8 is the fastest on most processors.")
    ] = "none",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; others reach it only if you say so.")
    ] = ("127.0.0.1"),
    api_keys: Annotated[
        Path | None,
        typer.Option("--api-keys", metavar="FILE", help="Lines of KEY NAME [tokens_per_minute] [admin]."),
    ] = None,
    max_seq_len: Annotated[
        int | None, typer.Option("--max-seq-len", min=1, help="The most tokens of prompt and answer.")
    ] = None,
    max_num_seqs: Annotated[int, typer.Option("--max-num-seqs", min=1, help="Sequences computed together.")] = 32,
    kv_cache_gb: Annotated[float | None, typer.Option("--kv-cache-gb", help="Memory of keys and values.")] = None,
    kv_dtype: Annotated[
        str | None, typer.Option("--kv-dtype", help="bf16 or fp32; the model's when not given.")
    ] = None,
    speculate: Annotated[
        str | None,
        typer.Option(
            "--speculate",
            metavar="ngram|MODEL",
            help="Propose tokens from the prompt, or by a smaller model; answers stay.",
        ),
    ] = None,
    num_speculative: Annotated[int, typer.Option("--num-speculative", min=1, help="Tokens proposed a step.")] = 4,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="NAME=DIR", help="A LoRA or prefix that requests pick as the model NAME."),
    ] = None,
    max_adapters: Annotated[
        int | None, typer.Option("--max-adapters", min=0, help="Adapters at a time; those of --adapter if not given.")
    ] = None,
    allow_runtime_adapters: Annotated[
        bool, typer.Option("--allow-runtime-adapters", help="Without keys, anybody may load and unload adapters.")
    ] = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the engine.")] = None,
    max_queue: Annotated[
        int, typer.Option("--max-queue", min=0, help="Sequences that may wait; beyond them 429.")
    ] = 256,
    max_connections: Annotated[
        int, typer.Option("--max-connections", min=1, help="Open connections; beyond them 503.")
    ] = 1_000,
    embedder: Annotated[
        Path | None,
        typer.Option("--embedder", metavar="DIR", help="For /v1/embeddings; the default one when not given."),
    ] = None,
    reranker: Annotated[
        Path | None, typer.Option("--reranker", metavar="DIR", help="For /v1/rerank: a BERT with a head of one score.")
    ] = None,
    served_model_name: Annotated[
        str | None, typer.Option("--served-model-name", metavar="NAME", help="What clients call the model.")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option("--drain-seconds", min=0, help="How long answers may go on after SIGTERM.")
    ] = 30.0,
    write_timeout: Annotated[
        float,
        typer.Option("--write-timeout", min=0.1, help="Seconds after which a client that does not read is dropped."),
    ] = 30.0,
    library: LibraryOption = None,
) -> None:
    """Serve a local model to any client of the OpenAI API; with DOCS or --library, the model "library" answers from them."""
    from openbook.core.errors import UsageError
    from openbook.lm.local import model_directory

    if quantize not in ("int8", "int4", "none"):
        raise UsageError(f"quantize {quantize!r} is not known", "known are int8, int4 and none")
    from openbook.app.server.run import serve as run_server
    from openbook.app.server.settings import ServerSettings
    from openbook.serving.link.wire import EngineSettings

    directory = model_directory(model).resolve()
    name = served_model_name or directory.name.removesuffix(".gguf")
    adapters = _adapters(adapter or [], name)
    if allow_runtime_adapters and not (len(adapters) if max_adapters is None else max_adapters):
        raise UsageError("--allow-runtime-adapters leaves room for none", "add --max-adapters N")
    engine = EngineSettings(
        str(directory),
        None if quantize == "none" else quantize,
        max_seq_len,
        max_num_seqs,
        kv_cache_gb,
        kv_dtype,
        speculate if speculate in (None, "ngram") else str(model_directory(str(speculate)).resolve()),
        num_speculative,
        adapters,
        max_adapters,
        threads,
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
    )
    code = run_server(settings, lambda phase: _say(f"{phase} ...", sys.stderr), _show)
    if code:
        raise typer.Exit(code)


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
        options = ["--library", str(directory), *(["--embedder", str(embedder)] if embedder is not None else [])]
        command = [sys.executable, "-m", "openbook", "add", *options, "--", *map(str, documents)]
        code = subprocess.run(
            command, check=False, stdout=sys.stderr
        ).returncode  # reading needs torch, serving must not
        if code not in (0, _SOME_FAILED):
            raise typer.Exit(code)
    if not (directory / "library.sqlite3").is_file():
        raise UsageError(f"there is no library at {directory}", "name documents to add, or another --library")
    return str(directory)


def _show(service: Service, address: str) -> None:
    """One screen: what is served, what it takes, how many it can serve at once, where."""
    facts, settings = service.engine.facts, service.settings
    tokens = facts.num_blocks * facts.block_size
    full = tokens // facts.max_seq_len
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in facts.phases_s.items())
    lines = [
        f"model    {settings.name} ({facts.model_type}, {facts.precision}), {_size(facts.weight_bytes)} of weights",
        f"cache    {facts.num_blocks:,} blocks of {facts.block_size} tokens, {_size(facts.kv_bytes)}: {tokens:,} tokens",
        f"serves   {facts.max_num_seqs} sequences together, {settings.max_queue:,} more may wait; "
        f"{full:,} of the full length of {facts.max_seq_len:,} tokens fit",
        f"threads  {facts.threads}",
    ]
    if settings.engine.speculate is not None:
        lines.append(
            f"proposes {settings.engine.num_speculative} tokens a step, by {Path(settings.engine.speculate).name}"
        )
    if facts.max_adapters:
        lines.append(f"adapters {', '.join(facts.adapters) or 'none yet'}; {facts.max_adapters:,} at a time")
    if settings.library is not None:
        lines.append(f'library  {settings.library}, as the model "library"')
    lines += [f"start    {phases}", f"address  {address}/v1"]
    _say("\n".join(lines), sys.stdout)


def _say(text: str, stream: TextIO) -> None:
    """Writes a line. A disk that is full and a reader that has gone end no server: from then on nothing is written."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
