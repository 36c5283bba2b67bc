"""EPUB: the chapters in the order of the spine, each through the HTML reader; a chapter counts as a page."""

from __future__ import annotations

import posixpath
import urllib.parse
from typing import Any

from openbook.library.documents.archive import Archive, parse_xml
from openbook.library.documents.build import Builder, flat
from openbook.library.documents.encoding import decode
from openbook.library.documents.model import Document
from openbook.library.documents.readers.html import add_html
from openbook.library.documents.source import Source

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_OPF = "{http://www.idpf.org/2007/opf}"
_DC = "{http://purl.org/dc/elements/1.1/}"


def read(source: Source) -> Document:
    archive = Archive(source)
    builder = Builder("epub")
    if "META-INF/encryption.xml" in archive.names and b"EncryptedData" in archive.read("META-INF/encryption.xml"):
        builder.note("parts of the book are encrypted (fonts, or a copy protection)")
    package_name = _package(archive)
    package = parse_xml(source, archive.read(package_name), package_name, recover=True)
    folder = posixpath.dirname(package_name)
    items = {item.get("id", ""): item for item in package.iterfind(f"{_OPF}manifest/{_OPF}item")}
    for reference in package.iterfind(f"{_OPF}spine/{_OPF}itemref"):
        item = items.get(reference.get("idref", ""))
        if item is None or "nav" in (item.get("properties") or "").split():
            continue
        name = posixpath.normpath(posixpath.join(folder, urllib.parse.unquote(item.get("href", ""))))
        data = archive.read(name)
        if not data:
            builder.missing(f"chapter {name} is not in the file")
            continue
        builder.pages += 1
        before = len(builder.blocks)
        add_html(builder, decode(data).text)
        builder.blocks[before:] = [block._replace(page=builder.pages) for block in builder.blocks[before:]]
    return builder.document(_metadata(package, "title") or source.stem, _information(package))


def _package(archive: Archive) -> str:
    root = archive.xml("META-INF/container.xml")
    node = root.find(f"{_CONTAINER}rootfiles/{_CONTAINER}rootfile") if root is not None else None
    name = str(node.get("full-path", "")) if node is not None else ""
    if name not in archive.names:
        raise archive.source.unreadable("it names no package file, as a book must", "check that it is a real .epub")
    return name


def _metadata(package: Any, name: str) -> str:
    return flat(" ".join(node.text or "" for node in list(package.iter(_DC + name))[:5]))


def _information(package: Any) -> dict[str, str]:
    names = {"creator": "author", "subject": "subject", "language": "language", "date": "date"}
    return {ours: text for theirs, ours in names.items() if (text := _metadata(package, theirs))}
