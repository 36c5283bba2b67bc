"""A scripted OpenAI-compatible chat server on loopback: answers what it is told to, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """`body` as it is sent. `events`: pieces of a stream instead; `waits`: nothing is sent until the server stops."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[str, ...] | None = None
    waits: bool = False


def said(text: str | None, finish: str = "stop") -> Reply:
    """A whole answer."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Reply(body=json.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode())


def streamed(*pieces: str, finish: str | None = "stop", done: bool = True) -> Reply:
    events = [json.dumps({"choices": [{"delta": {"content": piece}, "finish_reason": None}]}) for piece in pieces]
    if finish:
        events.append(json.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}))
    return Reply(headers={"Content-Type": "text/event-stream"}, events=(*events, *(["[DONE]"] if done else [])))


def refused(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message}}).encode(), headers)


class ChatServer:
    """`url` ends in /v1. Replies to chats come from `script`, in order, the last one again and again."""

    def __init__(self, *script: Reply, models: tuple[dict[str, Any], ...] = ({"id": "tiny"},)) -> None:
        self.script = list(script)
        self.models = models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled = threading.Event()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def next_reply(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            found = self.path == "/v1/models"
            self._send(
                Reply(200 if found else 404, json.dumps({"data": list(server.models)}).encode() if found else b"{}")
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.next_reply(body, dict(self.headers))
            if reply.waits:
                server.stopping.wait(30)
                self.close_connection = True
            elif reply.events is not None:
                self._stream(reply)
            else:
                self._send(reply)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def _stream(self, reply: Reply) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for event in reply.events or ():
                    self.wfile.write(f": alive\n\ndata: {event}\n\n".encode())
                    self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                server.cancelled.set()
            self.close_connection = True

    return Handler
