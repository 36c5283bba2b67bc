"""The histogram of gaps between tokens says what the client library's own would say."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from openbook.app.server.gaps import Gaps

LIMITS_S = (0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
NAME = "vllm:inter_token_latency_seconds"


def test_the_page_is_that_of_a_histogram_of_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    gaps = Gaps("tiny")
    ours.register(gaps)
    histogram = Histogram(NAME, "Between two tokens.", ("model_name",), buckets=LIMITS_S, registry=theirs).labels(
        "tiny"
    )
    for gap_s in (0.0, 0.004, 0.005, 0.0051, 0.3, 2.5, 7.0):
        gaps.note(gap_s)
        histogram.observe(gap_s)
    wanted = [line for line in generate_latest(theirs).decode().splitlines() if line.startswith(f"{NAME}_")]
    wanted = [line for line in wanted if "_created" not in line]
    found = generate_latest(ours).decode().splitlines()
    assert len(wanted) == len(LIMITS_S) + 3
    assert [line for line in found if line.startswith(f"{NAME}_")] == wanted
    older = [line.replace(NAME, "vllm:time_per_output_token_seconds") for line in wanted]
    assert [line for line in found if line.startswith("vllm:time_per_output_token_seconds_")] == older
