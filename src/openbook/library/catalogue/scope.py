"""What a read may see: `Scope` becomes a SQL condition that every read of documents and chunks carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from openbook.core.errors import UsageError

FilterField = Literal["path", "title", "language", "kind", "modified"]
_FILTER = re.compile(r"\s*(\w+)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*")
_FIELDS = ("path", "title", "language", "kind", "modified")
_GLOB = {"=": "GLOB", "!=": "NOT GLOB"}


@dataclass(frozen=True)
class Filter:
    """One condition, as `parse_filter` reads it from "path=*.md" or "modified>=2026-01-31"."""

    field: str
    operator: str
    value: str

    def sql(self) -> tuple[str, list[str | float]]:
        if self.field == "modified":
            return f"d.modified {self.operator} ?", [_seconds(self.value, after=self.operator in ("<=", ">"))]
        if self.field == "path":
            negation = "NOT " if self.operator == "!=" else ""
            condition = "EXISTS (SELECT 1 FROM paths p WHERE p.document_id = d.id AND (p.path GLOB ? OR p.path GLOB ?))"
            return negation + condition, [self.value, "*/" + self.value]
        return f"d.{self.field} {_GLOB[self.operator]} ?", [self.value]


@dataclass(frozen=True)
class Scope:
    """Who reads what. `principal` None is the owner of the library, who sees everything; any other principal sees the
    collections granted to it. `collections` None means all that the principal may see.
    """

    principal: str | None = None
    collections: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] = ()

    @property
    def is_everything(self) -> bool:
        return self.principal is None and self.collections is None and not self.filters

    def where(self) -> tuple[str, list[str | float]]:
        """(condition, bindings) over `documents d`; "1" when everything may be seen."""
        conditions: list[str] = []
        bindings: list[str | float] = []
        if self.principal is not None:
            conditions.append("d.collection_id IN (SELECT collection_id FROM grants WHERE principal = ?)")
            bindings.append(self.principal)
        if self.collections is not None:
            marks = ", ".join("?" * len(self.collections))
            conditions.append(f"d.collection_id IN (SELECT id FROM collections WHERE name IN ({marks}))")
            bindings.extend(self.collections)
        for one in self.filters:
            condition, values = one.sql()
            conditions.append(condition)
            bindings.extend(values)
        return " AND ".join(conditions) or "1", bindings


OWNER = Scope()


def parse_filter(text: str) -> Filter:
    """A `Filter` from "FIELD OPERATOR VALUE"; values of text fields are glob patterns (`*`, `?`, `[...]`).

    Raises `UsageError` that lists the fields and operators.
    """
    match = _FILTER.fullmatch(text)
    if match is None or match[1] not in _FIELDS or not match[3]:
        raise UsageError(f"filter {text!r} is not FIELD=VALUE", f"fields: {', '.join(_FIELDS)}; e.g. path=*.md")
    field, operator, value = match[1], match[2], match[3]
    if field != "modified" and operator not in _GLOB:
        raise UsageError(f"filter {text!r}: {field} has no {operator}", "use = or !=; only `modified` has an order")
    if field == "modified":
        _seconds(value, after=False)
    return Filter(field, "=" if operator == "==" else operator, value)


def _seconds(value: str, *, after: bool) -> float:
    """Seconds since 1970 of an ISO date or time (UTC when it names no zone); `after`: the end of that day."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(f"{value!r} is not a date", "write it as 2026-01-31 or 2026-01-31T08:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    is_day = "T" not in value and " " not in value
    return moment.timestamp() + (86_399.999 if after and is_day else 0)
