"""Whether any finite JSON can follow a schema: one that requires itself within itself is a sentence without end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

_MOST_LOOKS = 200_000
"""Parts of a schema that are looked at, some of them again: a schema may come from anybody, and this takes a part of a second."""

_LONGEST_INDEX = 10  # characters; Python reads no number of thousands


def can_end(root: object) -> bool:
    """False only where it is certain; what is not looked at (an `$id`, an anchor, a `not`) counts as something that ends.

    The least fixed point: at first no reference ends, then those whose targets end without them, and so on. A schema that is
    too deep or too entangled to be followed in `_MOST_LOOKS` is one of which it is not certain.
    """
    search = _Search(set(_references(root)))
    targets = {ref: _target(root, ref) for ref in search.waiting}
    try:
        while found := [ref for ref, target in targets.items() if search.ends(target)]:
            search.waiting.difference_update(found)
            for ref in found:
                del targets[ref]
        return search.ends(root)
    except (RecursionError, _TooManyLooks):
        return True


class _TooManyLooks(Exception):
    """Nothing is certain of this schema."""


class _Search:
    """`waiting`: references of which it is not known that they end; any other one counts as ended."""

    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting
        self._looks = 0

    def ends(self, schema: object) -> bool:
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            raise _TooManyLooks
        if not isinstance(schema, Mapping) or "const" in schema or "enum" in schema:
            return True
        ref = schema.get("$ref")
        if isinstance(ref, str) and ref in self.waiting:
            return False
        if not all(map(self.ends, _list(schema.get("allOf")))):
            return False
        for key in ("anyOf", "oneOf"):
            if (choices := _list(schema.get(key))) and not any(map(self.ends, choices)):
                return False
        match schema.get("type"):
            case "object" | ["object"]:
                return all(map(self.ends, _required(schema)))
            case "array" | ["array"]:
                return all(map(self.ends, _needed_items(schema)))
        return True


def _required(schema: Mapping[str, object]) -> Iterator[object]:
    """Schemas of the properties that cannot be left out; True for one that a pattern describes."""
    properties = schema.get("properties")
    for name in _list(schema.get("required")):
        if isinstance(properties, Mapping) and isinstance(name, str) and name in properties:
            yield properties[name]
        else:
            yield "patternProperties" in schema or schema.get("additionalProperties", True)


def _needed_items(schema: Mapping[str, object]) -> Iterator[object]:
    """Schemas of the items that there must be."""
    least = schema.get("minItems")
    if not (isinstance(least, int | float) and least >= 1):
        return
    first = _list(schema.get("prefixItems"))
    yield from islice(first, int(min(least, len(first))))
    if least > len(first):
        yield schema.get("items", True)


def _references(schema: object) -> set[str]:
    """Those to a place in the schema itself."""
    found: set[str] = set()
    todo = [schema]
    while todo:
        one = todo.pop()
        if isinstance(one, Mapping):
            ref = one.get("$ref")
            if isinstance(ref, str) and (ref == "#" or ref.startswith("#/")):
                found.add(ref)
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return found


def _target(root: object, ref: str) -> object:
    """What a JSON pointer (RFC 6901) names; True, which ends, for one that names nothing."""
    place = root
    for part in ref.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping) and key in place:
            place = place[key]
        elif isinstance(place, list) and len(key) < _LONGEST_INDEX and key.isdecimal() and int(key) < len(place):
            place = place[int(key)]
        else:
            return True
    return place


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
