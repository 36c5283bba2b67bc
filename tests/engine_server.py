"""A small completion server on loopback over an engine in this process, which can be made to fail as servers do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from openbook.lm.families.base import Family
from openbook.lm.load import load_model
from openbook.training.rollouts.written import Prompted
from small_rollouts import tokenizer, writer

Tells = Literal["all", "ids", "text"]
"""all: ids and log-probabilities; ids alone; or text alone, as servers do that know OpenAI's API only."""


class EngineServer:
    """`url` ends in /v1. `faults`: (status, body) of the next answers to completions, before real ones come; status 0: nothing is
    sent until the server stops. `changes`: put over each choice. `allows`: new weights are taken.
    """

    def __init__(self, model: Family, tells: Tells = "all") -> None:
        self.model, self.tells, self.allows = model, tells, True
        self.faults: list[tuple[int, bytes]] = []
        self.changes: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.updates: list[Path] = []
        self.context = 128
        self.stopping = threading.Event()
        self.closing = ExitStack()  # of clients, with the server
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[EngineServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.close()
            self.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answered(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self._lock:
            if path == "/update_weights_from_disk":
                return self._updated(Path(body["model_path"]))
            self.requests.append(body)
            if self.faults:
                return self.faults.pop(0)
            return 200, json.dumps({"choices": self._choices(body)}).encode()

    def _updated(self, directory: Path) -> tuple[int, bytes]:
        if not self.allows:
            return 403, b'{"error": {"message": "weights are not changed here"}}'
        self.model = load_model(directory)
        self.updates.append(directory)
        return 200, b'{"success": true, "message": "updated"}'

    def _choices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        one = writer(self.model, body["temperature"])
        asked = Prompted(body["prompt"], body["n"], body["seed"], body["max_tokens"])
        found = []
        for place, written in enumerate(one.write([asked])[0]):
            end = written.tokens[:-1] if written.is_finished else written.tokens
            choice: dict[str, Any] = {
                "index": place,
                "text": tokenizer().decode(end),
                "finish_reason": "stop" if written.is_finished else "length",
            }
            if self.tells != "text":
                choice["token_ids"] = written.tokens
            if self.tells == "all":
                choice["logprobs"] = {"token_logprobs": written.logprobs}
            found.append(choice | self.changes)
        return found[::-1]  # an order that nobody promised


def _handler(server: EngineServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            listed = {"data": [{"id": "policy", "max_model_len": server.context}]}
            self._send(200, json.dumps(listed).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.headers.append(dict(self.headers))
            status, said = server.answered(self.path, body)
            if not status:
                server.stopping.wait(60)
                self.close_connection = True
                return
            self._send(status, said)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
