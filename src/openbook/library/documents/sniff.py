"""Which reader a file needs: by its suffix, checked against its first bytes; what cannot be read is told the cure."""

from __future__ import annotations

import zipfile

from openbook.library.documents.encoding import is_binary
from openbook.library.documents.source import ZIP_MAGIC, Source

_CODE = (
    ".py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hpp .hh .cs .go .rs .rb "
    ".php .swift .m .mm .r .jl .lua .pl .pm .sh .bash .zsh .fish .ps1 .bat .sql .dart .ex .exs .erl .hs .ml "
    ".clj .el .lisp .vue .svelte .css .scss .less .yaml .yml .toml .ini .cfg .conf .properties .proto .graphql "
    ".tf .cmake .gradle .groovy .nim .zig .v .sv .vhd .asm .s .cu .f90 .pas .diff .patch"
)

SUFFIXES: dict[str, str] = {
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".rst": "text", ".txt": "text", ".text": "text",
    ".log": "text", ".adoc": "text", ".org": "text", ".tex": "text", ".srt": "text", ".vtt": "text",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".mhtml": "mhtml", ".mht": "mhtml",
    ".pdf": "pdf", ".docx": "docx", ".docm": "docx", ".dotx": "docx", ".xlsx": "xlsx", ".xlsm": "xlsx",
    ".xltx": "xlsx", ".pptx": "pptx", ".pptm": "pptx", ".ppsx": "pptx", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
    ".json": "json", ".geojson": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".epub": "epub", ".ipynb": "ipynb",
    ".eml": "eml", ".msg": "msg", ".xml": "xml", ".rss": "xml", ".atom": "xml",
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".tif": "image", ".tiff": "image", ".bmp": "image",
    ".webp": "image", ".gif": "image",
    **dict.fromkeys(_CODE.split(), "code"),
}  # fmt: skip

_OFFICE = "open it in its program or LibreOffice and save it as {} (soffice --headless --convert-to {} FILE)"
_ARCHIVE = "unpack it and add the folder"
UNREADABLE: dict[str, tuple[str, str]] = {
    **{s: ("the old Word format is not read", _OFFICE.format(".docx", "docx")) for s in (".doc", ".dot", ".wps")},
    **{s: ("the old Excel format is not read", _OFFICE.format(".xlsx", "xlsx")) for s in (".xls", ".xlsb", ".et")},
    **{s: ("the old PowerPoint format is not read", _OFFICE.format(".pptx", "pptx")) for s in (".ppt", ".pps", ".dps")},
    ".rtf": ("rich text is not read", _OFFICE.format(".docx", "docx")),
    ".odt": ("OpenDocument text is not read", _OFFICE.format(".docx", "docx")),
    ".ods": ("OpenDocument sheets are not read", _OFFICE.format(".xlsx", "xlsx")),
    ".odp": ("OpenDocument slides are not read", _OFFICE.format(".pptx", "pptx")),
    ".pages": ("Apple Pages files are not read", "export it as .docx or .pdf"),
    ".numbers": ("Apple Numbers files are not read", "export it as .xlsx"),
    ".key": ("Apple Keynote files are not read", "export it as .pptx or .pdf"),
    **dict.fromkeys((".mobi", ".azw", ".azw3"), ("Kindle books are not read", "convert it to .epub (calibre)")),
    ".djvu": ("DjVu is not read", "convert it to .pdf (ddjvu -format=pdf)"),
    ".ps": ("PostScript is not read", "convert it to .pdf (ps2pdf)"),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"),
                    ("it is an archive", _ARCHIVE)),
    **dict.fromkeys((".mp3", ".wav", ".m4a", ".flac", ".ogg", ".mp4", ".mov", ".mkv", ".avi", ".webm"),
                    ("sound and video are not read", "add a transcript as .txt or .srt")),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db", ".mdb"), ("a database is not read", "export its tables as .csv")),
    **dict.fromkeys((".pst", ".mbox", ".ost"), ("mail boxes are not read", "export the messages as .eml")),
    ".svg": ("vector drawings are not read", "export it as .pdf or .png"),
    **dict.fromkeys((".heic", ".avif", ".raw", ".psd"), ("this camera format is not read", "convert it to .jpg")),
}  # fmt: skip

TEXTUAL = frozenset({"markdown", "text", "html", "mhtml", "csv", "json", "jsonl", "ipynb", "eml", "xml", "code"})
_IMAGE_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM")
_BINARY_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "it is a program"),
    (b"MZ", "it is a program"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"7z\xbc\xaf", "it is an archive"),
    (b"SQLite format 3\x00", "it is a database"),
)


def kind_of(source: Source) -> str:
    """The name of the reader for `source`. Raises UnreadableFile, with the cure, when there is none.

    The content wins over a suffix that it contradicts: a PDF called .txt is read as a PDF, an encrypted .docx is
    named as such.
    """
    suffix, head = source.suffix, source.data[:4096]
    if suffix in UNREADABLE and not (suffix == ".key" and head.startswith(b"-----BEGIN")):
        raise source.unreadable(*UNREADABLE[suffix])
    kind = SUFFIXES.get(suffix)
    if not head and kind is not None and kind not in TEXTUAL:
        raise source.unreadable("it is empty", "get a complete copy")
    if not head:
        return kind if kind in TEXTUAL else "text"
    if head.lstrip().startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and (kind == "pdf" or is_binary(source.data))):
        return "pdf"
    if head.startswith(ZIP_MAGIC):
        return _zip_kind(source)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return _ole_kind(source)
    is_picture = head.startswith(_IMAGE_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    if is_picture and (kind == "image" or is_binary(source.data)):  # "BMW was founded ..." is text
        return "image"
    if kind is None or kind in TEXTUAL:
        return _text_kind(source, kind)
    wanted = {"pdf": "%PDF-", "image": "a picture's signature"}.get(kind, "a zip archive, as this format is")
    raise source.unreadable(
        f"its name ends in {suffix}, but its content does not begin as {wanted}", "check that it is complete"
    )


def _text_kind(source: Source, kind: str | None) -> str:
    if is_binary(source.data):
        cause = next((cause for magic, cause in _BINARY_MAGIC if source.data.startswith(magic)), "it is no text")
        remedy = "save it as text, .pdf, .docx or another format that is read, or exclude it"
        if kind is not None:
            cause = f"its name ends in {source.suffix}, but {cause}" if cause != "it is no text" else (
                f"its name ends in {source.suffix}, but its content is binary"
            )  # fmt: skip
        raise source.unreadable(cause, remedy)
    if kind is not None:
        return kind
    head = source.data[:1024].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "html"
    if head.startswith(b"{\\rtf"):
        raise source.unreadable(*UNREADABLE[".rtf"])
    if head.startswith(b"#!"):
        return "code"
    return "text"


def _zip_kind(source: Source) -> str:
    try:
        with zipfile.ZipFile(source.file) as archive:
            names = set(archive.namelist())
            mimetype = archive.read("mimetype")[:100].decode(errors="replace") if "mimetype" in names else ""
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise source.unreadable(f"it is damaged ({error})", "get a complete copy") from None
    for name, kind in (("word/document.xml", "docx"), ("xl/workbook.xml", "xlsx"), ("ppt/presentation.xml", "pptx")):
        if name in names:
            return kind
    if "epub" in mimetype or "META-INF/container.xml" in names:
        return "epub"
    if "opendocument" in mimetype:
        raise source.unreadable("OpenDocument files are not read", UNREADABLE[".odt"][1])
    if "xl/workbook.bin" in names:
        raise source.unreadable(*UNREADABLE[".xlsb"])
    if SUFFIXES.get(source.suffix) in ("docx", "xlsx", "pptx"):
        return SUFFIXES[source.suffix]
    raise source.unreadable("it is an archive", _ARCHIVE)


def _ole_kind(source: Source) -> str:
    """Compound files: Outlook messages, the old office formats, and encrypted new ones."""
    names = source.data
    if "EncryptedPackage".encode("utf-16-le") in names or "EncryptionInfo".encode("utf-16-le") in names:
        raise source.unreadable("it is encrypted", "open it with its password and save it without one")
    if "__substg1.0_".encode("utf-16-le") in names or source.suffix == ".msg":
        return "msg"
    for stream, suffix in (("WordDocument", ".doc"), ("Workbook", ".xls"), ("PowerPoint Document", ".ppt")):
        if stream.encode("utf-16-le") in names:
            raise source.unreadable(*UNREADABLE[suffix])
    raise source.unreadable("it is an old compound file", "save it in a current format")
