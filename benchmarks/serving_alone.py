"""What only concerns ours, for `serving.py`: what a step is made of, prefixes, waste of the cache, what HTTP costs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving_peer import Openbook, Request, mixed, prompt_of

SHARED = 1_000


def measure(model: Path) -> dict[str, Any]:
    ours = Openbook(str(model), "int8")
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    found: dict[str, Any] = {"step": step(ours), "prefix": prefix(ours), "kv_waste": waste(ours)}
    if (
        Tokenizer.load(model).vocab_size == ours.model.config.vocab_size
    ):  # a server refuses the tokenizer of another model
        found["http"] = http(ours, model)
    print(found)
    return found


def engine_of(ours: Openbook, **settings: Any) -> Any:
    from openbook.serving.engine.core import EngineCore

    return EngineCore(ours.model, **{"num_blocks": 2_048, "max_seq_len": 2_048} | settings)


def params(tokens: int) -> Any:
    from openbook.core.messages import SamplingParams

    return SamplingParams(max_tokens=tokens, ignore_eos=True)


def step(ours: Openbook, sequences: int = 32) -> dict[str, float]:
    """Milliseconds of a step of `sequences` that each decode one token, by part; the share that is no forward pass."""
    from openbook.serving.engine import core

    engine = engine_of(ours)
    for number in range(sequences):
        engine.add(prompt_of(128, number), params(64))
    engine.step()
    while any(one.num_to_compute > 1 for one in engine.scheduler.running) or engine.scheduler.waiting:
        engine.step()
    times: dict[str, list[float]] = {}

    def timed(owner: Any, name: str, called: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                times.setdefault(called, []).append(time.perf_counter() - began)

        setattr(owner, name, wrapped)

    before = core.choose
    timed(engine.scheduler, "plan", "plan")
    timed(engine.scheduler, "computed", "computed")
    timed(engine.runner, "run", "run")
    timed(ours.model.fused, "forward", "forward")
    timed(core, "choose", "choose")
    whole = []
    try:
        for _ in range(40):
            began = time.perf_counter()
            engine.step()
            whole.append(time.perf_counter() - began)
    finally:
        core.choose = before  # type: ignore[attr-defined]
        del ours.model.fused.forward
    found = {name: 1e3 * statistics.median(each) for name, each in times.items()}
    found["step"] = 1e3 * statistics.median(whole)
    found["share_beside_forward"] = 1 - found["forward"] / found["step"]
    return found


def prefix(ours: Openbook, rounds: int = 5) -> dict[str, float]:
    """Seconds to the first token behind `SHARED` tokens that are new, and that another request has had."""
    fresh, again = [], []
    for number in range(rounds):
        engine = engine_of(ours)
        shared = prompt_of(SHARED, 100 + number)
        for seconds, tail in ((fresh, 1), (again, 2)):
            began = time.perf_counter()
            engine.add(shared + prompt_of(8, tail), params(1))
            while not engine.is_idle:
                engine.step()
            seconds.append(time.perf_counter() - began)
    first, second = statistics.median(fresh), statistics.median(again)
    return {"new_s": first, "shared_s": second, "ratio": first / second}


def waste(ours: Openbook) -> float:
    """The largest share of the slots in use that hold no token, while the mixed requests run."""
    engine = engine_of(ours)
    for one in mixed():
        engine.add(one.prompt, params(one.tokens))
    shares = []
    while not engine.is_idle:
        engine.step()
        running = engine.scheduler.running
        used = sum(one.num_computed for one in running)
        slots = sum(len(one.block_table) for one in running) * engine.blocks.block_size
        if slots:
            shares.append(1 - used / slots)
    return statistics.median(shares)


def http(ours: Openbook, model: Path, rounds: int = 3) -> dict[str, float]:
    """Output tokens a second of the mixed requests through the Python API and over HTTP, in turns."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "openbook",
        "serve",
        "--model",
        str(model),
        "--quantize",
        "int8",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ)
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        python, over = [], []
        for number in range(-1, rounds):
            os.killpg(server.pid, signal.SIGSTOP)
            began = time.perf_counter()
            tokens = sum(ours.run(mixed()))
            one = tokens / (time.perf_counter() - began)
            os.killpg(server.pid, signal.SIGCONT)
            time.sleep(0.2)
            requests = [
                Request([number + 100, *one_.prompt[1:]], one_.tokens) for one_ in mixed()
            ]  # no prefix is known
            began = time.perf_counter()
            tokens = asyncio.run(_ask_all(url, requests))
            other = tokens / (time.perf_counter() - began)
            if number >= 0:
                python.append(one)
                over.append(other)
    finally:
        server.terminate()
        server.wait(60)
    costs = statistics.median(1 - b / a for a, b in zip(python, over, strict=True))
    return {"python": statistics.median(python), "http": statistics.median(over), "costs": costs}


def _wait(url: str) -> None:
    import httpx

    for _ in range(600):
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the server did not start")


async def _ask_all(url: str, requests: list[Request]) -> int:
    import httpx

    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=64)) as client:
        name = (await client.get(f"{url}/v1/models")).json()["data"][0]["id"]

        async def ask(one: Request) -> int:
            body = {"model": name, "prompt": one.prompt, "max_tokens": one.tokens, "temperature": 0, "ignore_eos": True}
            reply = await client.post(f"{url}/v1/completions", json=body)
            reply.raise_for_status()
            return int(reply.json()["usage"]["completion_tokens"])

        return sum(await asyncio.gather(*(ask(one) for one in requests)))
