"""The page of /metrics: what the engine counts, also when it is asked for again and when the engine is gone."""

from __future__ import annotations

import re
from pathlib import Path

from app.server.serving import serving
from app.server.test_faults import until
from openbook.app.server.metrics import Metrics
from openbook.serving.link.wire import EngineStats


def sample(page: bytes, name: str) -> float:
    (found,) = re.findall(rf"^{name}{{[^}}]*}} (\S+)$", page.decode(), re.MULTILINE)
    return float(found)


def test_what_was_counted_is_not_counted_twice() -> None:
    metrics = Metrics("tiny")
    stats = EngineStats(2, 3, 4, num_preempted=5, num_tokens=60, num_proposed=12, num_accepted=7)
    for _ in range(2):
        page = metrics.text(None, stats, inside=5, adapters=2)
        assert sample(page, "vllm:num_requests_running") == 2 and sample(page, "vllm:num_requests_waiting") == 3
        assert sample(page, "vllm:num_preemptions_total") == 5
        assert sample(page, "vllm:spec_decode_num_draft_tokens_total") == 12
        assert sample(page, "vllm:spec_decode_num_accepted_tokens_total") == 7
        assert sample(page, "openbook:engine_tokens_total") == 60
        assert sample(page, "openbook:adapters_loaded") == 2
    page = metrics.text(None, stats._replace(num_accepted=9), inside=0, adapters=0)
    assert sample(page, "vllm:spec_decode_num_accepted_tokens_total") == 9


def test_a_server_that_speculates_says_how_well(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path, "--speculate", "ngram") as server:
        asked = {"prompt": "one two three " * 30, "max_tokens": 60, "temperature": 0, "ignore_eos": True}
        with server.http() as http:
            assert http.post("/v1/completions", json=asked).status_code == 200
        until(lambda: server.metric("vllm:spec_decode_num_draft_tokens_total") > 0)
        accepted = server.metric("vllm:spec_decode_num_accepted_tokens_total")
        assert 0 <= accepted <= server.metric("vllm:spec_decode_num_draft_tokens_total")
        assert any(line.startswith("proposes") for line in server.lines)
