"""Units of real documents: slices of the text, bounded, rows apart, nothing but white space lost between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HashEmbedder
from openbook.assistant.answer.candidates import MOST_CHARACTERS, MOST_WORDS, bounded, units_of
from openbook.assistant.desk import Library

DOCUMENT = """# Ferry

The ferry leaves at 08:15. It returns at noon.

- bring a coat
- bring 12 euros

## Prices

All are in euros.

| Ticket | Price |
| --- | --- |
| child | 4 |
| adult | 12 |

Dogs travel free.
"""


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "ferry.md").write_text(DOCUMENT)
    with Library.open(tmp_path / "library", embedder=HashEmbedder()) as opened:
        opened.add(tmp_path / "docs")
        yield opened


def test_units_are_sentences_items_and_rows(library):
    hits = library.search("ferry ticket price", 3)
    with library.store.catalogue.read() as connection:
        units = units_of(connection, hits)
    text = library.text("ferry.md")
    assert all(text[unit.start : unit.end] == unit.text for unit in units)
    said = [unit.text for unit in units]
    assert "It returns at noon." in said
    assert any("bring 12 euros" in one and "coat" not in one for one in said)
    rows = [unit for unit in units if unit.is_row]
    assert ["child" in row.text for row in rows] == [True, False]
    assert all("Ticket" in row.context and "Ticket" not in row.text for row in rows)
    assert not any("# Prices" in one for one in said)


def test_headings_and_tables_part_the_groups(library):
    hits = library.search("ferry ticket price", 3)
    with library.store.catalogue.read() as connection:
        units = units_of(connection, hits)
    group = {unit.text: (unit.hit, unit.group) for unit in units}
    assert group["The ferry leaves at 08:15."] == group["It returns at noon."]
    assert len({group[text] for text in ("It returns at noon.", "All are in euros.", "Dogs travel free.")}) == 3
    assert all(group[row.text] != group["Dogs travel free."] for row in units if row.is_row)


words = st.lists(st.sampled_from(["ab", "a,", "汉字", "汉，", "汉字" * 30]), min_size=90, max_size=260)


@given(words, st.sampled_from(["", " "]), st.integers(0, 20))
def test_bounded_parts_lose_no_sign_and_are_never_too_long(found, joint, start):
    text = joint.join(found)
    parts = list(bounded(text, start, len(text)))
    assert "".join("".join(text[a:b].split()) for a, b in parts) == "".join(text[start:].split())
    for a, b in parts:
        assert len(text[a:b].split()) <= MOST_WORDS
        assert sum("\u4e00" <= sign <= "\u9fff" for sign in text[a:b]) <= MOST_CHARACTERS
    assert all(one[1] <= two[0] for one, two in pairwise(parts))


def test_a_sentence_of_the_greatest_length_stays_whole():
    text = " ".join(["word"] * MOST_WORDS)
    assert list(bounded(text, 0, len(text))) == [(0, len(text))]
    assert len(list(bounded(text + " more", 0, len(text) + 5))) == 2


def test_an_article_with_its_items_is_a_group_of_its_own(tmp_path):
    (tmp_path / "law.md").write_text(
        "第四十七条 经济补偿按年限支付。\n\n（一）满一年支付一个月工资。\n\n第四十八条 渡轮另有规定。\n\n"
        "Article 5 Dogs travel free.\n\nThis rule 5 is old. Section 7 of it was struck."
    )
    with Library.open(tmp_path / "library", embedder=HashEmbedder()) as opened:
        opened.add(tmp_path / "law.md")
        hits = opened.search("经济补偿", 1)
        with opened.store.catalogue.read() as connection:
            units = units_of(connection, hits)
    groups = {unit.text[:8]: unit.group for unit in units}
    assert groups["第四十七条 经济"] == groups["（一）满一年支付"] != groups["第四十八条 渡轮"]
    assert groups["Article "] == groups["This rul"] == groups["Section "] != groups["第四十八条 渡轮"]
