"""Rows that are the same are found, also nearly the same, and no others."""

from __future__ import annotations

import random
from pathlib import Path

from openbook.training.data.duplicates import duplicates
from openbook.training.data.overview import all_rows
from openbook.training.data.reading import Placed, data_files
from openbook.training.data.row import Completion, Question, Text
from openbook.training.data.tokenised import ReadSettings

WORDS = [f"word{at}" for at in range(400)]


def essay(seed: int, length: int = 120) -> list[str]:
    return random.Random(seed).choices(WORDS, k=length)


def test_exact_and_near_ones() -> None:
    first, changed = essay(1), essay(1)
    changed[60] = "other"
    rows = [
        Placed("a:1", Text(" ".join(first))),
        Placed("a:2", Text(" ".join(essay(2)))),
        Placed("a:3", Text("  ".join(first).upper() + ".")),
        Placed("a:4", Text(" ".join(changed))),
        Placed("a:5", Completion(" ".join(first[:50]), " " + " ".join(first[50:]))),
        Placed("a:6", Text("short")),
        Placed("a:7", Text("")),
    ]
    found = duplicates(rows)
    assert (found.exact, found.near) == (2, 1)
    assert found.pairs == [("a:1", "a:3"), ("a:1", "a:4"), ("a:1", "a:5")]


def test_near_ones_are_found_whatever_was_changed() -> None:
    """Two words in a row of 120 changed are a resemblance of .9: one in a hundred million is missed."""
    missed = 0
    for seed in range(60):
        text, changed = essay(seed), essay(seed)
        changed[seed], changed[seed + 1] = "other", "words"
        missed += 1 - duplicates([Placed("a", Text(" ".join(text))), Placed("b", Text(" ".join(changed)))]).near
    assert not missed


def test_texts_that_share_much_are_no_duplicates() -> None:
    """Four words of five in common, in a row, are a resemblance of .65."""
    shared = essay(1, 95)
    assert duplicates([Placed(str(at), Text(" ".join(shared + essay(at + 5, 25)))) for at in range(9)]).near == 0


def test_texts_of_one_topic_are_no_duplicates() -> None:
    half = essay(1, 60)
    assert duplicates([Placed(str(at), Text(" ".join(half + essay(at + 5, 60)))) for at in range(20)]).near == 0


def test_chinese_without_spaces() -> None:
    text = "渡轮上午八点十五分离港，中午返回，下午再次出发，晚上停在岛上的小港口里，船员们在那里吃晚饭，"
    text += "第二天清晨又出发，沿着海岸航行到北边的城市，"
    text += "乘客在那里换乘火车去山里。"
    found = duplicates(
        [Placed("a", Text(text)), Placed("b", Text(text.replace("清晨", "早晨"))), Placed("c", Text("另一篇文章"))]
    )
    assert (found.exact, found.near) == (0, 1)


def test_questions_about_one_passage_are_no_duplicates() -> None:
    passage = " ".join(essay(1))
    rows = [
        Placed(str(at), Question(str(at), "T", passage, f"what is said of {word}?", ()))
        for at, word in enumerate("abc")
    ]
    found = duplicates([*rows, Placed("4", rows[0].row)])
    assert (found.exact, found.near) == (1, 0)


def test_real_data(data: Path) -> None:
    found = duplicates(
        all_rows(data_files([data / "llamafactory_demos" / "glaive_toolcall_en_demo.json.gz"]), ReadSettings())
    )
    assert found.exact == 38
