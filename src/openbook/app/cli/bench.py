"""`openbook bench serve`: how fast a server answers many clients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from openbook.app.server.load import Goodput

_SHOWN = {"ttft_ms": "first token", "token_ms": "a token", "gap_ms": "between reads", "request_ms": "request"}
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Measure."""


@app.command("serve")
def serve(
    target: Annotated[
        str, typer.Argument(metavar="URL|MODEL", help="A server (.../v1), or a model that is served for the occasion.")
    ],
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Clients that ask at once.")] = 8,
    requests: Annotated[int, typer.Option("--requests", min=1, help="How often they ask in all.")] = 64,
    prompt_tokens: Annotated[str, typer.Option("--prompt-tokens", metavar="A-B")] = "32-256",
    output_tokens: Annotated[str, typer.Option("--output-tokens", metavar="A-B")] = "32-128",
    goodput: Annotated[
        str | None,
        typer.Option("--goodput", metavar="TTFT_MS,TOKEN_MS", help="Count requests served within these times."),
    ] = None,
    quantize: Annotated[str, typer.Option("--quantize", help="Of a model that is served for the occasion.")] = "none",
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Which model of the server.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same prompts and lengths again.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")
    ] = None,
) -> None:
    """Time to the first token, time a token, throughput and goodput of a server under load, as its clients see them.

    first token: from the request to the first text (TTFT). a token: of each request, the time from its first token to its last,
    divided by the tokens behind the first (TPOT). between reads: from one read that brought text to the next; a read may bring
    several tokens. request: to the last token. Each at p50, p95 and p99. goodput: requests a second whose first token and whose
    time a token are within the limits.
    """
    import asyncio
    import json

    from openbook.app.server.load import Load, run_load, summary
    from openbook.core.keys import api_key
    from openbook.serving.endpoint import is_url, parse_endpoint

    load = Load(concurrency, requests, _range(prompt_tokens), _range(output_tokens), seed)
    wanted = _goodput(goodput)
    if is_url(target):
        endpoint = parse_endpoint(target)
        found = asyncio.run(run_load(f"{endpoint.url}/", load, api_key(), model or endpoint.model, _show))
    else:
        with _served(target, quantize, concurrency) as url:
            found = asyncio.run(run_load(f"{url}/", load, None, model, _show))
    timings, seconds = found
    figures = summary(timings, seconds, wanted)
    _print(figures)
    for error in sorted({one.error for one in timings if one.error})[:3]:
        print(f"  x {error}", file=sys.stderr)
    if json_file is not None:
        settings = {
            "concurrency": concurrency,
            "prompt_tokens": load.prompt_tokens,
            "output_tokens": load.output_tokens,
            "seed": seed,
        }
        json_file.write_text(json.dumps({"target": target, "load": settings} | figures, indent=2) + "\n", "utf-8")
    if figures["errors"]:
        raise typer.Exit(1)


def _range(text: str) -> tuple[int, int]:
    from openbook.core.errors import UsageError

    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last if dash else first)
    except ValueError:
        low = high = 0
    if not 1 <= low <= high:
        raise UsageError(f"{text!r} is no range of tokens", "write A-B, e.g. 32-256")
    return low, high


def _goodput(text: str | None) -> Goodput | None:
    from openbook.app.server.load import Goodput
    from openbook.core.errors import UsageError

    if text is None:
        return None
    try:
        first, next_ = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no pair of times", "write TTFT_MS,TOKEN_MS, e.g. 500,50") from None
    return Goodput(first, next_)


@contextmanager
def _served(model: str, quantize: str, concurrency: int) -> Iterator[str]:
    """A server of `model` for the block; its address with the version."""
    import subprocess

    from openbook.core.errors import ModelUnavailable

    options = ["--port", "0", "--quantize", quantize, "--max-num-seqs", str(concurrency)]
    process = subprocess.Popen(
        [sys.executable, "-m", "openbook", "serve", "--model", model, *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="")
            if line.startswith("address"):
                yield line.split()[1]
                return
        raise ModelUnavailable(f"{model} could not be served", "see above")
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _show(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} requests", end="", file=sys.stderr)


def _print(figures: dict[str, Any]) -> None:
    print(
        f"{figures['requests']} requests in {figures['seconds']} s, {figures['errors']} errors; "
        f"{figures['output_tokens_per_s']} output tokens/s, {figures['requests_per_s']} requests/s"
    )
    for name, what in _SHOWN.items():
        shown = "  ".join(f"{key} {value:9.1f} ms" for key, value in figures[name].items())
        print(f"{what:15} {shown}")
    if "goodput" in figures:
        good = figures["goodput"]
        print(
            f"goodput         {good['requests_per_s']} requests/s ({good['share']:.0%}) with the first token within "
            f"{good['ttft_ms']:g} ms and {good['token_ms']:g} ms a token"
        )
