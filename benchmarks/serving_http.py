"""What HTTP costs, for `serving.py`: the mixed requests through `Engine` in this process, and over `openbook serve`, in turns.

`python serving_http.py MODEL` measures this alone and writes nothing. Each way has an engine of its own, on the same weights in
int8; the one that is not asked waits for a request and computes nothing. Prompts are ids that no round has seen. Answers come
whole, and as streams, each by 32 connections; the client only counts bytes, since it runs on the same cores.

The weights are random and have no tokenizer. The server wants one of their size: the built-in one is padded with plain pieces
of text, so that every token that comes is decoded to some letters, as those of a model are.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiet import wait_for_quiet
from serving_peer import Openbook, Request, mixed

if TYPE_CHECKING:
    from openbook.lm.families.base import Family
    from openbook.serving.engine.engine import Engine

LONGEST = 640
BLOCKS = 2_048


def measure(model: Family, directory: Path, rounds: int = 5) -> dict[str, float]:
    """Output tokens a second of the mixed requests, medians of the rounds; costs: the median of the rounds' shares lost. Seconds
    of processor time of the server's HTTP process for each 1,000 tokens.
    """
    from openbook.serving.engine.core import EngineCore
    from openbook.serving.engine.engine import Engine

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, _Server(served(directory, Path(folder) / "served")) as server:
        core = EngineCore(model, num_blocks=BLOCKS, max_seq_len=LONGEST)
        with Engine(core, directory, precision="int8") as engine:
            ways: dict[str, Callable[[list[Request]], int]] = {
                "python": lambda requests: in_process(engine, requests),
                "http": lambda requests: asyncio.run(server.ask_all(requests, is_streamed=False)),
                "streamed": lambda requests: asyncio.run(server.ask_all(requests, is_streamed=True)),
            }
            for number in range(-1, rounds):
                order = list(ways) if number % 2 else list(ways)[::-1]
                for name in order:
                    requests = fresh(1_000 * (number + 2) + len(name))
                    share = wait_for_quiet()
                    spent, began = server.cpu_s(), time.perf_counter()
                    tokens = ways[name](requests)
                    speed = tokens / (time.perf_counter() - began)
                    used = 1e3 * (server.cpu_s() - spent) / tokens
                    print(f"{number:3} {name:9} {speed:7.1f} tokens/s, {used:.4f} s (others {share:.2f})", flush=True)
                    if number >= 0:
                        found.setdefault(name, []).append(speed)
                        found.setdefault(f"{name}_cpu", []).append(used)
    return {
        **{name: statistics.median(found[name]) for name in ways},
        "costs": statistics.median(1 - b / a for a, b in zip(found["python"], found["http"], strict=True)),
        "streamed_costs": statistics.median(1 - b / a for a, b in zip(found["python"], found["streamed"], strict=True)),
        "cpu_s_per_1000_tokens": statistics.median(found["http_cpu"]),
        "streamed_cpu_s_per_1000_tokens": statistics.median(found["streamed_cpu"]),
    }


def fresh(seed: int) -> list[Request]:
    """The mixed requests with other tokens, so that no prefix is known."""
    draw = random.Random(seed)
    return [Request([draw.randrange(8_000) for _ in one.prompt], one.tokens) for one in mixed()]


def in_process(engine: Engine, requests: list[Request]) -> int:
    from openbook.core.messages import SamplingParams

    tickets = [engine.submit(one.prompt, SamplingParams(max_tokens=one.tokens, ignore_eos=True)) for one in requests]
    return sum(1 for ticket in tickets for _ in ticket)


def served(directory: Path, to: Path) -> Path:
    """A directory with the weights of `directory` and a tokenizer of their size."""
    from openbook.lm.tokenizers.default import default_tokenizer

    size = json.loads((directory / "config.json").read_text())["vocab_size"]
    tokenizer = default_tokenizer()
    plain = json.loads(tokenizer.backend.to_str())
    vocabulary = plain["model"]["vocab"]
    # No merge makes these, so that texts are encoded as before; an added token each would take seconds to load.
    vocabulary |= {f"Ġx{number:x}": number for number in range(tokenizer.vocab_size, size)}
    to.mkdir()
    tokenizer.save(to)
    (to / "tokenizer.json").write_text(json.dumps(plain, ensure_ascii=False))
    for name in ("config.json", "model.safetensors"):
        (to / name).symlink_to((directory / name).resolve())
    return to


class _Server:
    """`openbook serve` in processes of its own. A context manager that waits until it is ready."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._name = directory.name
        command = [sys.executable, "-m", "openbook", "serve", "--model", str(directory), "--quantize", "int8"]
        command += ["--port", str(self._port), "--max-seq-len", str(LONGEST)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self) -> _Server:
        import httpx

        while self._process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self._port}/ready").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise SystemExit("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def cpu_s(self) -> float:
        """Processor time of the HTTP process so far."""
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[0]) for one in threads) / 1e9

    async def ask_all(self, requests: list[Request], *, is_streamed: bool) -> int:
        """All at once; the tokens that came."""
        asked: list[Awaitable[int]] = [self._ask(one, is_streamed) for one in requests]
        return sum(await asyncio.gather(*asked))

    async def _ask(self, one: Request, is_streamed: bool) -> int:
        body: dict[str, Any] = {"model": self._name, "prompt": one.prompt, "max_tokens": one.tokens, "temperature": 0}
        body |= {"ignore_eos": True} | (
            {"stream": True, "stream_options": {"include_usage": True}} if is_streamed else {}
        )
        said = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(said)}\r\nConnection: close\r\n"
        )
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + said)
        reply = await reader.read()
        writer.close()
        _, _, usage = reply.rpartition(b'"completion_tokens":')
        if not reply.startswith(b"HTTP/1.1 200") or not usage:
            raise SystemExit(f"the server answered {reply[:500]!r}")
        return int(usage.partition(b",")[0])


def main() -> None:
    directory = Path(sys.argv[1])
    ours = Openbook(str(directory), "int8")
    print(json.dumps(measure(ours.model, directory), indent=1))


if __name__ == "__main__":
    main()
