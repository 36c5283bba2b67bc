"""A file read in parts is the document that it is when it is read whole, wherever it is cut."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from document_samples import pdf
from openbook.core.errors import UnreadableFile
from openbook.library.catalogue import reads
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.catalogue.rows import FoundFile
from openbook.library.catalogue.writes import put_document, put_root
from openbook.library.documents import scan as scanning
from openbook.library.documents.model import Anchor, Block, Document
from openbook.library.documents.pdf import read as pdf_reader
from openbook.library.documents.portion import Portion
from openbook.library.documents.read import read_document, read_portion
from openbook.library.documents.readers import plain
from openbook.library.documents.scan import scan
from openbook.library.ingest.gather import Gathering
from openbook.library.ingest.work import document_plain, indexed, without_surrogates
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens

ENGLISH = "the ferry leaves pier three at noon and carries barrels of tar past a lighthouse".split()
CHINESE = "渡轮 从 三号 码头 出发 ， 价格 十二元 。 船长 繁體 電池 é € 🚢".split()
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030")


@pytest.fixture(autouse=True)
def short_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paragraph that is cut is a long one; with parts of hundreds of bytes, long has to mean less."""
    monkeypatch.setattr(plain, "MAX_PARAGRAPH", 15)


@st.composite
def words(draw: st.DrawFn, most: int = 12) -> str:
    chosen = draw(st.lists(st.sampled_from(ENGLISH + CHINESE), min_size=1, max_size=most))
    return " ".join(chosen)


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    lines = draw(st.lists(words(), min_size=20, max_size=60))
    ends = draw(st.lists(st.sampled_from(("\n", "\n", "\n\n", "\n \t\n", "\n\n\n  ")), min_size=60, max_size=60))
    return "".join(line + end for line, end in zip(lines, ends, strict=False))


@st.composite
def long_tables(draw: st.DrawFn) -> str:
    cell = st.one_of(
        words(3), st.sampled_from(("", "12", "4,5", 'a "quoted" one', "two\nlines", "5'", "x;y")), st.just("  ")
    )
    rows = draw(st.lists(st.lists(cell, min_size=1, max_size=4), min_size=20, max_size=50))
    out = io.StringIO()
    csv.writer(out, lineterminator=draw(st.sampled_from(("\n", "\r\n")))).writerows([["Name", "Price", "Place"], *rows])
    return out.getvalue()


@st.composite
def long_markdowns(draw: st.DrawFn) -> str:
    found = []
    for _ in range(draw(st.integers(60, 90))):
        line = draw(words(8))
        form = draw(
            st.sampled_from(("{0}", "{0}", "# {0}", "## {0}", "### {0}", "- {0}\n- {0}", "```\n# {0}\n\nx\n```"))
        )
        found.append(form.format(line))
    return "\n\n".join(found) + "\n"


def parts_of(path: Path, part_bytes: int) -> tuple[list[Portion], list[Document]]:
    scanned = scan(path, part_bytes)
    assert scanned.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    return scanned.portions, [without_surrogates(read_portion(path, one, ocr=False)) for one in scanned.portions]


def stored(path: Path, documents: list[Document], folder: Path) -> tuple[str, tuple[Block, ...], list[Anchor]]:
    """Text, blocks and anchors as a catalogue gives them back that took the documents as parts of one."""
    gathering = Gathering(FoundFile(str(path), 1, "default", "0" * 64, path.suffix, 1, 1))
    parts = [gathering.add(document_plain(one), indexed(one, chunks_of(one))) for one in documents]
    catalogue = Catalogue(folder, create=True)
    with catalogue.write() as connection:
        put_root(connection, "/", "default", "folder", ())
        connection.execute(
            "INSERT INTO generations (state, splitter, tokenizer_version) VALUES ('active', '{}', '') ON CONFLICT DO NOTHING"
        )
        connection.execute("DELETE FROM paths")
        read = gathering.document([part for part in parts if part is not None])
        document_id = put_document(connection, read, 1)
        text = reads.document_text(connection, document_id)
        blocks = reads.document_blocks(connection, document_id)
        anchors = reads.anchors_between(connection, document_id, 0, len(text) + 1)
        assert read.text_sha256 == hashlib.sha256(text.encode()).hexdigest()
        for start in range(0, len(text), 37):
            assert reads.text_between(connection, document_id, start, start + 61) == text[start : start + 61]
            some = reads.document_blocks(connection, document_id, start, start + 61)
            assert [b for b in some if b.start < start + 61 and b.end > start] == [
                block for block in blocks if block.start < start + 61 and block.end > start
            ] or some[-1].end < blocks[-1].end
        rows = connection.execute(
            'SELECT id, start, "end" FROM chunks WHERE document_id = ?', (document_id,)
        ).fetchall()
        from openbook.library.catalogue.scope import OWNER

        for chunk_id, row in reads.chunks_by_id(connection, OWNER, 1, [row[0] for row in rows]).items():
            assert row.text == text[row.start : row.end], chunk_id
        connection.execute("DELETE FROM paths")
    catalogue.close()
    return text, blocks, anchors


def chunks_of(document: Document) -> list:
    return split(document, SplitSettings(chunk_tokens=24), ApproximateTokens())


def without_white_space(text: str) -> str:
    return "".join(text.split())


def check(path: Path, part_bytes: int, folder: Path) -> list[Portion]:
    """The parts give the text, blocks and anchors of the whole, and their chunks lose no character."""
    whole = without_surrogates(read_document(path, ocr=False))
    portions, documents = parts_of(path, part_bytes)
    if not portions:
        return []
    text, blocks, anchors = stored(path, documents, folder)
    assert text == whole.text
    assert [block[:5] for block in blocks] == [block[:5] for block in whole.blocks]
    assert anchors == sorted(whole.anchors, key=lambda anchor: (anchor.start, anchor.end))
    for document in documents:
        inside = bytearray(len(document.text))
        for chunk in chunks_of(document):
            inside[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
        assert not "".join(c for c, seen in zip(document.text, inside, strict=True) if not seen).strip()
    return portions


@given(text=long_texts(), encoding=st.sampled_from(ENCODINGS), size=st.integers(100, 900), ends=st.booleans())
def test_text_in_parts_is_the_text_read_whole(tmp_path_factory, text, encoding, size, ends):
    folder = tmp_path_factory.mktemp("text")
    path = folder / "a.txt"
    path.write_bytes((text.replace("\n", "\r\n") if ends else text).encode(encoding))
    check(path, size, folder / "library")


@given(text=long_tables(), encoding=st.sampled_from(("utf-8", "utf-16", "gb18030")), size=st.integers(60, 400))
def test_a_table_in_parts_keeps_rows_cells_and_header(tmp_path_factory, text, encoding, size):
    folder = tmp_path_factory.mktemp("table")
    path = folder / "a.csv"
    path.write_bytes(text.encode(encoding))
    portions = check(path, size, folder / "library")
    for portion in portions[1:]:
        document = read_portion(path, portion)
        for chunk in chunks_of(document):
            assert chunk.index_text.startswith("a\nName | Price | Place\n")


@given(
    rows=st.lists(st.dictionaries(words(2), words(6), max_size=3), min_size=10, max_size=40), size=st.integers(60, 400)
)
def test_json_lines_in_parts_keep_their_numbers(tmp_path_factory, rows, size):
    folder = tmp_path_factory.mktemp("lines")
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    check(path, size, folder / "library")


@given(text=long_markdowns(), size=st.integers(1_000, 1_600), encoding=st.sampled_from(("utf-8", "utf-16")))
def test_markdown_in_parts_keeps_its_headings(tmp_path_factory, text, size, encoding):
    folder = tmp_path_factory.mktemp("markdown")
    path = folder / "a.md"
    path.write_bytes(text.encode(encoding))
    whole = read_document(path, ocr=False)
    portions, documents = parts_of(path, size)
    if not portions:
        return
    text, blocks, _ = stored(path, documents, folder / "library")
    assert without_white_space(text) == without_white_space(whole.text)
    expected = {chunk.index_text.rsplit("\n", 1)[-1]: chunk.heading for chunk in chunks_of(whole)}
    assert {document.title for document in documents} == {whole.title}
    headings = [whole.text[b.start : b.end] for b in whole.blocks if b.kind == "heading"]
    assert [text[b.start : b.end] for b in blocks if b.kind == "heading"] == headings
    for document in documents:
        for chunk in chunks_of(document):
            last = chunk.index_text.rsplit("\n", 1)[-1]
            if len(set(expected)) == len(expected) and last in expected and text.count(last) == 1:
                assert chunk.heading == expected[last]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "big5", "utf-16", "shift_jis"])
def test_a_text_without_line_breaks_or_spaces_is_cut_between_characters(tmp_path, encoding):
    text = "渡船從三號碼頭出發價格十二元" * 400
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    portions, documents = parts_of(path, 1_001)
    assert len(portions) > 5
    assert "".join(document.text for document in documents) == read_document(path).text
    assert stored(path, documents, tmp_path / "library")[1] == read_document(path).blocks


def test_a_text_without_line_breaks_is_cut_at_spaces_and_stays_one_block(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("harbour pilot boat quay " * 400)
    check(path, 1_000, tmp_path / "library")


def test_old_line_ends_are_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one line of an old text\r" * 300)
    assert len(check(path, 1_000, tmp_path / "library")) > 3


def test_code_in_parts_loses_nothing(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("".join(f"def f{n}(x):\n    y = x + {n}\n\n    return y\n\n\n" for n in range(200)))
    portions, documents = parts_of(path, 700)
    assert len(portions) > 5
    text = stored(path, documents, tmp_path / "library")[0]
    assert without_white_space(text) == without_white_space(path.read_text())


def test_code_that_is_longer_than_a_part_goes_on_as_code(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# Log\n\n```\n" + "# no heading, a line of a log\n" * 200 + "```\n\n## After\n\nWords.\n")
    whole = read_document(path)
    _, documents = parts_of(path, 700)
    text, blocks, _ = stored(path, documents, tmp_path / "library")
    assert text == whole.text
    assert blocks == whole.blocks


def test_a_part_whose_bytes_have_changed_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("some words of a text\n\n" * 200)
    portion = scan(path, 1_000).portions[1]
    path.write_text("some other of a text\n\n" * 200)
    with pytest.raises(UnreadableFile, match="was changed while it was read"):
        read_portion(path, portion)


def test_what_is_read_whole_is_refused_by_name_above_its_own_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "MAX_WHOLE_BYTES", 1_000)
    path = tmp_path / "big.json"
    path.write_text(json.dumps(["x" * 2_000]))
    with pytest.raises(UnreadableFile, match=r"big\.json has 2,004 bytes; \.json files are read whole") as raised:
        scan(path)
    assert "JSON lines" in raised.value.remedy


def test_a_line_of_json_lines_that_never_ends_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "LONGEST_LINE_BYTES", 1_000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 30 + '{"a": "' + "x" * 20_000 + '"}\n' + '{"a": 1}\n' * 300)
    with pytest.raises(UnreadableFile, match="line 31 has more than 1,000 bytes"):
        scan(path, 200)


def test_the_first_character_that_is_not_ascii_may_come_late(tmp_path):
    path = tmp_path / "late.txt"
    late = "他们说，这是我们的渡轮，从三号码头出发的时候不要来得太晚。\n\n" * 200
    path.write_bytes(b"plain words of a log\n\n" * 20_000 + late.encode("gb18030"))
    portions, documents = parts_of(path, 100_000)
    assert {portion.encoding for portion in portions} == {"gb18030"}
    assert documents[-1].text.endswith("不要来得太晚。")


def test_table_cells_with_line_breaks_are_never_cut(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Name,Note\n" + 'x,"a\n\nb ""c"" d"\n' * 200)
    assert len(check(path, 300, tmp_path / "library")) > 5


def test_a_table_is_not_cut_at_an_old_line_end_inside_a_line(tmp_path):
    path = tmp_path / "a.csv"
    row = "\r".join(f"thing {n},{n}" for n in range(5))
    path.write_bytes("".join(f"{line}\n" for line in ["Name,Price", *[row] * 60]).encode())
    portions = check(path, 100, tmp_path / "library")
    assert len(portions) > 5
    assert {(portion.line - 1) % 5 for portion in portions[1:]} == {0}


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".txt", "{0}\n\n"),
        (".md", "{0}\n\n"),
        (".csv", "{0},1\n"),
        (".jsonl", '{{"a": "{0}"}}\n'),
        (".py", "# {0}\n\n"),
    ],
)
def test_a_guessed_encoding_is_noted_once_by_the_whole_and_by_the_parts(tmp_path, suffix, form):
    path = tmp_path / f"a{suffix}"
    path.write_bytes("".join(form.format("To řekl číšník.") for _ in range(60)).encode("cp1250"))
    whole = read_document(path, ocr=False).receipt
    assert [note for note in whole.notes if "encoding is guessed" in note]
    portions, documents = parts_of(path, 300)
    assert len(portions) > 2
    gathering = Gathering(FoundFile(str(path), 1, "default", "0" * 64, suffix, 1, 1))
    for document in documents:
        gathering.add(document_plain(document), [])
    assert gathering.receipt["notes"] == list(whole.notes)
    path.write_bytes("".join(form.format("Příliš žluťoučký kůň.") for _ in range(60)).encode())
    assert not read_document(path, ocr=False).receipt.notes


def long_pdf(pages: int) -> bytes:
    def page(number: int) -> list[tuple[float, float, float, str]]:
        lines = [
            (72.0, 700.0 - 14 * n, 10.0, f"Line {n} of page {number} speaks of the harbour and of its boats.")
            for n in range(20)
        ]
        return [(72.0, 740.0, 20.0, f"Chapter {number}"), *lines] if number % 4 == 1 else lines

    return pdf([page(number) for number in range(1, pages + 1)])


def test_a_pdf_in_parts_has_the_pages_and_headings_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf_reader, "PAGES_TOGETHER", 3)
    path = tmp_path / "long.pdf"
    path.write_bytes(long_pdf(8))
    whole = read_document(path, ocr=False)
    portions, documents = parts_of(path, 1_000)
    assert [(portion.start, portion.end) for portion in portions] == [(0, 3), (3, 6), (6, 8)]
    text, blocks, anchors = stored(path, documents, tmp_path / "library")
    assert text == whole.text
    assert blocks == whole.blocks
    assert anchors == list(whole.anchors)
    assert {document.title for document in documents} == {whole.title} == {"Chapter 1"}
    assert [chunks_of(document)[0].heading for document in documents] == [
        ("Chapter 1",),
        ("Chapter 1",),
        ("Chapter 5",),
    ]


def test_a_large_pdf_of_few_pages_is_one_part_that_is_opened_by_its_path(tmp_path):
    path = tmp_path / "few.pdf"
    path.write_bytes(long_pdf(4))
    portions, documents = parts_of(path, 1_000)
    assert len(portions) == 1
    assert without_surrogates(read_document(path, ocr=False)).text == documents[0].text
