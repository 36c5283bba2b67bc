"""Whether a finished answer is what it was to be: looked at once more, by another program than the one that guided it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from openbook.core.messages import ChoiceFormat, JsonFormat, ResponseFormat

Schema = Mapping[str, object] | bool


def unlike(text: str, form: ResponseFormat) -> str:
    """Why `text` has not the format; empty where it has. Patterns and grammars are not looked at."""
    match form:
        case JsonFormat(schema):
            return mismatch(text, {"type": "object"} if schema is None else schema)
        case ChoiceFormat(choices):
            return "" if text in choices else "it is none of the choices"
    return ""


def mismatch(text: str, schema: Schema) -> str:
    """Why `text` is no JSON that follows `schema`; empty where it does.

    Patterns are left to the grammar: Python's regular expressions have other rules, and some never come to an end.
    """
    import jsonschema
    from referencing import Registry

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    base = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind = jsonschema.validators.extend(
        base,
        {
            "pattern": _no_error,
            "multipleOf": _multiple,
            "patternProperties": _no_error,
            "additionalProperties": _additional(base.VALIDATORS["additionalProperties"]),
            "oneOf": base.VALIDATORS["anyOf"],  # which of them may depend on a pattern
        },
    )
    try:
        found = next(kind(schema, registry=Registry()).iter_errors(value), None)
    except RecursionError:
        return "it is nested too deeply"
    return "" if found is None else f"{found.message[:200]} (at {'/'.join(map(str, found.absolute_path))!r})"


def _multiple(validator: Any, factor: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """In decimal numbers, as they are written: 0.3 is three times 0.1."""
    import jsonschema

    is_number = validator.is_type(instance, "number") and isfinite(instance)
    if is_number and Decimal(str(instance)) % Decimal(str(factor)):
        yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {factor!r}")


def _no_error(*_: object) -> Iterator[Any]:
    return iter(())


def _additional(usual: Any) -> Any:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if "patternProperties" not in schema:
            yield from usual(validator, value, instance, schema) or ()

    return check
