"""Queries as typed: what limits, what is text, and never a syntax error."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical.query import parse_query, to_fts5
from openbook.library.lexical.tokenize import sequence


def matches(expression: str, text: str) -> bool:
    connection = apsw.Connection(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE phrases USING fts5(tokens, content='', contentless_delete=1, "
        "tokenize='unicode61 remove_diacritics 0')"
    )
    connection.execute("INSERT INTO phrases(rowid, tokens) VALUES (1, ?)", (" ".join(sequence(text)),))
    return connection.execute("SELECT rowid FROM phrases WHERE phrases MATCH ?", (expression,)).fetchone() is not None


def test_phrase_prefix_and_exclusion_are_taken_apart() -> None:
    query = parse_query('notice "annual leave" contract* -sick -"long weekend"')
    assert query.text == "notice annual leave contract"
    assert query.required() == ['"annual leave"', '"contract" *']
    assert query.excluded() == ['"sick"', '"long weekend"']


@pytest.mark.parametrize(
    "typed",
    [
        "a AND b OR NOT c",
        'NEAR("x" y',
        "title:secret",
        "(((",
        "^start",
        "-5 degrees",
        "a - b",
        "well-known",
        "*",
        "'; DROP",
    ],
)
def test_operators_and_lone_marks_are_text(typed: str) -> None:
    query = parse_query(typed)
    assert not query.prefixes
    assert not query.excluded_phrases


def test_only_exclusions_are_plain_text() -> None:
    assert parse_query("-secret").text == "-secret"
    assert parse_query("-secret").excluded() == []


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("annual leave", "Annual-leave: 15 days", True),
        ("annual leave", "leave annual", False),
        ("带薪年假", "員工享有帶薪年假十五天", True),
        ("年假", "年 底 假", False),
        ("v2.1", "since v2.1 only", True),
        ("Café", "the cafe", True),
    ],
)
def test_a_phrase_is_a_run_of_neighbours(phrase: str, text: str, found: bool) -> None:
    assert matches(to_fts5(phrase), text) is found


def test_a_prefix_completes_the_last_word() -> None:
    assert matches(to_fts5("contr", is_prefix=True), "the contract")
    assert matches(to_fts5("the contr", is_prefix=True), "the contract")
    assert not matches(to_fts5("contr", is_prefix=True), "subcontract")


@given(st.text() | st.text('"*-() ^:aб年\0{}+'))
def test_no_query_is_a_syntax_error(typed: str) -> None:
    query = parse_query(typed)
    for expression in (*query.required(), *query.excluded(), to_fts5(typed), to_fts5(typed, is_prefix=True)):
        if expression:
            matches(expression, "some text")


@given(st.text(), st.text(), st.text())
def test_any_piece_between_breaks_is_found_as_a_phrase(before: str, piece: str, after: str) -> None:
    expression = to_fts5(piece)
    if expression:
        assert matches(expression, f"{before}\n{piece}\n{after}")
