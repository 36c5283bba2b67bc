"""What a client is told when something is refused: OpenAI's shape of an error, and the status of each kind."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from openbook.app.server.json_text import JsonReply
from openbook.app.server.unknown_fields import first_fault
from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refused(HTTPException):
    """Answers with `status` and says why: `param` is the field that is wrong, `code` a word for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.param, self.code = param, code


def refusal(error: OpenbookError) -> Refused:
    """400 for what was asked, 503 for a model that cannot be had, 500 for the rest."""
    status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, ModelUnavailable) else 500
    return Refused(status, str(error))


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """OpenAI's shape. Source: https://platform.openai.com/docs/guides/error-codes"""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def on_http_error(request: Request, error: Exception) -> Response:
    """Our own refusals, and the framework's (no such path, no such method)."""
    assert isinstance(error, HTTPException)
    request.app.state.service.metrics.refused(error.status_code)
    param, code = (error.param, error.code) if isinstance(error, Refused) else (None, None)
    body = error_body(error.status_code, str(error.detail), param, code)
    return JsonReply(body, error.status_code, dict(error.headers or {}))


async def on_openbook_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OpenbookError)
    return await on_http_error(request, refusal(error))


async def on_invalid(request: Request, error: Exception) -> Response:
    """A body of another shape: the first field that is wrong, and for an unknown one the nearest known one."""
    assert isinstance(error, RequestValidationError)
    request.app.state.service.metrics.refused(400)
    fault = first_fault(error, request)
    return JsonReply(error_body(400, fault.message, fault.param, fault.code), 400)


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of this program: the client learns its kind, the log the rest."""
    request.app.state.service.metrics.refused(500)
    return JsonReply(error_body(500, f"a fault of this server: {type(error).__name__}; its log says more"), 500)
