"""XML: feeds (RSS, Atom) as headings and their texts, other XML as one block a text-bearing element."""

from __future__ import annotations

from typing import Any

from openbook.library.documents.archive import parse_xml
from openbook.library.documents.build import Builder, flat
from openbook.library.documents.model import Document
from openbook.library.documents.readers.html import add_html
from openbook.library.documents.source import Source

_ENTRY_TEXTS = ("encoded", "content", "description", "summary")
_ENTRY_FACTS = ("pubDate", "published", "updated", "author", "creator", "category", "link")


def read(source: Source) -> Document:
    builder = Builder("xml")
    root = parse_xml(source, source.data, source.name)
    entries = [node for node in root.iter() if _name(node) in ("item", "entry")]
    if _name(root) in ("rss", "feed", "RDF") and entries:
        return _feed(source, builder, root, entries)
    _elements(builder, root)
    return builder.document(_child_text(root, "title") or source.stem)


def _feed(source: Source, builder: Builder, root: Any, entries: list[Any]) -> Document:
    channel = next((node for node in root if _name(node) == "channel"), root)
    title = _child_text(channel, "title")
    builder.add("heading", title, level=1)
    _add_text(builder, _child_text(channel, "description") or _child_text(channel, "subtitle"))
    for entry in entries:
        builder.add("heading", _child_text(entry, "title") or "untitled", level=2)
        facts = (f"{name}: {text}" for name in _ENTRY_FACTS if (text := _child_text(entry, name)))
        builder.add("paragraph", "\n".join(facts))
        _add_text(builder, next(filter(None, (_child_text(entry, name) for name in _ENTRY_TEXTS)), ""))
    return builder.document(title or source.stem)


def _add_text(builder: Builder, text: str) -> None:
    if "<" in text:
        add_html(builder, text)
    else:
        builder.add("paragraph", text)


def _elements(builder: Builder, root: Any) -> None:
    """A block for each element that holds text itself, with its mixed content; attributes are "name: value" lines."""
    stack = [root]
    while stack:
        node = stack.pop()
        if not isinstance(node.tag, str):
            continue
        facts = [f"{_local(key)}: {flat(value)}" for key, value in node.attrib.items() if flat(value)]
        is_mixed = bool((node.text or "").strip()) or any((child.tail or "").strip() for child in node)
        if is_mixed:
            text = flat("".join(node.itertext()))
            builder.add("paragraph", "\n".join([f"{_name(node)}: {text}", *facts]))
            continue
        if facts:
            builder.add("paragraph", "\n".join([_name(node), *facts]))
        leaves = [child for child in node if len(child) == 0 and not child.attrib]
        simple = [f"{_name(child)}: {flat(child.text or '')}" for child in leaves if flat(child.text or "")]
        builder.add("paragraph", "\n".join(simple))
        stack += [child for child in reversed(node) if len(child) or child.attrib]


def _name(node: Any) -> str:
    return _local(node.tag) if isinstance(node.tag, str) else ""


def _local(tag: Any) -> str:
    return str(tag).rsplit("}", 1)[-1]


def _child_text(node: Any, name: str) -> str:
    child = next((each for each in node if _name(each) == name), None)
    if child is None:
        return ""
    if len(child):
        return flat(" ".join(child.itertext()))
    return (child.text or child.get("href") or "").strip()
