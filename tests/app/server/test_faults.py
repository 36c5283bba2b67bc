"""What goes wrong while a server runs: clients that leave or do not read, full queues, a killed engine, an end in order.

The engine is held with SIGSTOP where a request must be under way: nothing here depends on how fast anything is.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from app.server.serving import Server, serving
from lm.checkpoints import tiny
from openbook.lm.gguf.write import write_gguf
from openbook.lm.load import load_model

pytestmark = pytest.mark.slow  # servers of their own: minutes

LONG: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Go on."}],
    "max_tokens": 480,
    "ignore_eos": True,
    "stream": True,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def until(holds: Callable[[], bool]) -> None:
    """Waits, up to a minute, for what must come true."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@contextmanager
def held(server: Server) -> Iterator[None]:
    """The engine computes nothing meanwhile."""
    pid = server.engine_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def test_a_client_that_leaves_frees_its_blocks(server: Server) -> None:
    before = server.metric("openbook:engine_tokens_total")
    with server.http() as http, http.stream("POST", "/v1/chat/completions", json=LONG | {"n": 16}) as response:
        assert next(events(response))["choices"][0]["delta"]["role"] == "assistant"
    until(lambda: server.metric("openbook:sequences_inside") == 0)
    until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0 == server.metric("vllm:num_requests_running"))
    assert server.metric("openbook:engine_tokens_total") - before < 16 * 480


def test_a_client_that_leaves_before_a_whole_answer_frees_its_blocks(server: Server) -> None:
    before = server.metric("openbook:engine_tokens_total")
    with held(server):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=LONG | {"stream": False}, timeout=1, trust_env=False)
        until(lambda: server.metric("openbook:sequences_inside") == 0)
    until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0 == server.metric("vllm:num_requests_running"))
    assert server.metric("openbook:engine_tokens_total") - before < 100  # of 480: a step or a few until it is told


def test_a_client_that_leaves_before_its_prompts_are_scored_frees_its_blocks(server: Server) -> None:
    asked = {"prompt": ["word " * 40] * 6, "max_tokens": 0, "echo": True, "logprobs": 0}
    before = server.metric("openbook:engine_tokens_total")
    with held(server):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/completions", json=asked, timeout=1, trust_env=False)
        until(lambda: server.metric("openbook:sequences_inside") == 0)
    until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0 == server.metric("vllm:num_requests_running"))
    assert server.metric("openbook:engine_tokens_total") == before


def test_a_full_queue_and_full_connections_are_told(model: Path, home: Path) -> None:
    with serving(model, home, "--max-num-seqs", 1, "--max-queue", 1, "--max-connections", 4) as server:
        asked = LONG | {"max_tokens": 2, "stream": False}
        with ThreadPoolExecutor(2) as pool, server.http() as http:
            with held(server):
                waiting = [
                    pool.submit(
                        httpx.post, f"{server.url}/v1/chat/completions", json=asked, timeout=60, trust_env=False
                    )
                    for _ in range(2)
                ]
                until(lambda: server.metric("openbook:sequences_inside") == 2)
                refused = http.post("/v1/chat/completions", json=asked)
                assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
                assert refused.json()["error"]["type"] == "rate_limit_error"
            assert [one.result().status_code for one in waiting] == [200, 200]
            assert http.post("/v1/chat/completions", json=asked | {"n": 3}).status_code == 400
        until(lambda: server.metric("openbook:sequences_inside") == 0)
        host, port = server.url.removeprefix("http://").split(":")
        idle: list[socket.socket] = []
        until(lambda: _is_full(host, int(port), idle))
        for one in idle:
            one.close()
        until(lambda: httpx.get(f"{server.url}/health", trust_env=False).status_code == 200)


def _is_full(host: str, port: int, idle: list[socket.socket]) -> bool:
    """Opens connections that say nothing until one is told 503."""
    one = socket.create_connection((host, port))
    one.settimeout(0.2)
    try:
        said = one.recv(1_000)
    except TimeoutError:
        idle.append(one)
        assert len(idle) <= 4
        return False
    one.close()
    assert said.startswith(b"HTTP/1.1 503") and b"connections are open already" in said
    return True


def test_a_killed_engine_turns_health_red_and_ends_streams(model: Path, home: Path) -> None:
    with serving(model, home) as server:
        with server.http() as http:
            with http.stream("POST", "/v1/chat/completions", json=LONG) as response:
                said = events(response)
                next(said)
                os.kill(server.engine_pid(), signal.SIGKILL)
                assert "the engine process ended" in list(said)[-1]["error"]["message"]
            assert http.get("/health").status_code == http.get("/ready").status_code == 503
            refused = http.post("/v1/chat/completions", json=LONG)
            assert refused.status_code == 503 and "start the server again" in refused.text
            assert server.metric("openbook:engine_up") == 0
        assert server.end() == 1


def test_the_engine_ends_when_the_server_is_killed(model: Path, home: Path) -> None:
    with serving(model, home) as server:
        engine = Path(f"/proc/{server.engine_pid()}")
        server.process.kill()
        until(lambda: not engine.exists() or engine.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_a_tokenizer_of_another_model_is_told(model: Path, home: Path) -> None:
    other = home / "other"
    shutil.copytree(model, other)
    tiny(other, **{"vocab_size": 100})
    command = [sys.executable, "-m", "openbook", "serve", "--model", str(other), "--port", "0", "--threads", "1"]
    done = subprocess.run(
        command, env=os.environ | {"OPENBOOK_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "tokenizer" in done.stderr and "Traceback" not in done.stderr


def test_an_end_in_order_lets_answers_finish(model: Path, home: Path) -> None:
    with serving(model, home) as server:
        with server.http() as http, http.stream("POST", "/v1/chat/completions", json=LONG) as response:
            said = events(response)
            next(said)
            server.process.send_signal(signal.SIGTERM)
            assert list(said)[-1]["choices"][0]["finish_reason"] == "length"
        assert server.end() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health", trust_env=False)


def test_an_end_that_takes_too_long_tells_streams(model: Path, home: Path) -> None:
    with serving(model, home, "--drain-seconds", 0.2) as server:
        with server.http() as http, http.stream("POST", "/v1/chat/completions", json=LONG) as response:
            said = events(response)
            next(said)
            with held(server):
                server.process.send_signal(signal.SIGTERM)
                assert "shutting down" in list(said)[-1]["error"]["message"]
        assert server.end() == 0


def test_a_client_that_does_not_read_is_dropped(model: Path, home: Path) -> None:
    with serving(model, home, "--write-timeout", 0.5) as server:
        host, port = server.url.removeprefix("http://").split(":")
        body = json.dumps(LONG | {"n": 16}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.connect((host, int(port)))
            one.sendall(head.encode() + b"\r\n\r\n" + body)
            until(lambda: server.metric("vllm:num_requests_running") > 0)
            until(lambda: server.metric("openbook:sequences_inside") == 0)
            aborted = r'vllm:request_success_total{finished_reason="abort",model_name="tiny"}'
            with server.http() as http:
                assert aborted in http.get("/metrics").text
            until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0)
            assert (
                server.end(timeout_s=20) == 0
            )  # a connection that lingered would hold it up until all time to drain is over
        assert "Traceback" not in "".join(server.errors) and "ASGI" not in "".join(server.errors)


def test_a_request_that_never_comes_whole_is_dropped_and_a_large_one_refused(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as one:
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        one.settimeout(30)
        said = one.recv(1_000)
        assert said.startswith(b"HTTP/1.1 413")
    with server.http() as http:
        chunks = (b" " * 1_000_000 for _ in range(9))
        assert http.post("/v1/completions", content=chunks).status_code == 413


def test_while_the_model_is_loaded_the_server_says_so(model: Path, home: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "openbook", "serve", "--model", str(model), "--port", str(port)],
        env=os.environ | {"OPENBOOK_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    engine = 0
    try:
        until(lambda: _engine_of(process.pid) is not None)
        engine = _engine_of(process.pid) or 0
        os.kill(engine, signal.SIGSTOP)
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url))
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert http.get("/health").json() == {"status": "loading"}
            assert http.get("/ready").status_code == 503
            refused = http.post("/v1/chat/completions", json=LONG)
            assert refused.status_code == 503 and "loaded" in refused.text
            os.kill(engine, signal.SIGCONT)
            until(lambda: http.get("/ready").status_code == 200)
        process.terminate()
        assert process.wait(60) == 0
        engine = 0
    finally:
        process.kill()
        process.wait()
        if engine:
            os.kill(engine, signal.SIGKILL)


def _engine_of(server: int) -> int | None:
    """The process of the engine, once it runs its own program: stopped before, it would hold up whoever starts it."""
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        if b"engine_process" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def test_the_http_process_has_neither_torch_nor_numba(server: Server, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="tiny", messages=LONG["messages"], max_tokens=2)
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "tokenizers" in mapped
    assert not [name for name in ("libtorch", "llvmlite", "numba") if name in mapped]


def test_a_port_that_is_taken_is_told(model: Path, home: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        done = subprocess.run(
            [sys.executable, "-m", "openbook", "serve", "--model", model, "--port", str(one.getsockname()[1])],
            env=os.environ | {"OPENBOOK_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2 and "--port" in done.stderr


def test_a_full_disk_for_what_it_prints_ends_no_server(model: Path, home: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "openbook", "serve", "--model", str(model), "--port", str(port), "--threads", "1"],
            env=os.environ | {"OPENBOOK_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=full,
            stderr=full,
        )
    try:
        until(lambda: _is_ready(f"http://127.0.0.1:{port}") or process.poll() is not None)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def test_a_gguf_file_is_served_and_brings_no_torch_either(model: Path, home: Path) -> None:
    path = home / "small.gguf"
    write_gguf(load_model(model), model, path, "f32")
    with serving(path, home) as server:
        asked = {"messages": LONG["messages"], "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        with server.http() as http:
            said = http.post("/v1/chat/completions", json=asked | {"model": "small"}).json()
        assert said["usage"]["completion_tokens"] == 4
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert not [name for name in ("libtorch", "llvmlite") if name in mapped]


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 65_536),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n" * 8_192),
        (b"GET /", b"a" * 65_536),
        (
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n",
            b"X-A: b\r\n" * 8_192,
        ),
    ],
)
def test_a_head_without_end_is_dropped(server: Server, first: bytes, piece: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as one:
        one.settimeout(30)
        with pytest.raises(ConnectionError):
            one.sendall(first)
            for _ in range(1_000):  # more than the kernel keeps of what nobody takes
                one.sendall(piece)
    with server.http() as http:
        assert http.get("/health").status_code == 200


def test_a_body_of_very_small_chunks_is_taken(server: Server) -> None:
    body = json.dumps({"prompt": "word " * 60, "max_tokens": 1, "user": "x" * 20_000}).encode()
    with server.http() as http:
        said = http.post(
            "/v1/completions", content=(bytes([one]) for one in body), headers={"Content-Type": "application/json"}
        )
    assert said.status_code == 200


def test_more_prompts_and_answers_than_can_ever_be_are_refused_before_they_are_made(server: Server) -> None:
    with server.http() as http:
        refused = http.post("/v1/completions", json={"prompt": [[5]] * 200_000, "n": 128, "max_tokens": 1})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "too_many_answers"
