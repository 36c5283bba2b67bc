"""JSON in and out: what is read is bounded and strict, what is written is UTF-8 whatever a model says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

MAX_DEPTH = 64


def as_json(value: object) -> bytes:
    """A lone surrogate, which UTF-8 cannot carry, becomes "?"."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class JsonReply(Response):
    """A reply of plain data."""

    def __init__(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(as_json(value), status, headers, "application/json")


def read_json_text(body: bytes) -> Any:
    """Raises ValueError, which says what is wrong: no JSON, NaN or Infinity, or nested deeper than `MAX_DEPTH`."""
    try:
        value = json.loads(body, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    _check_depth(value)
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        containers = [one for one in level if isinstance(one, dict | list)]
        if not containers:
            return
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    if any(isinstance(one, dict | list) for one in level):
        raise ValueError(f"the body is nested deeper than {MAX_DEPTH} levels")
