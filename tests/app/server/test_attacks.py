"""Storms of clients that leave, and ends at the worst moment: while the model loads, and while kernels are compiled and kept."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.server.serving import Server, serving, write_checkpoint
from app.server.test_faults import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # servers of their own, kernels compiled from nothing

ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Go on."}],
    "max_tokens": 8,
    "temperature": 0,
    "ignore_eos": True,
}


def answer(server: Server) -> str:
    with server.http() as http:
        said = http.post("/v1/chat/completions", json=ASKED)
    assert said.status_code == 200, said.text
    text: str = said.json()["choices"][0]["message"]["content"]
    return text


def is_calm(server: Server) -> bool:
    names = (
        "openbook:sequences_inside",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
    )
    return all(server.metric(name) == 0 for name in names)


async def storm(server: Server, count: int) -> None:
    """Requests that are left after a number of lines, or before anything comes."""
    draw = random.Random(3)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False, limits=limits) as http:

        async def one(left: int, body: dict[str, Any]) -> None:
            async with http.stream("POST", "/v1/chat/completions", json=body) as said:
                assert said.status_code in (200, 429)
                async for _ in said.aiter_lines():
                    left -= 1
                    if left < 0:
                        return

        begun = []
        for _ in range(count):
            body = ASKED | {"max_tokens": 200, "stream": draw.random() < 0.7, "n": draw.choice([1, 1, 3])}
            begun.append(asyncio.create_task(one(draw.randint(0, 30), body)))
        for task in draw.sample(begun, count // 2):
            for _ in range(draw.randint(0, 20)):
                await asyncio.sleep(0)
            task.cancel()
        for said in await asyncio.gather(*begun, return_exceptions=True):
            assert said is None or isinstance(said, asyncio.CancelledError), said


def test_a_storm_of_clients_that_leave(server: Server) -> None:
    before = answer(server)
    asyncio.run(storm(server, 200))
    until(lambda: is_calm(server))
    assert answer(server) == before


@pytest.mark.parametrize("end", ["half closed", "closed", "reset"])
def test_clients_that_vanish_leave_nothing(server: Server, end: str) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps(ASKED | {"max_tokens": 300, "stream": True, "n": 2}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    for sent in (body, body[:20], b""):
        for _ in range(5):
            with socket.create_connection((host, int(port))) as one:
                one.settimeout(30)
                one.sendall(head.encode() + b"\r\n\r\n" + sent)
                if end == "half closed":
                    one.shutdown(socket.SHUT_WR)
                    while one.recv(65_536):  # the server takes it for gone, and closes too
                        pass
                elif end == "reset":
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: is_calm(server))
    answer(server)


def test_a_model_whose_folder_is_deleted_is_served_on(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "tiny")
    with serving(tmp_path / "tiny", tmp_path) as server:
        before = answer(server)
        shutil.rmtree(tmp_path / "tiny")
        assert answer(server) == before
        with server.http() as http:
            assert http.get("/v1/models").status_code == http.get("/health").status_code == 200


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose forward pass is compiled: that takes many seconds."""
    directory = tmp_path_factory.mktemp("compiled") / "tiny"
    write_checkpoint(directory, hidden_size=64, intermediate_size=128)
    return directory


@contextmanager
def loading(model: Path, home: Path, phase: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that has come to this phase of its start, with kernels to compile, and its engine's process."""
    command = [sys.executable, "-m", "openbook", "serve", "--model", str(model), "--port", "0", "--quantize", "int8"]
    environment = {"OPENBOOK_HOME": str(home), "NUMBA_CACHE_DIR": str(home / "kernels"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None and process.stdout is not None
        assert any(line.startswith(phase) for line in process.stderr)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield process, int(children[0])
    finally:
        process.kill()
        process.communicate()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["load", "warm up"])
def test_an_end_while_it_starts_is_in_order(compiled: Path, tmp_path: Path, phase: str, number: int) -> None:
    with loading(compiled, tmp_path, phase) as (process, engine):
        process.send_signal(number)
        assert process.wait(60) == 0
        until(lambda: is_gone(engine))
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_a_server_that_is_killed_while_it_starts_leaves_no_engine(compiled: Path, tmp_path: Path) -> None:
    with loading(compiled, tmp_path, "warm up") as (process, engine):
        process.kill()
        until(lambda: is_gone(engine))


def test_kernels_survive_a_kill_and_two_servers_that_compile_them_at_once(compiled: Path, tmp_path: Path) -> None:
    with loading(compiled, tmp_path, "warm up") as (process, engine):
        until(lambda: any((tmp_path / "kernels").rglob("*.nbi")))
        os.kill(engine, signal.SIGKILL)
        assert process.wait(60) == 1
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    with loading(compiled, tmp_path, "import"), serving(compiled, tmp_path, "--quantize", "int8", **kept) as one:
        before = answer(one)
        assert not [line for line in one.errors if "cannot be" in line]
    with serving(compiled, tmp_path, "--quantize", "int8", **kept) as again:
        assert answer(again) == before


def test_kernels_that_cannot_be_kept_are_used(compiled: Path, tmp_path: Path) -> None:
    nowhere = {"NUMBA_CACHE_DIR": "/proc/nowhere", "TMPDIR": str(tmp_path)}
    with serving(compiled, tmp_path, "--quantize", "int8", **nowhere) as server:
        answer(server)
        assert any("compiled kernels cannot be kept in /proc/nowhere" in line for line in server.errors)
