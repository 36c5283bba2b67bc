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
