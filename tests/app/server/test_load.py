"""Figures of a load: what is counted, and a run against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.server.serving import Server
from command_line import Cli
from openbook.app.server.load import Goodput, Timing, _ask, percentiles_ms, summary


class Reads(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles_ms([n / 1_000 for n in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles_ms([0.002]) == {"p50": 2, "p95": 2, "p99": 2}
    assert percentiles_ms([]) == {}


def test_figures_leave_out_what_failed() -> None:
    quick = Timing(ttft_s=0.1, whole_s=0.5, gaps_s=[0.2, 0.2], prompt_tokens=4, output_tokens=3)
    slow = Timing(ttft_s=0.9, whole_s=1.3, gaps_s=[0.2, 0.2], prompt_tokens=4, output_tokens=3)
    found = summary([quick, slow, Timing(error="503")], 2.0, Goodput(500, 250))
    assert (found["requests"], found["errors"], found["output_tokens"]) == (3, 1, 6)
    assert found["output_tokens_per_s"] == 3.0
    assert found["ttft_ms"]["p50"] == 100 and found["gap_ms"]["p99"] == 200 == found["token_ms"]["p50"]
    assert found["goodput"]["requests_per_s"] == 0.5 and found["goodput"]["share"] == 0.3333


def test_tokens_that_come_together_are_not_said_to_take_no_time() -> None:
    together = Timing(ttft_s=0.1, whole_s=0.5, gaps_s=[0.4], output_tokens=5)  # one, and four in the next read
    assert together.token_s == pytest.approx(0.1)
    at_once = Timing(ttft_s=0.5, whole_s=0.5, output_tokens=5)
    assert at_once.token_s is None and Timing(ttft_s=0.5, whole_s=0.5, output_tokens=1).token_s is None
    found = summary([together, at_once], 1.0, Goodput(600, 50))
    assert found["token_ms"]["p50"] == 100 and found["gap_ms"]["p50"] == 400
    assert found["goodput"]["share"] == 0.5


def test_what_one_read_brings_has_one_time() -> None:
    def event(text: str) -> bytes:
        return b"data: " + json.dumps({"choices": [{"text": text}]}).encode() + b"\n\n"

    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    reads = [event("a")[:9], event("a")[9:] + event("b")[:20], event("b")[20:] + event("c") + event("d"), usage]
    answer = httpx.Response(200, stream=Reads(reads))
    transport = httpx.MockTransport(lambda _: answer)

    async def asked() -> Timing:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await _ask(http, "m", "p", 4)

    timing = asyncio.run(asked())
    assert (timing.prompt_tokens, timing.output_tokens, len(timing.gaps_s), timing.error) == (3, 4, 1, "")
    assert 0 < timing.ttft_s < timing.whole_s and timing.token_s == pytest.approx(timing.gaps_s[0] / 3)


def test_an_error_in_a_stream_is_the_request_s() -> None:
    answer = httpx.Response(200, stream=Reads([b'data: {"error": {"message": "it broke"}}\n\n']))

    async def asked() -> Timing:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer), base_url="http://test") as http:
            return await _ask(http, "m", "p", 4)

    assert "it broke" in asyncio.run(asked()).error


def test_a_server_is_measured(server: Server, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    out = cli(
        *("bench", "serve", f"{server.url}/v1", "--concurrency", 3, "--requests", 6, "--prompt-tokens", "8-16"),
        *("--output-tokens", "4-8", "--goodput", "60000,60000", "--json", tmp_path / "out.json"),
    )
    assert "between reads" in out and "a token" in out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["requests"] == 6 and figures["errors"] == 0 and figures["goodput"]["share"] == 1
    assert 24 <= figures["output_tokens"] <= 48 and 40 <= figures["prompt_tokens"] <= 110


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:9/v1",), "did not answer"),
        (("http://127.0.0.1:9/v1", "--prompt-tokens", "9-3"), "A-B"),
        (("http://127.0.0.1:9/v1", "--goodput", "5"), "TTFT_MS,TOKEN_MS"),
    ],
)
def test_what_cannot_be_measured_is_told(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    cli = Cli(tmp_path)
    cli("bench", "serve", *arguments, code=1 if len(arguments) == 1 else 2)
    assert said in cli.errors
