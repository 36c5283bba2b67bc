"""Thousands of requests, many of them broken off: blocks come back, and neither process grows with them.

The engine serves in int8 a model whose forward is one kernel, and one whose layers are computed one after the other, by
libraries that keep something for each shape of a batch.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.server.serving import Server, serving, write_checkpoint
from app.server.test_faults import until

_REQUESTS = 4_000
_AT_ONCE = 16


def resident_bytes(pid: int) -> int:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) * 1_024


async def ask(server: Server, count: int, seed: int) -> None:
    """Streams and whole answers; every third is left in the middle."""
    draw = random.Random(seed)
    numbers = iter(range(count))
    async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as http:

        async def client() -> None:
            for number in numbers:
                text = " ".join(draw.choices(["river", "stone", "garden", "letter"], k=draw.randint(1, 60)))
                body: dict[str, Any] = {
                    "messages": [{"role": "user", "content": text}],
                    "max_tokens": draw.randint(1, 24),
                    "ignore_eos": True,
                    "n": draw.choice([1, 1, 1, 2]),
                }
                if number % 3:
                    assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
                    continue
                async with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as answer:
                    left = draw.randint(0, 6)
                    async for _ in answer.aiter_lines():
                        left -= 1
                        if left < 0:
                            break

        await asyncio.gather(*(client() for _ in range(_AT_ONCE)))


SIZES: dict[str, dict[str, Any]] = {
    "fused": {"hidden_size": 64, "intermediate_size": 128},
    "layers": {
        "model_type": "qwen2_moe",
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
        "decoder_sparse_step": 1,
        "norm_topk_prob": False,
        "mlp_only_layers": [],
    },
}


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kind", SIZES)
def test_blocks_come_back_and_memory_stays(tmp_path: Path, kind: str) -> None:
    write_checkpoint(tmp_path / "tiny", **SIZES[kind])
    with serving(tmp_path / "tiny", tmp_path, "--max-num-seqs", 8, "--quantize", "int8") as server:
        asyncio.run(ask(server, _REQUESTS // 2, 1))
        pids = (server.process.pid, server.engine_pid())
        half = [resident_bytes(pid) for pid in pids]
        asyncio.run(ask(server, _REQUESTS // 2, 2))
        until(lambda: server.metric("openbook:sequences_inside") == 0)
        until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0)
        grown = [resident_bytes(pid) - before for pid, before in zip(pids, half, strict=True)]
        assert max(grown) < _REQUESTS // 2 * 1_000, grown  # 1 MB in a thousand requests
