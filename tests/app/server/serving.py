"""A server for tests: `openbook serve` in a process of its own, on a port that is free, ended with the test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai

from lm.checkpoints import TINY
from openbook.lm.load import new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer

CONTEXT = 512


def write_checkpoint(directory: Path, context: int = CONTEXT, **sizes: Any) -> None:
    """A model of random weights that says something, with the default tokenizer and its chat template."""
    tokenizer = default_tokenizer()
    changes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": context, "eos_token_id": tokenizer.eos_id}
    model = new_model(TINY | changes | sizes, seed=2)
    for name, parameter in model.requires_grad_(False).named_parameters():
        if parameter.ndim > 1 and "tokens" not in name:
            parameter *= 6
    save_model(model, directory)
    tokenizer.save(directory)


class Server:
    """`url` without the version. `lines`: what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._clients: dict[str, openai.OpenAI] = {}
        self._address = threading.Event()
        for stream, kept in ((process.stdout, self.lines), (process.stderr, self.errors)):
            threading.Thread(target=self._read, args=(stream, kept), daemon=True).start()
        self._address.wait(120)
        found = [re.search(r"address +(http://\S+)/v1", line) for line in self.lines]
        self.url = next((match[1] for match in found if match), "")
        assert self.url, "".join([*self.lines, *self.errors])

    def _read(self, stream: Iterator[str], kept: list[str]) -> None:
        for line in stream:
            kept.append(line)
            if line.startswith("address"):
                self._address.set()
        self._address.set()

    def client(self, key: str = "none") -> openai.OpenAI:
        """Closed with the server."""
        if key not in self._clients:
            self._clients[key] = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)
        return self._clients[key]

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def metric(self, name: str, key: str | None = None) -> float:
        """The sum of all samples called `name`."""
        with self.http(key) as http:
            text = http.get("/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))

    def engine_pid(self) -> int:
        """The process that holds the model: the first child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 60) -> int:
        """Its exit code."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving(model: Path, home: Path, *arguments: object, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "openbook",
            "serve",
            "--model",
            str(model),
            "--port",
            "0",
            "--threads",
            "1",
            *map(str, arguments),
        ],
        env=os.environ | {"OPENBOOK_HOME": str(home), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        server = Server(process)
        yield server
        server.end()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
