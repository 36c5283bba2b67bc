"""What of a web page is not its text; and that what only looks like it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.library.documents.model import Document
from openbook.library.documents.read import read_document


def page(folder: Path, body: str, encoding: str = "utf-8") -> Document:
    path = folder / "page.html"
    path.write_bytes(
        f"<html><head><title>T</title></head><body>{body}<p>The real text.</p></body></html>".encode(encoding)
    )
    return read_document(path)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('<a href="#main">Skip to main content</a>', "skip link"),
        ('<a href="#x">跳到内容</a>', "skip link"),
        ('<div id="cookie-banner"><p>We use cookies.</p><button>OK</button></div>', "cookie banner"),
        ('<section class="c onetrust-box"><p>We value your privacy.</p></section>', "cookie banner"),
        ('<div class="share-buttons"><a href="/x">Tweet</a> <a href="/y">Mail</a></div>', "share bar"),
        ('<div role="navigation"><a href="/">Home</a></div>', "menus"),
    ],
)
def test_boilerplate_is_left_out_and_counted(tmp_path: Path, body: str, note: str) -> None:
    document = page(tmp_path, body)
    assert document.text.strip() == "The real text."
    assert any(note in line for line in document.receipt.notes)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('<a href="#more">Skip to the part on skiing</a>', "skiing"),
        ('<div class="cookie-recipe"><p>Bake the cookies.</p></div>', "Bake the cookies."),
        ('<div id="cookie-notice"><h1>Our policy</h1><p>On cookies.</p></div>', "On cookies."),
        ('<div class="share-bar"><p>Each share of the company costs 12 euros this year.</p></div>', "12 euros"),
        ('<div class="social-media"><p>How we use social media at work.</p><a href="/a">more</a></div>', "at work"),
        ('<aside><ul><li><a href="/a">Intel</a></li><li><a href="/b">Nokia</a></li></ul></aside>', "Nokia"),
        ("<header><h1>The title</h1><p>A lead.</p></header>", "A lead."),
    ],
)
def test_what_only_looks_like_boilerplate_stays(tmp_path: Path, body: str, kept: str) -> None:
    assert kept in page(tmp_path, body).text


def test_a_picture_alone_is_a_figure_and_decoration_is_none(tmp_path: Path) -> None:
    body = '<p><img alt="A pump"></p><p>See <img alt="icon"> here.</p><img alt="IMG_1.jpg"><img role="none" alt="line">'
    document = page(tmp_path, body)
    blocks = [(block.kind, document.text[block.start : block.end]) for block in document.blocks]
    assert blocks == [("figure", "A pump"), ("paragraph", "See icon here."), ("paragraph", "The real text.")]


def test_an_uncertain_encoding_is_noted(tmp_path: Path) -> None:
    document = page(tmp_path, "<p>To řekl číšník.</p>", "cp1250")
    assert any("encoding is guessed" in note for note in document.receipt.notes)
    assert not any("guessed" in note for note in page(tmp_path, "<p>Příliš žluťoučký kůň</p>").receipt.notes)
