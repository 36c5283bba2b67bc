"""Connections as the server keeps them: a limited number, none that sends nothing for ever, each one can be dropped."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openbook.app.server.errors import error_body
from openbook.app.server.event_stream import ABORT
from openbook.app.server.json_text import as_json

_LAST_WORD_S = 1.0
_HEAD_BYTES = 64 << 10
"""Of a request, all that is not its body: the address, headers, trailers. Parsers keep them in memory."""
_CHUNK_OVERHEAD = 16
"""Bytes of framing that a byte of a chunked body may bring with it."""


def protocol(max_connections: int, read_timeout_s: float) -> type[asyncio.Protocol]:
    """Beyond `max_connections` a client is told 503; one whose request takes longer than `read_timeout_s` to come, or has a head
    over 64 KiB, is dropped.
    """

    class Connection(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _beside = 0
        """Bytes of the request that is coming which are no body, as far as the allowance for framing does not cover them."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if len(self.connections) >= max_connections:
                self._is_refused = True
                transport.write(_full(max_connections))
                transport.write_eof()
                self.loop.call_later(_LAST_WORD_S, transport.close)  # closed at once, unread bytes would reset it
                return
            self._is_refused = False
            super().connection_made(transport)
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._arrived()
            if not self._is_refused:
                super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            self._beside += len(data)
            super().data_received(data)
            if self._beside > _HEAD_BYTES + len(data):
                self.transport.abort()

        def on_body(self, body: bytes) -> None:
            self._beside = max(self._beside - (1 + _CHUNK_OVERHEAD) * len(body), 0)
            super().on_body(body)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}
            if self._deadline is None:
                self._expect()

        def on_message_complete(self) -> None:
            self._arrived()
            self._beside = 0
            super().on_message_complete()

        def _expect(self) -> None:
            self._deadline = self.loop.call_later(read_timeout_s, self.transport.abort)

        def _arrived(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Connection


def _full(limit: int) -> bytes:
    message: dict[str, Any] = error_body(503, f"{limit:,} connections are open already: ask again later")
    body = as_json(message)
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Retry-After: 5\r\nConnection: close\r\n\r\n" + body
