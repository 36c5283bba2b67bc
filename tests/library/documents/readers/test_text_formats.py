"""Markdown, HTML, tables, JSON, books, notebooks, mail, feeds and code."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from document_samples import blocks, cells, texts, zipped
from openbook.library.documents.model import Document
from openbook.library.documents.read import read_document

Read = Callable[[str, bytes | str], Document]


def kinds(document: Document) -> list[str]:
    return [block.kind for block in document.blocks]


def test_markdown(read: Read) -> None:
    text = (
        "---\ntitle: Rules\n---\n# One #\n\nText with **bold** and a [link](http://x.y) to `a_b`.\nSame paragraph.\n"
        "- a\n- b\n  - c\n\nTwo\n---\n> quoted\n\n```python\nx = 1\n\ny = 2\n```\n\n"
        "| Item | Price |\n|---|:-:|\n| Tea \\| cup | 5 |\n\n<!-- no -->\n<details><summary>More</summary>\n<p>inside</p>\n"
        "</details>\n\n![a chart](x.png)\n\n    indented code\n"
    )
    document = read("a.md", text)
    assert texts(document) == [
        "One", "Text with bold and a link to `a_b`.\nSame paragraph.", "- a\n- b\n  - c", "Two", "quoted",
        "x = 1\n\ny = 2", "Item | Price\nTea | cup | 5", "More", "inside", "a chart", "    indented code",
    ]  # fmt: skip
    assert kinds(document)[:7] == ["heading", "paragraph", "list", "heading", "paragraph", "code", "table"]
    assert [b.level for b in blocks(document, "heading")] == [1, 2]
    assert document.title == "Rules"
    assert cells(document)["R2C1"] == "Tea | cup"


def test_hostile_markdown_takes_linear_time(read: Read) -> None:
    for piece in ("**a ", "[a](", "![a](", "<a ", "|-", "`"):
        read("a.md", piece * 20_000)


def test_html(read: Read) -> None:
    page = (
        "<html><head><title>T &amp; Co</title><style>p{}</style></head><body><nav>menu</nav><h2>Head<br>line</h2>"
        "<p>One\n two<br>three <img alt='logo'></p><ul><li>a<ol><li>x</li><li>y</li></ol></li><li>b</li></ul>"
        "<table><caption>Cap</caption><tr><th>K</th><th>V</th></tr><tr><td rowspan=2>r</td><td>1</td></tr><tr><td>2</td></tr>"
        "</table><pre>a\n  b</pre><div hidden>no</div><p style='display: none'>no</p><script>no()</script>"
        "<table><tr><td>layout <b>only</b></td></tr></table><footer>imprint</footer></body></html>"
    )
    document = read("a.html", page)
    assert texts(document) == [
        "Head line", "One two\nthree logo", "- a\n  1. x\n  2. y\n- b", "Cap", "K | V\nr | 1\nr | 2", "a\n  b", "layout only",
    ]  # fmt: skip
    assert document.title == "T & Co"
    assert any("menus" in note for note in document.receipt.notes)
    table = blocks(document, "table")[0]
    assert document.text[table.start : table.header_end] == "K | V"


def test_html_charset_and_depth(read: Read) -> None:
    assert "年假" in read("a.html", "<meta charset=gb2312><p>带薪年假</p>".encode("gb18030")).text
    assert read("a.html", "<div>" * 3000 + "deep").text == "deep"


def test_csv_dialects_headers_and_addresses(read: Read) -> None:
    document = read("a.csv", 'name;note\nAnn;"a;b\nc"\n\nBo;5\n')
    assert document.text == "name | note\nAnn | a;b c\nBo | 5"
    assert cells(document) == {"A1": "name", "B1": "note", "A2": "Ann", "B2": "a;b c", "A4": "Bo", "B4": "5"}
    assert document.blocks[0].header_end == len("name | note")
    assert read("a.tsv", "1\t2\n3\t4\n").blocks[0].header_end == 0


def test_json_and_json_lines(read: Read) -> None:
    value = {"name": "x", "size": {"w": 1, "h": [1, 2]}, "items": [{"a": None}, {"a": True}]}
    assert texts(read("a.json", json.dumps(value))) == [
        "name: x", "size.w: 1\nsize.h: 1, 2", "items", "a: null", "a: true",
    ]  # fmt: skip
    document = read("a.jsonl", '{"q": "one"}\nbroken\n{"q": "\\ud800"}\n')
    assert texts(document) == ["q: one", "q: \ufffd"]
    assert [a.part for a in document.anchors] == ["line 1", "line 3"]
    assert document.receipt.not_searchable == ("1 lines are no valid JSON: 2",)


def test_epub_chapters_are_pages(read: Read) -> None:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="O/p.opf"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<dc:title>Book</dc:title></metadata><manifest><item id="b" href="b.xhtml"/><item id="a" href="a%20a.xhtml"/>'
        '</manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    members = {
        "META-INF/container.xml": container,
        "O/p.opf": package,
        "O/a a.xhtml": "<h1>A</h1>",
        "O/b.xhtml": "<p>B</p>",
    }
    document = read("a.epub", zipped(members))
    assert [(b.page, t) for b, t in zip(document.blocks, texts(document), strict=True)] == [(1, "A"), (2, "B")]
    assert document.title == "Book"


def test_notebook(read: Read) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": ["2"], "image/png": "x"}}]},
    ]
    document = read("a.ipynb", json.dumps({"cells": cells, "metadata": {}}))
    assert texts(document) == ["Title", "text", "1 + 1", "2"]
    assert document.receipt.not_searchable == ("1 output pictures were not read",)


def test_mail_with_attachments(read: Read) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "年假 plan", "Ann <a@x.org>", "b@x.org"
    message.set_content("Dear Bo,\n\nsee below.")
    message.add_alternative("<p>html</p>", subtype="html")
    message.add_attachment("Item,Price\nTea,5\n", subtype="csv", filename="p.csv")
    message.add_attachment(b"PK\x03\x04", maintype="application", subtype="zip", filename="x.zip")
    inner = EmailMessage()
    inner["Subject"] = "Inner"
    inner.set_content("inner text")
    message.add_attachment(inner, filename="old.eml")
    document = read("a.eml", message.as_bytes())
    assert document.title == "年假 plan"
    assert texts(document)[:4] == ["年假 plan", "From: Ann <a@x.org>\nTo: b@x.org", "Dear Bo,", "see below."]
    assert "Item | Price\nTea | 5" in texts(document)
    assert "inner text" in texts(document)
    assert next(a.part for a in document.anchors if a.cell == "B2") == "attachment:p.csv"
    assert any("x.zip" in text and "unpack" in text for text in document.receipt.not_searchable)


def test_feed_and_other_xml(read: Read) -> None:
    item = "<item><title>A</title><description>&lt;p&gt;text&lt;/p&gt;</description></item>"
    feed = f"<rss><channel><title>News</title>{item}</channel></rss>"
    assert texts(read("a.rss", feed)) == ["News", "A", "text"]
    assert texts(read("a.xml", '<r><p id="7">Tea <b>5</b></p><q>x</q></r>')) == ["q: x", "p: Tea 5\nid: 7"]


def test_code_is_cut_at_definitions(read: Read) -> None:
    body = "    x = 1\n" * 60
    document = read("a.py", f"import os\n\n\ndef a():\n{body}\n\n# about b\n@dec\ndef b():\n{body}")
    assert [text.split("\n")[0] for text in texts(document)] == ["import os", "def a():", "# about b"]
    assert set(kinds(document)) == {"code"}
    assert document.metadata["language"] == "py"


def test_real_outlook_message(data: Path) -> None:
    document = read_document(data / "markitdown_docs" / "test_outlook_msg.msg")
    assert document.title == "Test Email Message"
    assert "M. C. Kurtuluş" in document.text
    assert "This is the body of the test email message" in document.text
