"""ROUGE-L 64 words at a time is ROUGE-L by the table."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.generate.rouge import KeptTexts, rouge_l

WORD = st.sampled_from("the a cat dog sat on mat 猫 狗 in house red".split())
TEXT = st.lists(WORD, max_size=150).map(" ".join)


@given(kept=st.lists(TEXT, max_size=6), text=TEXT)
def test_the_kernel_is_the_table(kept: list[str], text: str) -> None:
    found = KeptTexts(kept).most_alike(text)
    scores = [rouge_l(one, text) for one in kept]
    best = max(scores, default=0.0)
    assert found.score == pytest.approx(best)
    assert found.place == (scores.index(best) if best else -1)


@given(kept=st.lists(TEXT, min_size=2, max_size=6), text=TEXT, count=st.integers(0, 6))
def test_what_was_taken_back_counts_no_more(kept: list[str], text: str, count: int) -> None:
    texts = KeptTexts(kept)
    texts.truncate(min(count, len(kept)))
    assert texts.most_alike(text) == KeptTexts(kept[:count]).most_alike(text)
    texts.add(text)
    if text:
        assert texts.most_alike(text).score == 1.0


def test_values_by_hand() -> None:
    assert rouge_l("the cat sat", "the cat lay down") == pytest.approx(2 * 2 / 7)
    assert rouge_l("猫在垫子上", "狗在垫子上") == pytest.approx(0.8), "Chinese by characters"
    assert rouge_l("The CAT!", "the cat") == 1.0
    assert rouge_l("", "the cat") == rouge_l("?!", "the cat") == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_what_is_longer_than_a_machine_word_carries_over(seed: int) -> None:
    draw = Random(seed)
    first, second = (" ".join(draw.choices("abcdefgh", k=draw.randint(65, 200))) for _ in range(2))
    assert KeptTexts([first]).most_alike(second).score == pytest.approx(rouge_l(first, second))


def test_a_subsequence_of_two_hundred_words() -> None:
    text = " ".join(f"w{at}" for at in range(200))
    other = " ".join(f"w{at}" for at in range(0, 200, 2))
    assert KeptTexts([other]).most_alike(text).score == pytest.approx(2 * 100 / 300)
