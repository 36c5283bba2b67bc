"""Very many clients at once: streams that are all answered, connections that only stay."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import openai
import pytest

from app.server.serving import Server, serving
from app.server.test_faults import until


async def streams(server: Server, count: int) -> list[tuple[str, str | None]]:
    """(text, why it ended) of `count` streams that are open at once."""
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300) as client:

        async def one(number: int) -> tuple[str, str | None]:
            asked: dict[str, Any] = {"model": "tiny", "max_tokens": 24, "seed": number, "stream": True}
            messages = [{"role": "user", "content": f"Tell me of {number}."}]
            text, reason = "", None
            stream = await client.chat.completions.create(**asked, messages=messages, extra_body={"ignore_eos": True})
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
            return text, reason

        return await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.slow
def test_two_hundred_streams_at_once_are_answered(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path, "--max-queue", 400) as server:
        found = asyncio.run(streams(server, 200))
        assert all(text and reason == "length" for text, reason in found)
        assert found[:3] == asyncio.run(streams(server, 3))
        until(lambda: server.metric("openbook:sequences_inside") == 0)
        assert server.metric("vllm:kv_cache_usage_perc") == 0


@pytest.mark.slow
def test_two_thousand_connections_that_say_nothing_do_not_stop_the_others(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path, "--max-connections", 2_100) as server:
        host, port = server.url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(2_000)]
        try:
            assert all(reason == "length" for _, reason in asyncio.run(streams(server, 20)))
        finally:
            for one in idle:
                one.close()
