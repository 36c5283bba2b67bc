"""From a file to a document, or to an error with name, cause and remedy."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from document_samples import W, check, pdf, texts, word, zipped
from openbook.core.errors import OpenbookError, UnreadableFile
from openbook.library.documents import source as source_module
from openbook.library.documents.model import Document
from openbook.library.documents.read import read_document, read_plain, read_source
from openbook.library.documents.scan import scan
from openbook.library.documents.source import Source

Read = Callable[[str, bytes | str], Document]


def test_reads_a_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# Title\n\nBody.\n")
    document = read_document(path)
    assert (document.title, document.kind, texts(document)) == ("Title", "markdown", ["Title", "Body."])
    assert Document.from_plain(read_plain(str(path), {})) == document


def test_content_wins_over_a_wrong_suffix(read: Read) -> None:
    assert read("report.txt", pdf([[(72, 700, 12, "Hello")]])).kind == "pdf"
    assert read("report.xlsx", word("<w:p><w:r><w:t>Hello</w:t></w:r></w:p>")).kind == "docx"
    assert read("noname", "<!DOCTYPE html><p>Hello").kind == "html"


@pytest.mark.parametrize(
    ("name", "content", "cause", "remedy"),
    [
        ("a.doc", b"\xd0\xcf\x11\xe0" + bytes(600), "old Word format", ".docx"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(600), "old Excel format", ".xlsx"),
        ("a.ppt", b"\xd0\xcf\x11\xe0" + bytes(600), "old PowerPoint format", ".pptx"),
        ("a.rtf", b"{\\rtf1 x}", "rich text", ".docx"),
        ("a.odt", b"PK\x03\x04", "OpenDocument", ".docx"),
        ("a.zip", zipped({"a.txt": "x"}), "archive", "unpack"),
        ("a.mp3", b"ID3", "sound", "transcript"),
        ("a.txt", bytes(range(256)) * 8, "binary", "exclude"),
        ("a.bin", bytes(range(256)) * 8, "no text", "exclude"),
        ("a.pdf", b"hello", "does not begin", "complete"),
        ("a.pdf", b"", "empty", "complete"),
        ("a.pdf", b"%PDF-1.7 nothing", "damaged", "complete copy"),
        ("a.docx", b"PK\x03\x04" + bytes(99), "damaged", "complete copy"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "picture", "install the extra"),
        ("a.json", b"{", "no valid JSON", "mend"),
        ("a.json", b"[" * 100_000, "too deeply", "flatten"),
        ("a.xml", b"<a>", "no valid XML", "save it again"),
        ("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type", "exclude"),
        ("a.docx", word("<w:tbl><w:tr><w:tc>" * 900 + "</w:tc></w:tr></w:tbl>" * 900), "too deeply", "exclude"),
        (
            "a.docx",
            zipped({"word/document.xml": f'<!DOCTYPE a [<!ENTITY b "c">]><w:document {W}/>'}),
            "document type",
            "exclude",
        ),
        ("a.csv", b"," * 20_000, "cells", "delimiter"),
    ],
)
def test_what_cannot_be_read_is_named_with_cause_and_remedy(
    name: str, content: bytes, cause: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbook.library.documents.ocr.is_installed", lambda: False)
    with pytest.raises(UnreadableFile) as error:
        read_source(Source(name, content))
    assert name in error.value.message
    assert cause in error.value.message
    assert remedy in error.value.remedy


def test_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped({"word/document.xml": bytes(80_000_000)})
    with pytest.raises(UnreadableFile, match="zip bomb"):
        read_source(Source("a.docx", bomb))


def slides(path: Path, pictures: int, picture_bytes: int) -> None:
    """A presentation of a slide with a sentence and a picture that cannot be packed, once for every picture."""
    a, p, r = (
        f"http://schemas.openxmlformats.org/{name}/2006/{kind}"
        for name, kind in (("drawingml", "main"), ("presentationml", "main"), ("officeDocument", "relationships"))
    )
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    numbers = range(pictures)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        ids = "".join(f'<p:sldId id="{n}" r:id="r{n}"/>' for n in numbers)
        archive.writestr(
            "ppt/presentation.xml",
            f'<p:presentation xmlns:p="{p}" xmlns:r="{r}"><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>',
        )
        links = "".join(f'<Relationship Id="r{n}" Type="{r}/slide" Target="slides/s{n}.xml"/>' for n in numbers)
        archive.writestr(
            "ppt/_rels/presentation.xml.rels", f'<Relationships xmlns="{relations}">{links}</Relationships>'
        )
        for n in numbers:
            shape = f"<p:sp><p:txBody><a:p><a:r><a:t>Pier {n} is open.</a:t></a:r></a:p></p:txBody></p:sp>"
            picture = '<p:pic><p:blipFill><a:blip r:embed="r1"/></p:blipFill></p:pic>'
            names = f'xmlns:p="{p}" xmlns:a="{a}" xmlns:r="{r}"'
            tree = f"<p:spTree>{shape}{picture}</p:spTree>"
            archive.writestr(f"ppt/slides/s{n}.xml", f"<p:sld {names}><p:cSld>{tree}</p:cSld></p:sld>")
            link = f'<Relationship Id="r1" Type="{r}/image" Target="../media/{n}.png"/>'
            archive.writestr(
                f"ppt/slides/_rels/s{n}.xml.rels", f'<Relationships xmlns="{relations}">{link}</Relationships>'
            )
            archive.writestr(f"ppt/media/{n}.png", bytes(picture_bytes))


@pytest.mark.parametrize("has_ocr", [False, True])
def test_a_container_of_large_pictures_is_read_in_the_memory_of_one(
    tmp_path: Path, has_ocr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen to fail with 160 MB of peak when the file was loaded whole, and as a bomb when pictures counted as unpacked.
    monkeypatch.setattr("openbook.library.documents.archive.MAX_UNPACKED_BYTES", 50_000_000)
    monkeypatch.setattr("openbook.library.documents.ocr.is_installed", lambda: has_ocr)
    path = tmp_path / "pictures.pptx"
    slides(path, pictures=10, picture_bytes=8_000_000)
    assert scan(path).portions == []
    tracemalloc.start()
    try:
        document = read_document(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert texts(document) == [f"Pier {n} is open." for n in range(10)]
    assert peak < (24_000_000 if has_ocr else 4_000_000)
    assert has_ocr != any("inside pictures was not read" in line for line in document.receipt.not_searchable)


def test_a_container_above_what_is_read_whole_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.library.documents.scan.MAX_WHOLE_BYTES", 1_000)
    path = tmp_path / "pictures.pptx"
    slides(path, pictures=1, picture_bytes=2_000)
    assert scan(path).portions == []


def test_texts_of_a_container_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.library.documents.archive.MAX_UNPACKED_BYTES", 10_000)
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("word/document.xml", f"<w:document {W}><w:body>{' ' * 20_000}</w:body></w:document>")
    with pytest.raises(UnreadableFile, match="texts have more than 10,000 bytes"):
        read_source(Source("a.docx", stored.getvalue()))


def test_encrypted_office_file_is_named() -> None:
    content = b"\xd0\xcf\x11\xe0" + bytes(508) + "EncryptedPackage".encode("utf-16-le")
    with pytest.raises(UnreadableFile, match="encrypted"):
        read_source(Source("a.docx", content))


def test_password_protected_member_is_named() -> None:
    content = bytearray(word("<w:p/>"))
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    with pytest.raises(UnreadableFile, match="encrypted"):
        read_source(Source("a.docx", bytes(content)))


def test_damaged_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("word/document.xml", f"<w:document {W}><w:body/></w:document>")
    data = path.read_bytes().replace(b"<w:body/>", b"<w:b0dy/>")
    with pytest.raises(UnreadableFile, match=r"word/document\.xml is damaged"):
        read_source(Source("a.docx", data))


def test_missing_folder_fifo_and_forbidden_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for path, cause in [("none.txt", "does not exist"), (".", "folder"), ("pipe.txt", "pipe")]:
        with pytest.raises(UnreadableFile, match=cause):
            read_document(tmp_path / path)
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    secret.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(UnreadableFile, match="may not be read"):
            read_document(secret)


def test_too_large_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 1001)
    with pytest.raises(UnreadableFile, match="1,001 bytes, the limit is 1,000") as error:
        read_document(path, max_file_bytes=1000)
    assert "max_file_bytes" in error.value.remedy


def test_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("first")
    real, calls = os.fstat, []

    def fstat(descriptor: int) -> os.stat_result:
        result = real(descriptor)
        calls.append(descriptor)
        if len(calls) == 1:
            path.write_text("another text")
        return result

    monkeypatch.setattr(source_module.os, "fstat", fstat)
    with pytest.raises(UnreadableFile, match="changed while it was read"):
        read_document(path)


@given(st.text(max_size=300), st.sampled_from(["md", "txt", "html", "csv", "tsv", "py", "json", "jsonl", "xml", "eml"]))
def test_any_text_gives_a_sound_document_or_a_clear_error(text: str, suffix: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    try:
        document = read_source(Source(f"a.{suffix}", data))
    except OpenbookError as error:
        assert error.message and error.remedy
    else:
        check(document)


@given(st.binary(max_size=300), st.sampled_from(["md", "txt", "html", "pdf", "docx", "xlsx", "csv", "eml", "msg", "x"]))
def test_any_bytes_give_a_sound_document_or_a_clear_error(data: bytes, suffix: str) -> None:
    try:
        document = read_source(Source(f"a.{suffix}", data))
    except OpenbookError as error:
        assert error.message and error.remedy
    else:
        check(document)


@pytest.mark.parametrize("folder", ["markitdown_docs", "kotaemon_docs", "kb_basecamp_handbook"])
def test_real_files_are_sound(data: Path, folder: str) -> None:
    readable = [path for path in sorted((data / folder).rglob("*.*")) if path.suffix not in (".xls", ".bin", ".jpg")]
    assert readable
    for path in readable:
        document = read_document(path, ocr=False)
        check(document)
        assert document.text or document.receipt.not_searchable
        assert document.title
