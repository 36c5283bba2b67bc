"""Zip archives of office files and books, opened with limits: no bomb, no XML entity, no broken member.

The archive is never in memory as a whole: a member is unpacked when it is asked for. Thus a presentation of gigabytes of
pictures is read in the memory that its texts need.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from typing import Any

from openbook.library.documents.source import Source

MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 1_000_000_000
"""The most that the texts of a file may unpack to. What is larger packed than this holds pictures and films."""
MAX_PICTURE_BYTES = 100_000_000
MAX_RATIO = 200
"""Unpacked over packed size from which more than `SAFE_BYTES` are not believed; real sheets reach 50."""
SAFE_BYTES = 50_000_000


class Archive:
    """The members of a zip file. `read` gives bytes, `xml` a parsed tree without entities, DTDs or network.

    Texts together may have `MAX_UNPACKED_BYTES`; `picture` gives one picture, which is not kept.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.taken = 0
        try:
            self.zip = zipfile.ZipFile(source.file)
            members = self.zip.infolist()
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise source.unreadable(f"it is damaged ({error})", "get a complete copy") from None
        self.names = {member.filename: member for member in members}
        unpacked, packed = sum(member.file_size for member in members), sum(member.compress_size for member in members)
        is_swollen = unpacked > SAFE_BYTES and unpacked > MAX_RATIO * packed
        if len(members) > MAX_MEMBERS or unpacked - packed > MAX_UNPACKED_BYTES or is_swollen:
            raise source.unreadable(
                f"its {source.size_bytes:,} bytes unpack to {unpacked:,} in {len(members):,} members: a zip bomb",
                "do not open it; if you trust it, save it again without what makes it so large",
            )
        if any(member.flag_bits & 1 for member in members):
            raise source.unreadable("it is encrypted", "save it without a password")

    def read(self, name: str) -> bytes:
        """The bytes of a member; b"" when there is none of that name. Never more than its declared size.

        Raises UnreadableFile when the members that were read have more than `MAX_UNPACKED_BYTES` together.
        """
        self.taken += self.size(name)
        if self.taken > MAX_UNPACKED_BYTES:
            raise self.source.unreadable(
                f"its texts have more than {MAX_UNPACKED_BYTES:,} bytes", "split it, or save its tables as .csv"
            )
        return self._unpacked(name)

    def picture(self, name: str) -> bytes:
        """The bytes of a picture; b"" when there is none of that name, or none that is to be looked at."""
        return self._unpacked(name) if self.size(name) <= MAX_PICTURE_BYTES else b""

    def size(self, name: str) -> int:
        """The declared bytes of a member, 0 when there is none of that name."""
        member = self.names.get(name)
        return 0 if member is None else member.file_size

    def _unpacked(self, name: str) -> bytes:
        member = self.names.get(name)
        if member is None:
            return b""
        try:
            return self.zip.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise self.source.unreadable(f"its part {name} is damaged ({error})", "get a complete copy") from None

    def xml(self, name: str) -> Any:
        """The root element of a member (lxml), or None when it is absent. Raises UnreadableFile for bad XML."""
        data = self.read(name)
        return parse_xml(self.source, data, name) if data else None

    def relations(self, part: str) -> dict[str, tuple[str, str, bool]]:
        """id -> (type's last word, target, is external) of an OOXML part; targets are member names."""
        folder, name = posixpath.split(part)
        root = self.xml(f"{folder}/_rels/{name}.rels".lstrip("/"))
        found: dict[str, tuple[str, str, bool]] = {}
        for relation in root if root is not None else ():
            kind = str(relation.get("Type", "")).rsplit("/", 1)[-1]
            target = str(relation.get("Target", ""))
            external = relation.get("TargetMode") == "External"
            if not external:
                absolute = target.startswith("/")
                target = posixpath.normpath(target.lstrip("/") if absolute else posixpath.join(folder, target))
            found[str(relation.get("Id", ""))] = (kind, target, external)
        return found


def parse_xml(source: Source, data: bytes, name: str, *, recover: bool = False) -> Any:
    """The root element; document type declarations are refused, so that no entity is ever expanded."""
    from lxml import etree

    head = data[:4096].replace(b"\x00", b"").lower()
    if not recover and (b"<!doctype" in head or b"<!entity" in head):
        raise source.unreadable(
            f"{name} declares a document type, as XML bombs do", "save it again in its own program, or exclude it"
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=recover, remove_comments=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        cause = "is nested too deeply" if "depth" in str(error).lower() else f"is no valid XML ({error})"
        raise source.unreadable(f"{name} {cause}", "save it again in its own program, or exclude it") from None
    if root is None:
        raise source.unreadable(f"{name} holds no XML", "save it again in its own program, or exclude it")
    return root
