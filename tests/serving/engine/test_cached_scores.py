"""Scores of growing texts are those of whole ones, whatever was read before and however little memory there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.serving.engine.cached_scores import Asked, CachedScores
from serving.engine.guided import logits_of, scorer


def plain(asked: Asked) -> list[float]:
    return [float(logits_of(scorer().model, asked.tokens + end)[0]) for end in asked.ends]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    steps=st.integers(1, 5),
    spare=st.integers(0, 20),
    alike=st.booleans(),
)
def test_scores_are_those_of_whole_texts(lengths: list[int], steps: int, spare: int, alike: bool) -> None:
    """Texts that take turns, grow by one of their ends, and push each other out."""
    cached = CachedScores(scorer().model, 4 + 2 * 3 + spare)
    texts = [[(7 if alike else key) + at for at in range(length)] for key, length in enumerate(lengths)]
    for step in range(steps):
        turn = [key for key in range(len(texts)) if (key + step) % 3]
        asked = [Asked(key, list(texts[key]), [[token, 1, 2] for token in (5, 6, 9)]) for key in turn]
        for one, scores in zip(asked, cached.score(asked), strict=True):
            assert scores == pytest.approx(plain(one), abs=1e-4)
            texts[one.key].append((5, 6, 9, 50)[step % 4])  # type: ignore[call-overload]
    for key in range(len(texts)):
        cached.forget(key)
    assert cached.blocks.num_in_use == 0


def test_a_text_that_is_not_asked_about_gives_its_blocks_up() -> None:
    cached = CachedScores(scorer().model, 6)
    first, second = (Asked(name, [name + at for at in range(40)], [[5]]) for name in (1, 100))
    for one in (first, second, first):
        assert cached.score([one])[0] == pytest.approx(plain(one), abs=1e-4)
    assert list(cached._texts) == [1]


def test_another_text_under_the_same_key_is_read_from_its_beginning() -> None:
    cached = CachedScores(scorer().model, 20)
    for tokens in ([1, 2, 3], [1, 2, 4, 5], [9]):
        one = Asked("key", tokens, [[5], [6, 7]])
        assert cached.score([one])[0] == pytest.approx(plain(one), abs=1e-4)


def test_the_room_is_what_fits() -> None:
    cached = CachedScores(scorer().model, 10)
    longest = cached.room(3, 3)
    one = Asked("key", list(range(longest)), [[5, 1, 2], [6, 1, 2], [7, 1, 2]])
    assert cached.score([one])[0] == pytest.approx(plain(one), abs=1e-4)
    assert CachedScores(scorer().model, 6).room(3, 3) == 0
