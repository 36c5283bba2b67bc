"""The stemmer against pairs from the published vocabulary of Porter2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical.stem import stem_english

PUBLISHED = {
    "consign": "consign", "consigned": "consign", "consigning": "consign", "consignment": "consign",
    "consist": "consist", "consistency": "consist", "consistent": "consist", "consistently": "consist",
    "consolation": "consol", "consolations": "consol", "console": "consol", "consoling": "consol",
    "consolingly": "consol", "conspicuous": "conspicu", "conspiracy": "conspiraci", "constancy": "constanc",
    "knack": "knack", "knackeries": "knackeri", "knave": "knave", "knaveries": "knaveri", "knavish": "knavish",
    "kneaded": "knead", "knightly": "knight", "knits": "knit", "knocked": "knock", "knotty": "knotti",
    "generate": "generat", "generously": "generous", "communism": "communism", "hopping": "hop", "hoping": "hope",
    "luxuriating": "luxuri", "relational": "relat", "ties": "tie", "cries": "cri", "skies": "sky", "by": "by",
    "say": "say", "enjoyment": "enjoy", "proceed": "proceed", "succeeds": "succeed", "dying": "die", "news": "news",
}  # fmt: skip


@pytest.mark.parametrize(("word", "stem"), PUBLISHED.items())
def test_stem_is_the_published_one(word: str, stem: str) -> None:
    assert stem_english(word) == stem


@given(st.text("abcdefghijklmnopqrstuvwxyz", max_size=20))
def test_any_word_has_a_stem_that_is_not_longer_by_more_than_an_e(word: str) -> None:
    stem = stem_english(word)
    assert len(stem) <= len(word) + 1
    assert not word or stem
