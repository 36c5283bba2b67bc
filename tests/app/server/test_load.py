"""Figures of a load: what is counted, and a run against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.server.serving import Server
from command_line import Cli
from openbook.app.server.load import Goodput, Timing, percentiles_ms, summary

pytestmark = pytest.mark.slow  # servers of their own: minutes


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
    assert found["ttft_ms"]["p50"] == 100 and found["inter_token_ms"]["p99"] == 200
    assert found["goodput"]["requests_per_s"] == 0.5 and found["goodput"]["share"] == 0.3333


def test_a_server_is_measured(server: Server, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    out = cli(
        *("bench", "serve", f"{server.url}/v1", "--concurrency", 3, "--requests", 6, "--prompt-tokens", "8-16"),
        *("--output-tokens", "4-8", "--goodput", "60000,60000", "--json", tmp_path / "out.json"),
    )
    assert "between tokens" in out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["requests"] == 6 and figures["errors"] == 0 and figures["goodput"]["share"] == 1
    assert 24 <= figures["output_tokens"] <= 48 and 40 <= figures["prompt_tokens"] <= 110


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:9/v1",), "did not answer"),
        (("http://127.0.0.1:9/v1", "--prompt-tokens", "9-3"), "A-B"),
        (("http://127.0.0.1:9/v1", "--goodput", "5"), "TTFT_MS,ITL_MS"),
    ],
)
def test_what_cannot_be_measured_is_told(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    cli = Cli(tmp_path)
    cli("bench", "serve", *arguments, code=1 if len(arguments) == 1 else 2)
    assert said in cli.errors
