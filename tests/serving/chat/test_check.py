"""The second look at a finished answer."""

from __future__ import annotations

import pytest

from openbook.serving.chat.check import mismatch


@pytest.mark.parametrize(
    ("text", "schema", "problem"),
    [
        ('{"a": [1]}', {"properties": {"a": {"type": "array", "items": {"type": "integer"}}}}, ""),
        (
            '{"a": ["x"]}',
            {"properties": {"a": {"items": {"type": "integer"}}}},
            "'x' is not of type 'integer' (at 'a/0')",
        ),
        ("[1", True, "it is no JSON"),
        ("[" * 100_000, True, "it is no JSON"),
        ('"a"', {"oneOf": [{"type": "string"}, {"pattern": "a"}]}, ""),
        ('{"b": 1}', {"additionalProperties": False}, "Additional properties"),
        ("0.3", {"multipleOf": 0.1}, ""),
        ("0.35", {"multipleOf": 0.1}, "0.35 is not a multiple of 0.1"),
        ('"a"', {"multipleOf": 0.1}, ""),
        ('{"b": 1}', {"patternProperties": {"b": {}}, "additionalProperties": False}, ""),
        (
            '{"b": 1}',
            {"$schema": "http://json-schema.org/draft-07/schema#", "required": ["a"]},
            "'a' is a required property",
        ),
    ],
)
def test_what_does_not_follow_is_named(text: str, schema: object, problem: str) -> None:
    found = mismatch(text, schema)  # type: ignore[arg-type]
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_patterns_that_never_come_to_an_end_are_not_tried() -> None:
    evil = {
        "patternProperties": {"^(a+)+$": {}},
        "additionalProperties": False,
        "propertyNames": {"pattern": "^(a+)+$"},
    }
    assert mismatch('{"%s!": 1}' % ("a" * 50), evil) == ""
