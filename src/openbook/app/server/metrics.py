"""Figures of a running server for Prometheus, under vLLM's names where they mean the same.

Source of the names: https://docs.vllm.ai/en/latest/design/metrics.html
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from openbook.app.server.gaps import Gaps
from openbook.serving.link.wire import EngineFacts, EngineStats

_FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_WHOLE_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480)


class Metrics:
    """A registry of its own: nothing is counted for the whole process."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._model = model
        self._running = self._gauge("vllm:num_requests_running", "Sequences that are computed.")
        self._waiting = self._gauge("vllm:num_requests_waiting", "Sequences that wait for a place.")
        self._blocks = self._gauge("vllm:kv_cache_usage_perc", "Blocks of the cache in use, 1 is all.")
        self._preempted = self._counter("vllm:num_preemptions", "Sequences sent back to the queue.")
        self._prompt = self._counter("vllm:prompt_tokens", "Tokens of prompts.")
        self._generated = self._counter("vllm:generation_tokens", "Tokens of answers.")
        self._proposed = self._counter("vllm:spec_decode_num_draft_tokens", "Tokens that speculation proposed.")
        self._accepted = self._counter("vllm:spec_decode_num_accepted_tokens", "Proposed tokens that stayed.")
        self._adapters = self._gauge("openbook:adapters_loaded", "Adapters that requests may name.")
        self._queries = self._counter("vllm:prefix_cache_queries", "Tokens of prompts that were looked for.")
        self._hits = self._counter("vllm:prefix_cache_hits", "Tokens of prompts that were found computed.")
        self._first = self._histogram("vllm:time_to_first_token_seconds", "Until the first token.", _FIRST_S)
        self._gaps = Gaps(model)
        self._registry.register(self._gaps)
        self._whole = self._histogram("vllm:e2e_request_latency_seconds", "Until the last token.", _WHOLE_S)
        self._finished = Counter(
            "vllm:request_success", "Sequences that ended.", ("model_name", "finished_reason"), registry=self._registry
        )
        self._refused = Counter(
            "openbook:requests_refused", "Requests that were refused, by status.", ("status",), registry=self._registry
        )
        self._computed = self._counter(
            "openbook:engine_tokens", "Tokens that the engine chose, also for clients that left."
        )
        self._inside = Gauge("openbook:sequences_inside", "Sequences taken in and not ended.", registry=self._registry)
        self._up = Gauge("openbook:engine_up", "1 while the engine process serves.", registry=self._registry)
        self._told = EngineStats()
        self._num_generated = 0  # since the page was last asked for

    def begun(self, prompt_tokens: int) -> None:
        self._prompt.inc(prompt_tokens)

    def first_token(self, after_s: float, prompt_tokens: int, cached_tokens: int) -> None:
        self._first.observe(after_s)
        self._num_generated += 1
        self._queries.inc(prompt_tokens)
        self._hits.inc(cached_tokens)

    def next_token(self, after_s: float) -> None:
        self._gaps.note(after_s)
        self._num_generated += 1

    def ended(self, reason: str, after_s: float) -> None:
        self._whole.observe(after_s)
        self._finished.labels(self._model, reason).inc()

    def refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def text(self, facts: EngineFacts | None, stats: EngineStats, inside: int, adapters: int) -> bytes:
        """The page of /metrics. `facts`: None while no engine serves. `inside`: sequences that run or wait."""
        self._up.set(facts is not None)
        self._inside.set(inside)
        self._running.set(stats.running)
        self._waiting.set(stats.waiting)
        self._blocks.set(stats.blocks_in_use / facts.num_blocks if facts is not None else 0)
        self._adapters.set(adapters)
        self._preempted.inc(stats.num_preempted - self._told.num_preempted)
        self._computed.inc(stats.num_tokens - self._told.num_tokens)
        self._proposed.inc(stats.num_proposed - self._told.num_proposed)
        self._accepted.inc(stats.num_accepted - self._told.num_accepted)
        self._told = stats
        self._generated.inc(self._num_generated)
        self._num_generated = 0
        return generate_latest(self._registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(name, what, ("model_name",), registry=self._registry).labels(self._model)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, ("model_name",), registry=self._registry).labels(self._model)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, what, ("model_name",), buckets=buckets, registry=self._registry).labels(self._model)
