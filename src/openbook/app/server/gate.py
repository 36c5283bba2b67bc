"""In front of every route of the API: who asks, whether the model serves, and a body that is bounded and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from openbook.app.server.errors import Refused
from openbook.app.server.json_text import read_json_text
from openbook.app.server.keys import Caller
from openbook.app.server.service import Service


class Gate(APIRoute):
    """A route that is looked at before its body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.state.caller = service_of(request).admit(request.headers)
            return await inner(_CheckedRequest(request.scope, request.receive))

        return handle


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _service(request: Request) -> Service:
    """A coroutine, as `_caller`: the framework would send a plain function to a thread."""
    return service_of(request)


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


ServiceOf = Annotated[Service, Depends(_service)]
CallerOf = Annotated[Caller, Depends(_caller)]


class _CheckedRequest(Request):
    """Its body is at most `max_body_bytes` long, and strict JSON."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            settings = service_of(self).settings
            self._body = await self._read(settings.max_body_bytes, settings.read_timeout_s)
        return self._body

    async def _read(self, limit: int, timeout_s: float) -> bytes:
        stated = self.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > limit:
            raise _too_large(limit)
        parts, size = [], 0
        try:
            async with asyncio.timeout(timeout_s):
                async for part in self.stream():
                    size += len(part)
                    if size > limit:
                        raise _too_large(limit)
                    parts.append(part)
        except TimeoutError:
            raise Refused(
                408,
                f"the body did not come within {timeout_s:g} s: send it again, whole",
                headers={"Connection": "close"},
            ) from None
        return b"".join(parts)

    async def json(self) -> Any:
        try:
            return read_json_text(await self.body())
        except ValueError as error:
            raise Refused(400, str(error), code="invalid_json") from None


def _too_large(limit: int) -> Refused:
    message = f"the body is larger than {limit:,} bytes: send less"
    return Refused(413, message, code="body_too_large", headers={"Connection": "close"})
