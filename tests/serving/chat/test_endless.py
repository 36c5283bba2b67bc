"""A schema that requires itself within itself is told from one that comes to an end."""

from __future__ import annotations

from typing import Any

import pytest

from openbook.serving.chat.endless import can_end

SELF: dict[str, Any] = {"$ref": "#"}
NODE: dict[str, Any] = {"$ref": "#/$defs/node"}
LEAF = {"type": "null"}


def object_of(required: list[str], **properties: object) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


@pytest.mark.parametrize(
    "schema",
    [
        SELF,
        object_of(["a"], a=SELF),
        object_of(["a"], a={"anyOf": [SELF, {"allOf": [LEAF, SELF]}]}),
        {"type": "array", "items": SELF, "minItems": 1},
        {"type": ["array"], "prefixItems": [LEAF, SELF], "minItems": 2},
        {"type": "object", "required": ["x"], "additionalProperties": SELF},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        NODE | {"$defs": {"node": object_of(["next"], next=NODE)}},
        object_of(["a"], a={"$ref": "#/properties/b~1c"}, **{"b/c": SELF}),
    ],
)
def test_without_end(schema: dict[str, Any]) -> None:
    assert not can_end(schema)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"const": SELF},
        {"enum": [{"$ref": "#"}]},
        object_of([], a=SELF),
        object_of(["a"], a={"anyOf": [SELF, LEAF]}),
        object_of(["a"], a={"type": ["null", "array"], "items": SELF, "minItems": 1}),
        {"type": "array", "items": SELF},
        {"type": "array", "prefixItems": [LEAF, SELF], "minItems": 1},
        NODE | {"$defs": {"node": object_of(["next"], next={"oneOf": [LEAF, NODE]})}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": LEAF}},
        object_of(["a"], a={"$ref": "https://elsewhere"}, b={"$ref": "#anchor"}),
        {"type": "object", "required": ["x"], "patternProperties": {"x": LEAF}, "additionalProperties": SELF},
    ],
)
def test_with_an_end(schema: object) -> None:
    assert can_end(schema)


def chain(length: int, end: object) -> dict[str, Any]:
    """References one behind the other, the last of which is `end`."""
    parts: dict[str, object] = {f"a{at}": {"$ref": f"#/$defs/a{at + 1}"} for at in range(length)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{length}": end}}


def test_a_chain_is_followed_to_its_end() -> None:
    assert can_end(chain(100, LEAF))
    assert not can_end(chain(100, SELF))


def test_a_schema_that_would_take_hours_is_given_up() -> None:
    entangled = chain(5_000, LEAF) | {"allOf": [SELF]}
    assert can_end(entangled)  # it cannot, but that is not certain


def test_a_schema_that_is_too_deep_is_given_up() -> None:
    deep: dict[str, Any] = SELF
    for _ in range(20_000):
        deep = {"allOf": [deep]}
    assert can_end(deep)


@pytest.mark.parametrize(
    "odd",
    [
        {"$ref": []},
        object_of([[]]),  # type: ignore[list-item]
        {"type": "array", "minItems": float("inf"), "prefixItems": [LEAF]},
        {"type": "array", "minItems": float("nan"), "prefixItems": [LEAF]},
    ],
)
def test_what_no_draft_describes_counts_as_something_that_ends(odd: dict[str, Any]) -> None:
    assert can_end({"$ref": "#/odd", "odd": odd})


def test_an_index_of_thousands_of_digits_names_nothing() -> None:
    assert can_end({"$ref": f"#/odd/{'1' * 5_000}", "odd": [SELF]})
