"""Mining: what is taken, what is left out and counted, and the same again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles import HashEmbedder
from openbook.assistant.desk import Library
from openbook.core.errors import BadData, UsageError
from openbook.improve.mine import ANSWER, NEAR, SAME, MinedQuery, MineSettings, read_queries, write_mined
from openbook.improve.mine_squad import build_library, read_squad, thinned, without_last
from openbook.training.data.groups import Group, read_groups

PASSAGES = [
    "The river Aare flows through Bern and joins the Rhine near Koblenz.",
    "The river Rhine flows through Basel and reaches the sea at Rotterdam.",
    "The river Reuss flows through Lucerne and joins the Aare near Windisch.",
    "The city of Basel lies where three countries meet at the river Rhine.",
    "Bread is made of flour, water, salt and patience.",
    "The river Limmat flows through Zurich.",
]
QUERY = MinedQuery("which river flows through Bern?", PASSAGES[0], ("Aare",), "Rivers")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(PASSAGES)), "utf-8")
    with Library.open(tmp_path / "library", embedder=HashEmbedder()) as one:
        one.add(path, records=True)
        yield one


def mined(library: Library, out: Path, *queries: MinedQuery, **settings: Any) -> tuple[list[Group], dict[str, Any]]:
    report = write_mined(library, queries or [QUERY], out, MineSettings(**settings))
    rows = read_groups([out]).rows if out.read_bytes() else []
    return rows, report.to_json()


def test_negatives_look_alike_and_hold_no_answer(library: Library, tmp_path: Path) -> None:
    (row,), report = mined(library, tmp_path / "out.jsonl", per_query=2)
    assert (row.query, row.positive, row.title) == (QUERY.query, QUERY.positive, "Rivers")
    assert len(row.negatives) == 2
    assert set(row.negatives) <= {PASSAGES[1], PASSAGES[5]}  # the Reuss joins the Aare: it holds the answer
    assert report["left_out"][SAME] == 1
    assert report["left_out"][ANSWER] == 1
    assert report["positive_not_found"] == 0


def test_without_answers_only_the_passage_itself_is_left_out(library: Library, tmp_path: Path) -> None:
    (row,), report = mined(library, tmp_path / "out.jsonl", QUERY._replace(answers=()), per_query=9)
    assert PASSAGES[2] in row.negatives
    assert PASSAGES[0] not in row.negatives
    assert set(report["left_out"]) == {SAME}


@pytest.mark.parametrize(
    "positive", [PASSAGES[0].upper(), f"  {PASSAGES[0]}\n", PASSAGES[0][:40], f"See: {PASSAGES[0]} So."]
)
def test_the_positive_is_known_in_other_clothes(library: Library, tmp_path: Path, positive: str) -> None:
    _, report = mined(library, tmp_path / "out.jsonl", QUERY._replace(positive=positive, answers=()))
    assert report["left_out"][SAME] == 1


def test_an_answer_is_a_word_not_a_part_of_one(library: Library, tmp_path: Path) -> None:
    rows, report = mined(library, tmp_path / "out.jsonl", QUERY._replace(answers=("a",)), per_query=9)
    assert ANSWER not in report["left_out"]
    assert len(rows) == 1
    _, report = mined(library, tmp_path / "out.jsonl", QUERY._replace(answers=("RIVER  limmat",)), per_query=9)
    assert report["left_out"][ANSWER] == 1


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_each_mode_finds_some(library: Library, tmp_path: Path, mode: str) -> None:
    rows, _ = mined(library, tmp_path / "out.jsonl", modes=(mode,))
    assert rows[0].negatives


def test_modes_take_turns_and_repeat_nothing(library: Library, tmp_path: Path) -> None:
    query = QUERY._replace(answers=())
    alone = [mined(library, tmp_path / "out.jsonl", query, modes=(mode,))[0][0].negatives for mode in ("bm25", "dense")]
    (row,), _ = mined(library, tmp_path / "out.jsonl", query, modes=("bm25", "dense"), per_query=9)
    assert row.negatives[0] == alone[0][0]
    assert len(set(row.negatives)) == len(row.negatives)
    assert set(row.negatives) == set(alone[0]) | set(alone[1])


def test_the_first_hits_can_be_skipped(library: Library, tmp_path: Path) -> None:
    query = QUERY._replace(answers=())
    (whole,), _ = mined(library, tmp_path / "out.jsonl", query, per_query=9)
    (rest,), _ = mined(library, tmp_path / "out.jsonl", query, per_query=9, skip_top=2)
    hits = [one.text for one in library.search(query.query, 50)]
    assert list(rest.negatives) == [one for one in whole.negatives if one in hits[2:]]


def test_a_margin_leaves_out_what_is_too_near(library: Library, tmp_path: Path) -> None:
    query = QUERY._replace(answers=())
    (whole,), _ = mined(library, tmp_path / "out.jsonl", query, per_query=9)
    own = next(hit.score for hit in library.search(query.query, 50) if hit.text == QUERY.positive)
    rows, report = mined(library, tmp_path / "out.jsonl", query, per_query=9, margin=1.0)
    far = [hit.text for hit in library.search(query.query, 50) if hit.score <= own - 1.0]
    assert [list(row.negatives) for row in rows] == ([far] if far else [])
    assert report["left_out"][NEAR] == len(whole.negatives) - len(far) > 0


def test_a_positive_that_is_not_found_is_counted(library: Library, tmp_path: Path) -> None:
    _, report = mined(library, tmp_path / "out.jsonl", QUERY._replace(positive="Nobody knows.", answers=()), margin=1.0)
    assert report["positive_not_found"] == 1
    assert report["left_out"] == {}


def test_marks_of_a_search_box_are_words_in_a_question(library: Library, tmp_path: Path) -> None:
    (row,), _ = mined(library, tmp_path / "out.jsonl", QUERY._replace(query='which "river Aare" -flows through Bern*?'))
    assert row.negatives


def test_queries_without_negatives_are_counted_not_written(library: Library, tmp_path: Path) -> None:
    rows, report = mined(library, tmp_path / "out.jsonl", QUERY._replace(answers=("the", "flour")))
    assert rows == []
    assert (report["queries"], report["without_negatives"], report["negatives"]) == (1, 1, 0)


def test_it_is_the_same_again(library: Library, tmp_path: Path) -> None:
    for name in ("a", "b"):
        mined(
            library, tmp_path / name, QUERY, QUERY._replace(query="where does the Rhine end?"), modes=("dense", "bm25")
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"per_query": 0}, "per-query"),
        ({"skip_top": 50}, "depth"),
        ({"depth": 2_000}, "depth"),
        ({"modes": ("x",)}, "hybrid"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        MineSettings(**settings)


@pytest.mark.parametrize("line", ["{", "[]", '{"query": "a"}', '{"query": " ", "positive": "b"}',
                                  '{"query": "a", "positive": "b", "answers": [1]}'])  # fmt: skip
def test_a_line_that_is_no_query_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "a", "positive": "b", "answer": "c"}\n' + line + "\n", "utf-8")
    with pytest.raises(UsageError, match="line 2"):
        read_queries(path)
    path.write_text('{"query": "a", "positive": "b", "answer": "c"}\n\n', "utf-8")
    assert read_queries(path) == [MinedQuery("a", "b", ("c",))]
    path.write_text("\n", "utf-8")
    with pytest.raises(BadData, match="no query"):
        read_queries(path)


def squad(path: Path) -> Path:
    articles = [
        {"title": title, "paragraphs": [{"context": text, "qas": [
            {"question": f"what of {title} {n}?", "answers": [{"text": text.split()[2]}] if n else []} for n in range(3)
        ]}]}
        for title, text in zip("ABCDEF", PASSAGES, strict=True)
    ]  # fmt: skip
    path.write_text(json.dumps({"data": articles}), "utf-8")
    return path


def test_squad_becomes_passages_and_queries(tmp_path: Path) -> None:
    found = read_squad(squad(tmp_path / "squad.json"))
    assert found.passages == PASSAGES
    assert found.unanswerable == 6
    assert found.queries[0] == MinedQuery("what of A 1?", PASSAGES[0], ("Aare",), "A")
    assert [one.title for one in without_last(found.queries, 4)] == ["A", "A", "B", "B"]
    assert without_last(found.queries, 0) == found.queries
    chosen = thinned(found.queries, 5)
    assert len(chosen) == 5
    assert chosen == [one for one in found.queries if one in chosen]
    assert thinned(found.queries, None) == found.queries


def test_its_library_is_made_once_and_made_whole(tmp_path: Path) -> None:
    for _ in range(2):
        with build_library(PASSAGES, tmp_path / "squad") as one:
            assert sorted(one.text(f"d{row.id}") for row in one.documents()) == sorted(PASSAGES)
    with pytest.raises(UsageError, match="another library"):
        build_library(PASSAGES[:2], tmp_path / "squad")


@pytest.mark.parametrize("content", ["{", '{"data": 3}', '{"data": [{"paragraphs": [{"context": "a"}]}]}', "[]"])
def test_a_file_that_is_not_as_squad_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(content, "utf-8")
    with pytest.raises(BadData, match=r"squad\.json"):
        read_squad(path)
