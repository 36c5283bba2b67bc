"""Server-sent events to one client: written as they come, ended when the client leaves, dropped when it does not read.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

ABORT = "openbook.abort"
"""The key of a connection's abort in an ASGI scope's extensions."""


class ClientGone(Exception):
    """Nobody waits for this answer any more."""


class EventStream(Response):
    """Sends `first` and what `pieces` gives: whole events, as bytes. A client that takes none for `write_timeout_s` is dropped.

    Memory of a slow client is bounded: at most the connection's buffer is written ahead, the rest waits in `pieces`.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, pieces: AsyncGenerator[bytes, None], write_timeout_s: float) -> None:
        super().__init__()
        self._first, self._pieces, self._write_timeout_s = first, pieces, write_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        try:
            async with until_gone(receive):
                await self._send(send, {"type": "http.response.start", "status": 200, "headers": headers})
                await self._send(send, {"type": "http.response.body", "body": self._first, "more_body": True})
                async for piece in self._pieces:
                    await self._send(send, {"type": "http.response.body", "body": piece, "more_body": True})
                await self._send(send, {"type": "http.response.body", "body": b""})
        except ClientGone:
            return
        except TimeoutError:
            abort = scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                abort["abort"]()
                await asyncio.sleep(0)  # the connection learns that it is lost
        finally:
            await self._pieces.aclose()

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        async with asyncio.timeout(self._write_timeout_s):
            await send(message)


async def streamed(request: Request, pieces: AsyncGenerator[bytes, None], write_timeout_s: float) -> Response:
    """A stream that has begun: what goes wrong before the first event is raised here, while a status can still be given."""
    try:
        async with until_gone(request):
            first = await anext(pieces)
    except ClientGone:
        return Response(status_code=499)
    return EventStream(first, pieces, write_timeout_s)


def sse(data: bytes, event: str = "") -> bytes:
    """One event. JSON holds no line breaks, so that it is one line."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + data + b"\n\n"


@contextlib.asynccontextmanager
async def until_gone(source: Receive | Request) -> AsyncIterator[None]:
    """Runs the block; ClientGone ends it when the client closes the connection."""
    receive = source.receive if isinstance(source, Request) else source
    block = asyncio.current_task()
    assert block is not None
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        block.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and block.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        watcher.cancel()
