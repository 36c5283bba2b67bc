"""Server-sent events to one client: written as they come, ended when the client leaves, dropped when it does not read.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
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
            async with until_gone(receive), _Patience(self._write_timeout_s) as patience:
                await patience.of(send({"type": "http.response.start", "status": 200, "headers": headers}))
                await patience.of(send({"type": "http.response.body", "body": self._first, "more_body": True}))
                async for piece in self._pieces:
                    await patience.of(send({"type": "http.response.body", "body": piece, "more_body": True}))
                await patience.of(send({"type": "http.response.body", "body": b""}))
        except ClientGone:
            return
        except TimeoutError:
            abort = scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                abort["abort"]()
                await asyncio.sleep(0)  # the connection learns that it is lost
        finally:
            await self._pieces.aclose()


class _Patience:
    """TimeoutError when one write of many takes longer than `limit_s`.

    One timer, which looks how long the write that is under way has taken: a timer for each write would cost as much as the write.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._since_s: float | None = None
        """When the write that is under way began."""

    async def __aenter__(self) -> _Patience:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*raised)

    async def of(self, write: Awaitable[None]) -> None:
        self._since_s = self._loop.time()
        await write
        self._since_s = None

    def _look(self) -> None:
        now = self._loop.time()
        ends_s = (now if self._since_s is None else self._since_s) + self._limit_s
        if ends_s <= now:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(ends_s, self._look)


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
