"""Whether any finite JSON can follow a schema: one that requires itself within itself is a sentence without end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def can_end(root: object) -> bool:
    """False only where it is certain; what is not looked at (an `$id`, an anchor, a `not`) counts as something that ends.

    The least fixed point: at first no reference ends, then those whose targets end without them, and so on.
    """
    ended: set[str] = set()
    waiting = {ref: _target(root, ref) for ref in _references(root)}
    while found := [ref for ref, target in waiting.items() if _ends(target, ended, set(waiting))]:
        ended.update(found)
        for ref in found:
            del waiting[ref]
    return _ends(root, ended, set(waiting))


def _ends(schema: object, ended: set[str], waiting: set[str]) -> bool:
    """`waiting`: references of which it is not known that they end; any other one counts as ended."""

    def ends(part: object) -> bool:
        return _ends(part, ended, waiting)

    if not isinstance(schema, Mapping) or "const" in schema or "enum" in schema:
        return True
    if schema.get("$ref") in waiting:
        return False
    if not all(map(ends, _list(schema.get("allOf")))):
        return False
    for key in ("anyOf", "oneOf"):
        if (choices := _list(schema.get(key))) and not any(map(ends, choices)):
            return False
    match schema.get("type"):
        case "object" | ["object"]:
            return all(map(ends, _required(schema)))
        case "array" | ["array"]:
            return all(map(ends, _needed_items(schema)))
    return True


def _required(schema: Mapping[str, object]) -> Iterator[object]:
    """Schemas of the properties that cannot be left out."""
    properties = schema.get("properties")
    for name in _list(schema.get("required")):
        if isinstance(properties, Mapping) and name in properties:
            yield properties[name]
        elif "patternProperties" not in schema:
            yield schema.get("additionalProperties", True)


def _needed_items(schema: Mapping[str, object]) -> Iterator[object]:
    """Schemas of the items that there must be."""
    least = schema.get("minItems")
    if not isinstance(least, int | float) or least < 1:
        return
    first = _list(schema.get("prefixItems"))
    yield from first[: int(least)]
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
        elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
            place = place[int(key)]
        else:
            return True
    return place


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
