"""The options of `openbook serve`: what the engine loads, how it computes, who may ask and how many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DocumentsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="DOCS", help="Files and folders that the library gets first; their changes follow."),
]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="DIR|NAME", help="A directory, a name from `model list`, or a GGUF file.")
]
QuantizeOption = Annotated[
    str, typer.Option("--quantize", help="int8, int4 or none; int8 is the fastest on most processors.")
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
HostOption = Annotated[
    str, typer.Option("--host", help="The address to listen on; others reach it only if you say so.")
]
KeysOption = Annotated[
    Path | None,
    typer.Option("--api-keys", metavar="FILE", help="Lines of KEY NAME [tokens_per_minute] [admin]."),
]
LengthOption = Annotated[int | None, typer.Option("--max-seq-len", min=1, help="The most tokens of prompt and answer.")]
SequencesOption = Annotated[int, typer.Option("--max-num-seqs", min=1, help="Sequences computed together.")]
CacheOption = Annotated[float | None, typer.Option("--kv-cache-gb", help="Memory of keys and values.")]
CacheDtypeOption = Annotated[str | None, typer.Option("--kv-dtype", help="bf16 or fp32; the model's when not given.")]
SpeculateOption = Annotated[
    str | None,
    typer.Option(
        "--speculate",
        metavar="ngram|MODEL",
        help="Propose tokens from the prompt, or by a smaller model; answers stay.",
    ),
]
ProposedOption = Annotated[int, typer.Option("--num-speculative", min=1, help="Tokens proposed a step.")]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="NAME=DIR", help="A LoRA or prefix that requests pick as the model NAME."),
]
MaxAdaptersOption = Annotated[
    int | None, typer.Option("--max-adapters", min=0, help="Adapters at a time; those of --adapter if not given.")
]
RuntimeAdaptersOption = Annotated[
    bool, typer.Option("--allow-runtime-adapters", help="Without keys, anybody may load and unload adapters.")
]
WeightUpdatesOption = Annotated[
    bool,
    typer.Option("--allow-weight-updates", help="A trainer may bring new weights of the model; with keys, an admin's."),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the engine.")]
QueueOption = Annotated[int, typer.Option("--max-queue", min=0, help="Sequences that may wait; beyond them 429.")]
ConnectionsOption = Annotated[int, typer.Option("--max-connections", min=1, help="Open connections; beyond them 503.")]
TextEmbedderOption = Annotated[
    Path | None,
    typer.Option("--embedder", metavar="DIR", help="For /v1/embeddings; the default one when not given."),
]
RerankerOption = Annotated[
    Path | None, typer.Option("--reranker", metavar="DIR", help="For /v1/rerank: a BERT with a head of one score.")
]
ServedNameOption = Annotated[
    str | None, typer.Option("--served-model-name", metavar="NAME", help="What clients call the model.")
]
DrainOption = Annotated[float, typer.Option("--drain-seconds", min=0, help="How long answers may go on after SIGTERM.")]
WriteTimeoutOption = Annotated[
    float,
    typer.Option("--write-timeout", min=0.1, help="Seconds after which a client that does not read is dropped."),
]
