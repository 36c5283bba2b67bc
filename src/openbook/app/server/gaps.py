"""Seconds between two tokens, for Prometheus: noted for every token of every answer, so it must cost next to nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_LIMITS_S = (0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_NAMES = {
    "vllm:inter_token_latency_seconds": "Between two tokens.",
    "vllm:time_per_output_token_seconds": "Between two tokens, under vLLM's older name.",
}


class Gaps(Collector):
    """One histogram under two names. For one thread: the library's own takes six locks a token."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._counts = [0] * (len(_LIMITS_S) + 1)
        self._sum_s = 0.0

    def note(self, gap_s: float) -> None:
        self._counts[bisect_left(_LIMITS_S, gap_s)] += 1
        self._sum_s += gap_s

    def collect(self) -> Iterator[Metric]:
        limits = [*(str(float(limit)) for limit in _LIMITS_S), "+Inf"]
        buckets = list(zip(limits, accumulate(self._counts), strict=True))
        for name, what in _NAMES.items():
            family = HistogramMetricFamily(name, what, labels=("model_name",))
            family.add_metric((self._model,), buckets, self._sum_s)
            yield family
