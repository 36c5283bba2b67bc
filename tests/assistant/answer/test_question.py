"""What a question asks for, in both languages."""

from __future__ import annotations

import numpy as np
import pytest

from openbook.assistant.answer.question import Question, analyse, answer_kind, grams, pieces, shows_kind
from openbook.library.lexical.bm25 import Bm25Index
from openbook.library.lexical.counts import count_terms

TEXTS = ("The ferry leaves at 08:15.", "The ferry costs 12 euros.", "The hall is blue.", "渡轮早上八点出发。")


@pytest.fixture(scope="module")
def lexical() -> Bm25Index:
    index = Bm25Index()
    index.upsert((place, count_terms(text).to_blob()) for place, text in enumerate(TEXTS, 1))
    return index


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How many days are there?", "number"),
        ("When does it leave?", "when"),
        ("In which city is it?", "where"),
        ("Who keeps the key?", "who"),
        ("Why is it blue?", "why"),
        ("How is it painted?", "how"),
        ("What is a ferry?", "other"),
        ("有多少天？", "number"),
        ("什麼時候出發？", "when"),
        ("公司位于哪里？", "where"),
        ("谁保管钥匙？", "who"),
        ("為什麼是藍色的？", "why"),
    ],
)
def test_the_question_word_tells_the_kind_of_answer(text, kind):
    assert answer_kind(text) == kind


def test_shares_add_up_and_rare_terms_weigh_more(lexical):
    question = analyse("Which ferry is blue?", lexical)
    shares = dict(zip(question.terms, question.shares, strict=True))
    assert question.shares.sum() == pytest.approx(1)
    assert shares["blue"] > shares["ferri"]
    assert question.coverage({"blue", "ferri"}) == pytest.approx(1)
    assert question.rare_coverage({"ferri"}) < question.coverage({"ferri"})


def test_terms_that_the_library_lacks_are_known_as_such(lexical):
    question = analyse("Is the ferry green?", lexical)
    assert dict(zip(question.terms, question.known.tolist(), strict=True)) == {"ferri": True, "green": False}


def test_names_numbers_and_quotations_are_names(lexical):
    question = analyse("Does the Blue Star cost 12 for “night riders”?", lexical)
    named = {term for term, is_name in zip(question.terms, question.is_name, strict=True) if is_name}
    assert named == {"blue", "star", "12", "night", "rider"}


def test_what_stands_beside_the_question_word(lexical):
    question = analyse("渡轮什么时候出发？", lexical)
    assert question.left == {"渡轮"}
    assert question.right == {"出发"}
    assert question.order == tuple("渡轮出发")


def test_the_kind_must_be_shown_by_something_that_the_question_does_not_say(lexical):
    question = analyse("How many euros are 12 dollars?", lexical)
    assert shows_kind(question, "That is 12.") is False
    assert shows_kind(question, "That is 11.") is True
    assert shows_kind(analyse("What is a ferry?", lexical), "anything") is None


def test_a_question_of_stop_words_alone_still_has_terms(lexical):
    question = analyse("what is it", lexical)
    assert isinstance(question, Question)
    assert question.terms
    assert np.isfinite(question.shares).all()


def test_grams_are_pairs_for_chinese_and_words_for_others():
    assert grams(pieces("渡轮票", "zh"), "zh") == {"渡轮", "轮票"}
    assert grams(pieces("the blue ferries", "en"), "en") == {"blue", "ferri"}
