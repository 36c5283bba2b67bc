"""The discourse splitter on labelled pairs of neighbouring paragraphs, and on documents made for one relation each."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from library.split.documents import plain
from openbook.library.documents.model import Block, Document
from openbook.library.split.discourse import LINKED
from openbook.library.split.relation import Paragraph, strength
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens

PAIRS = Path(__file__).parent / "data"


def pairs(language: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PAIRS / f"{language}.jsonl").read_text("utf-8").splitlines()]


def merged(pair: dict[str, Any]) -> bool:
    """The splitter's decision: a heading between two paragraphs is a boundary, otherwise their link decides."""
    if pair["heading_left"] != pair["heading_right"]:
        return False
    left = Paragraph(pair["left"], pair["kind_left"], (pair["heading_left"],))
    return strength(left, Paragraph(pair["right"], pair["kind_right"], (pair["heading_right"],))) >= LINKED


def f1(decided: list[bool], true: list[bool]) -> float:
    return 2 * sum(map(bool.__and__, decided, true)) / (sum(decided) + sum(true))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pairs_are_150_and_about_half_of_each_kind(language: str) -> None:
    found = pairs(language)
    assert len(found) == 150
    assert 70 <= sum(pair["merge"] for pair in found) <= 80
    assert len({(pair["left"], pair["right"]) for pair in found}) == 150


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("part", ["all", "held out"])
def test_boundaries_are_decided_better_than_by_the_simple_rules(language: str, part: str) -> None:
    found = pairs(language) if part == "all" else pairs(language)[1::2]
    true = [pair["merge"] for pair in found]
    decided = [merged(pair) for pair in found]
    same_heading = [pair["heading_left"] == pair["heading_right"] for pair in found]
    assert f1(decided, true) >= 0.75
    assert f1([not one for one in decided], [not one for one in true]) >= 0.75
    assert f1(decided, true) > f1([True] * len(true), true) + 0.08
    assert f1(decided, true) > f1(same_heading, true) + 0.08


def texts_of(document: Document, tokens: int = 192) -> list[str]:
    settings = SplitSettings(splitter="discourse", chunk_tokens=tokens)
    return [document.text[c.start : c.end] for c in split(document, settings, ApproximateTokens())]


@pytest.mark.parametrize(
    "left, right",
    [
        ("Each ferry carries two packs.", "However, one is enough in summer."),
        ("Cells age when they are full.", "Therefore the charger stops at eighty per cent."),
        ("The oldest map was drawn in 1421.", "It shows eleven towers."),
        ("Why does a ship of steel float?", "The hull pushes aside as much water as the ship weighs."),
        ("每艘渡轮装有两组电池。", "但是，夏季一组即可。"),
        ("电芯长期满电会老化。", "因此，充电器充到百分之八十即停。"),
        ("港口最早的地图绘于一四二一年。", "该图画有十一座塔。"),
        ("第十条 捐赠人可以订立协议。", "前款规定的协议应当采用书面形式。"),
    ],
)
def test_a_satellite_stays_with_its_nucleus(left: str, right: str) -> None:
    assert len(texts_of(plain(f"{left}\n\n{right}"))) == 1


@pytest.mark.parametrize(
    "left, right",
    [
        ("The annual meeting is held in May.", "Slugs are best collected in the evening."),
        ("股东大会于五月召开。", "蛞蝓最好在傍晚捕捉。"),
        ("第十条 捐赠人可以订立协议。", "第十一条 受赠人应当出具收据。"),
    ],
)
def test_a_new_topic_begins_a_new_chunk(left: str, right: str) -> None:
    assert texts_of(plain(f"{left}\n\n{right}")) == [left, right]


def test_a_list_stays_with_its_introduction() -> None:
    introduction, items = "Before you install, check the following:", "- python 3.11\n- 400 MB of disk"
    assert (
        texts_of(plain(f"{introduction}\n\n{items}\n\nThe canteen opens at noon."))[0] == f"{introduction}\n\n{items}"
    )


def test_a_heading_is_a_boundary_even_before_a_connective() -> None:
    found = texts_of(plain("# Holidays\n\nParents choose first.\n\n# Illness\n\nHowever, call before nine."))
    assert found == ["# Holidays\n\nParents choose first.", "# Illness\n\nHowever, call before nine."]


def test_what_is_too_long_is_cut_at_its_weakest_link() -> None:
    """A chunk has room for three of the four paragraphs; the third begins a topic of its own within the run."""
    paragraphs = [
        "The battery of the ferry is charged at the pier every noon.",
        "However, the battery of the ferry is charged slowly at the pier in winter.",
        "The ferry at the pier has a battery; the crew of the ferry sleeps.",
        "Therefore the crew of the ferry is relieved at the pier.",
    ]
    links = [strength(Paragraph(a, "paragraph"), Paragraph(b, "paragraph")) for a, b in pairwise(paragraphs)]
    assert min(links) >= LINKED and min(links) == links[1]
    assert texts_of(plain("\n\n".join(paragraphs)), tokens=48) == [
        "\n\n".join(paragraphs[:2]),
        "\n\n".join(paragraphs[2:]),
    ]


def test_a_long_paragraph_is_cut_where_its_sentences_are_linked_most_weakly() -> None:
    first = "The battery is charged at the pier. " * 3
    second = (
        "Slugs eat lettuce in the evening. They also eat lettuce leaves at night. These leaves of lettuce are lost."
    )
    text = first + second
    document = Document(text=text, blocks=(Block("paragraph", 0, len(text)),))
    assert texts_of(document, tokens=36)[-1] == second
