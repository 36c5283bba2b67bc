"""The HTTP application: its routes, and what is told when something goes wrong."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from openbook.app.server.errors import on_fault, on_http_error, on_invalid, on_openbook_error
from openbook.app.server.routes import adapters, chat, completions, health, models, responses, texts, tokens, weights
from openbook.app.server.service import Service
from openbook.core.errors import OpenbookError


def make_app(service: Service) -> FastAPI:
    """Without the framework's own pages of documentation: they load scripts from elsewhere."""
    app = FastAPI(title="Openbook", version="1", docs_url=None, redoc_url=None)
    app.state.service = service
    for one in (chat, completions, responses, texts, tokens, models, adapters, weights, health):
        app.include_router(one.router)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(OpenbookError, on_openbook_error)
    app.add_exception_handler(Exception, on_fault)
    return app
