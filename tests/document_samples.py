"""Small files for the tests of the readers, and what must hold for every document."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from openbook.library.documents.model import Block, Document

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def check(document: Document) -> None:
    """Blocks ordered, apart, inside the text, white space between them; anchors and header ends in their places."""
    end = 0
    for block in document.blocks:
        assert end <= block.start < block.end <= len(document.text)
        assert not document.text[end : block.start].strip()
        assert not document.text[block.start].isspace() or block.kind == "code"
        assert not document.text[block.end - 1].isspace()
        if block.kind == "table":
            assert block.start <= block.header_end <= block.end
        end = block.end
    assert not document.text[end:].strip()
    for anchor in document.anchors:
        assert 0 <= anchor.start < anchor.end <= len(document.text)
    document.text.encode()
    assert Document.from_plain(document.to_plain()) == document


def texts(document: Document, kind: str | None = None) -> list[str]:
    return [document.text[b.start : b.end] for b in document.blocks if kind is None or b.kind == kind]


def blocks(document: Document, kind: str) -> list[Block]:
    return [block for block in document.blocks if block.kind == kind]


def cells(document: Document) -> dict[str, str]:
    """Address -> text of every anchored cell."""
    return {a.cell: document.text[a.start : a.end] for a in document.anchors if a.cell is not None}


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def word(body: str) -> bytes:
    return zipped({"word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>"})


Text = tuple[float, float, float, str]
"""x, y (points, from the bottom left), font size, text."""


def pdf(pages: Sequence[Sequence[Text]], *, drawing: str = "", rotate: int = 0) -> bytes:
    """A PDF of US-letter pages in Helvetica; `drawing` is put on each page (path operators)."""
    objects: list[bytes] = []
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for number, texts in enumerate(pages):
        content = drawing + "\n" + "\n".join(_show(*text) for text in texts)
        turn = f"/Rotate {rotate} " if rotate else ""
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {turn}/Contents {5 + 2 * number} 0 R "
        objects.append((page + "/Resources << /Font << /F1 3 0 R >> >> >>").encode())
        data = content.encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n" % len(data) + data + b"\nendstream")
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def _show(x: float, y: float, size: float, text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F1 {size} Tf {x} {y} Td ({escaped}) Tj ET"
