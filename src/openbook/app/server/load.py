"""Load for a server, as many clients would make it, and how long they waited. For any server of the OpenAI API."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import httpx

from openbook.core.errors import ModelUnavailable

_WORDS = (
    "river stone window garden letter morning bridge paper silver winter market captain island forest engine".split()
)
_CALIBRATION_WORDS = 64


class Goodput(NamedTuple):
    """What counts as served well: the first token and, on average, each behind it within so many milliseconds."""

    ttft_ms: float
    token_ms: float

    def holds(self, timing: Timing) -> bool:
        return 1e3 * timing.ttft_s <= self.ttft_ms and 1e3 * (timing.token_s or 0.0) <= self.token_ms


@dataclass(frozen=True)
class Load:
    """`concurrency` clients ask `requests` times in all; lengths are drawn from the ranges, ends included."""

    concurrency: int
    requests: int
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    seed: int = 0


@dataclass
class Timing:
    """Of one request, in seconds, as its client saw it. `gaps_s`: between two reads that brought text, however many tokens."""

    ttft_s: float = 0.0
    whole_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""

    @property
    def token_s(self) -> float | None:
        """A token behind the first: (last - first) / (n - 1). None where all came at once, which says nothing of each."""
        return (
            (self.whole_s - self.ttft_s) / (self.output_tokens - 1) if self.gaps_s and self.output_tokens > 1 else None
        )


async def run_load(
    url: str,
    load: Load,
    key: str | None = None,
    model: str | None = None,
    on_done: Callable[[int], None] = lambda _: None,
) -> tuple[list[Timing], float]:
    """(timings in order of their end, seconds in all). `url` ends with the version. ModelUnavailable when nobody answers."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=limits) as http:
        try:
            name = model or (await http.get("models")).raise_for_status().json()["data"][0]["id"]
            words_a_token = await _calibrated(http, name)
        except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
            raise ModelUnavailable(
                f"{url} did not answer as an OpenAI-compatible server ({error})", "check the URL"
            ) from None
        draw = random.Random(load.seed)
        waiting = [
            (_prompt(draw, draw.randint(*load.prompt_tokens) * words_a_token), draw.randint(*load.output_tokens))
            for _ in range(load.requests)
        ]
        waiting.reverse()
        timings: list[Timing] = []

        async def client() -> None:
            while waiting:
                prompt, length = waiting.pop()
                timings.append(await _ask(http, name, prompt, length))
                on_done(len(timings))

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(load.concurrency)))
        return timings, time.perf_counter() - begun


async def _calibrated(http: httpx.AsyncClient, model: str) -> float:
    """Words that make one token of a prompt, so that lengths are right whatever the tokenizer."""
    prompt = _prompt(random.Random(1), _CALIBRATION_WORDS)
    answer = await http.post("completions", json={"model": model, "prompt": prompt, "max_tokens": 1})
    tokens: int = answer.raise_for_status().json()["usage"]["prompt_tokens"]
    return _CALIBRATION_WORDS / tokens


def _prompt(draw: random.Random, words: float) -> str:
    return " ".join(draw.choices(_WORDS, k=max(round(words), 1)))


async def _ask(http: httpx.AsyncClient, model: str, prompt: str, length: int) -> Timing:
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": length,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    timing, text_at_s = Timing(), [time.perf_counter()]
    try:
        async with http.stream("POST", "completions", json=body) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return Timing(error=f"{answer.status_code}: {answer.text[:200]}")
            rest = b""
            async for read in answer.aiter_bytes():
                *lines, rest = (rest + read).split(b"\n")
                if sum(_has_text(line, timing) for line in lines):
                    text_at_s.append(time.perf_counter())
                if timing.error:
                    return timing
    except httpx.HTTPError as error:
        return Timing(error=f"{type(error).__name__}: {error}")
    begun_s, *reads_s = text_at_s
    timing.ttft_s, timing.whole_s = text_at_s[min(1, len(reads_s))] - begun_s, text_at_s[-1] - begun_s
    timing.gaps_s = [after - before for before, after in pairwise(reads_s)]
    return timing


def _has_text(line: bytes, timing: Timing) -> bool:
    """Whether an event brings text; usage and errors are noted."""
    if not line.startswith(b"data: {"):
        return False
    said = json.loads(line.removeprefix(b"data: "))
    if "error" in said:
        timing.error = str(said["error"])[:200]
    if said.get("usage"):
        timing.prompt_tokens = said["usage"]["prompt_tokens"]
        timing.output_tokens = said["usage"]["completion_tokens"]
    return any(choice.get("text") for choice in said.get("choices", ()))


def summary(timings: Sequence[Timing], seconds: float, goodput: Goodput | None = None) -> dict[str, Any]:
    """Percentiles in milliseconds, throughput in tokens and requests a second. Requests that failed count as errors alone."""
    good = [one for one in timings if not one.error]
    output = sum(one.output_tokens for one in good)
    found: dict[str, Any] = {
        "requests": len(timings),
        "errors": len(timings) - len(good),
        "seconds": round(seconds, 3),
        "prompt_tokens": sum(one.prompt_tokens for one in good),
        "output_tokens": output,
        "output_tokens_per_s": round(output / seconds, 2),
        "requests_per_s": round(len(good) / seconds, 3),
        "ttft_ms": percentiles_ms([one.ttft_s for one in good]),
        "token_ms": percentiles_ms([one.token_s for one in good if one.token_s is not None]),
        "gap_ms": percentiles_ms([gap for one in good for gap in one.gaps_s]),
        "request_ms": percentiles_ms([one.whole_s for one in good]),
    }
    if goodput is not None:
        within = [one for one in good if goodput.holds(one)]
        found["goodput"] = {
            "ttft_ms": goodput.ttft_ms,
            "token_ms": goodput.token_ms,
            "share": round(len(within) / max(len(timings), 1), 4),
            "requests_per_s": round(len(within) / seconds, 3),
        }
    return found


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99: the smallest value that so many percent do not exceed."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {f"p{q}": round(1e3 * ordered[max(-(-q * len(ordered) // 100) - 1, 0)], 3) for q in (50, 95, 99)}
