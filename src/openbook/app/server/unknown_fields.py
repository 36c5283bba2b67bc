"""A body that does not fit its shape, said in one sentence: which field, what it may be, which known one is nearest."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple, get_args

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

_INSTEAD = {
    "functions": "give tools",
    "function_call": "give tool_choice",
    "suffix": "this model cannot fill in the middle",
    "previous_response_id": "nothing is kept here: send the whole conversation as input",
    "conversation": "nothing is kept here: send the whole conversation as input",
    "background": "ask and wait, or stream",
    "dimensions": "the embedder has one size of vectors",
    "modalities": "answers are text",
    "audio": "answers are text",
    "web_search_options": "this server does not search the web",
    "prediction": "leave it out",
}
"""Fields of OpenAI's API that are not served, and what to do instead."""


class Fault(NamedTuple):
    message: str
    param: str | None
    code: str | None


def first_fault(error: RequestValidationError, request: Request) -> Fault:
    """The fault that lies deepest: of a value that fits none of several shapes, the one that it came nearest to."""
    faults = error.errors()
    first = max(faults, key=lambda one: (one["type"] == "extra_forbidden", len(one["loc"])))
    where = [part for part in first["loc"] if part != "body"]
    param = _path(where)
    if first["type"] == "extra_forbidden":
        name = str(where[-1])
        instead = _INSTEAD.get(name) or _nearest(name, _field_names(request))
        return Fault(f"the field {param!r} is not known here: {instead}", param, "unknown_field")
    if first["type"] == "none_required" and str(where[-1]) in _INSTEAD:
        return Fault(f"{param} is not served here: {_INSTEAD[str(where[-1])]}", param, "unsupported_field")
    if not where:
        return Fault("the body must be a JSON object, sent with Content-Type: application/json", None, "invalid_body")
    got = repr(first.get("input"))
    shown = got if len(got) <= 80 else got[:77] + "..."
    kind = "is missing" if first["type"] == "missing" else f"is {shown}: {_plain(first['msg'])}"
    return Fault(f"{param} {kind}", param, "invalid_value")


def _path(where: list[Any]) -> str:
    """messages[0].content; the names that pydantic gives to the members of a union are left out."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        elif str(part).isidentifier() and not (text and str(part) in ("str", "int", "float", "bool")):
            text += f".{part}" if text else str(part)
    return text


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known[:40])}"


def _field_names(request: Request) -> list[str]:
    """Of the route's body, outermost first, and of all that it holds."""
    field = getattr(request.scope.get("route"), "body_field", None)
    found: dict[str, None] = {}
    todo: list[Any] = [] if field is None else [field.field_info.annotation]
    seen: set[type] = set()
    while todo:
        one = todo.pop(0)
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in seen:
                seen.add(one)
                found |= dict.fromkeys(one.model_fields)
                todo += [inner.annotation for inner in one.model_fields.values()]
        else:
            todo += get_args(one)
    return list(found)
