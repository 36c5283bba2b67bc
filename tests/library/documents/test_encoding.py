"""Encodings are found from the bytes, for short texts too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from document_samples import texts
from openbook.library.documents.encoding import decode, is_binary
from openbook.library.documents.model import Document

SIMPLIFIED = "员工每年享有十天带薪年假。第一条为了规范公司的休假制度，特制定本办法。"
TRADITIONAL = "員工每年享有十天帶薪年假。第一條為了規範公司的休假制度，特制定本辦法。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        ("年假五天", "gb18030"),
        (TRADITIONAL, "big5"),
        ("特別休假七天", "big5"),
        ("これは日本語のテキストです。", "shift_jis"),
        ("안녕하세요 세계 한국어 텍스트입니다", "euc_kr"),
        ("Café déjà vu, naïve façade – “quoted”", "cp1252"),
        (SIMPLIFIED, "utf-16"),
        (SIMPLIFIED, "utf-16-le"),
        ("Plain English without a mark.", "utf-16-be"),
        (SIMPLIFIED, "utf-8-sig"),
        (SIMPLIFIED, "utf-8"),
    ],
)
def test_text_survives_each_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_utf8_is_never_taken_for_something_else(text: str) -> None:
    assert decode(text.encode()).text == text.removeprefix("\ufeff")


def test_invalid_bytes_are_replaced_and_counted(read: Callable[[str, bytes], Document]) -> None:
    document = read("a.txt", (SIMPLIFIED * 3).encode() + b"\xff" + "结束".encode())
    assert texts(document)[0].endswith("\ufffd结束")
    assert document.receipt.encoding == "utf-8"
    assert any("not valid utf-8 at 1 place" in note for note in document.receipt.notes)


def test_binary_is_told_from_utf16() -> None:
    assert is_binary(bytes(range(256)) * 10)
    assert not is_binary("Hello, world. ".encode("utf-16-le") * 10)
    assert not is_binary((SIMPLIFIED * 5).encode("gb18030"))


def test_line_breaks_are_unified() -> None:
    assert decode(b"a\r\nb\rc\n").text == "a\nb\nc\n"


def test_a_real_shift_jis_table(data: Path) -> None:
    assert "佐藤太郎,30,東京" in decode((data / "markitdown_docs" / "test_mskanji.csv").read_bytes()).text
