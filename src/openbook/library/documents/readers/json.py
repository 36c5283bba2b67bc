"""JSON and JSON lines: one line a value, "path: value"; an object of a list (or a line of JSONL) is a block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openbook.library.documents.build import Builder, flat
from openbook.library.documents.model import Document
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.source import Source

_LINES = frozenset({".jsonl", ".ndjson"})


def read(source: Source) -> Document:
    builder = Builder("json")
    text = decoded_text(source, builder)
    if source.portion is not None or source.suffix in _LINES:
        _read_lines(source, builder, text)
        return builder.document(source.stem)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if _looks_like_lines(text):
            _read_lines(source, builder, text)
            return builder.document(source.stem)
        raise source.unreadable(f"it is no valid JSON ({error})", "mend it, or rename it to .txt") from None
    if isinstance(value, list):
        for number, item in enumerate(value):
            _add(builder, item, f"$[{number}]")
    elif isinstance(value, dict):
        simple = {key: item for key, item in value.items() if not isinstance(item, dict | list)}
        _add(builder, simple, "$")
        for key, item in value.items():
            if isinstance(item, list) and item and all(isinstance(each, dict) for each in item):
                builder.add("heading", flat(str(key)), level=2)
                for number, each in enumerate(item):
                    _add(builder, each, f"$.{key}[{number}]")
            elif isinstance(item, dict | list):
                _add(builder, {key: item}, f"$.{key}")
    else:
        _add(builder, value, "$")
    title = value.get("title") if isinstance(value, dict) else None
    return builder.document(title if isinstance(title, str) and title.strip() else source.stem)


def _read_lines(source: Source, builder: Builder, text: str) -> None:
    broken: list[int] = []
    before = 0 if source.portion is None else source.portion.line
    for number, line in enumerate(text.split("\n"), start=before + 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            broken.append(number)
            continue
        _add(builder, value, f"line {number}")
    if broken:
        shown = ", ".join(map(str, broken[:10])) + (" ..." if len(broken) > 10 else "")
        builder.missing(f"{len(broken)} lines are no valid JSON: {shown}")
        if not builder.blocks and source.portion is None:
            raise source.unreadable("none of its lines is valid JSON", "mend it, or rename it to .txt")


def _looks_like_lines(text: str) -> bool:
    first = text.lstrip().split("\n", 1)[0]
    try:
        return isinstance(json.loads(first), dict | list)
    except json.JSONDecodeError:
        return False


def _add(builder: Builder, value: Any, part: str) -> None:
    lines = [f"{path}: {text}" if path else text for path, text in leaves(value)]
    builder.add("paragraph", "\n".join(lines), part=part)


def leaves(value: Any) -> Iterator[tuple[str, str]]:
    """(dotted path, text) of each value inside; lists of plain values are one line. No recursion."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            prefix = f"{path}." if path else ""
            stack += [(f"{prefix}{flat(str(key))}", each) for key, each in reversed(item.items())]
        elif isinstance(item, list):
            if any(isinstance(each, dict | list) for each in item):
                stack += [(f"{path}[{number}]", each) for number, each in reversed(list(enumerate(item)))]
            else:
                yield path, ", ".join(_shown(each) for each in item)
        else:
            yield path, _shown(item)


def _shown(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
