"""What is hidden: 15 % of ordinary tokens, 80/10/10, never special ones, whole words where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.lm.tokenizers.word_starts import word_starts
from openbook.training.recipe_parts import MaskedPart
from openbook.training.sources.masked import Masking, masked
from openbook.training.sources.pieces import Piece, drawn
from openbook.training.special_tokens import with_special_tokens


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return with_special_tokens(default_tokenizer(), "masked")


def piece(ids: list[int] | NDArray[np.int64], number: int = 0, learned: NDArray[np.bool_] | None = None) -> Piece:
    found = np.array(ids, np.int64)
    return Piece(found, np.ones(len(found), np.bool_) if learned is None else learned, drawn(7, 0, number))


def test_shares(tokenizer: Tokenizer) -> None:
    """Of 200,000 tokens in texts of very different lengths, a tenth of them special."""
    masking, draw = Masking(tokenizer, MaskedPart()), np.random.default_rng(1)
    ordinary, special = np.flatnonzero(masking.is_ordinary), np.array(sorted(tokenizer.special_ids))
    counts = np.zeros(5)
    for number in range(2_000):
        length = int(draw.integers(1, 200))
        ids = np.where(draw.random(length) < 0.1, draw.choice(special, length), draw.choice(ordinary, length))
        read, places, targets = masking.hidden(piece(ids, number))
        now = read[places]
        assert (targets == ids[places - len(masking.before)]).all()
        assert masking.is_ordinary[targets].all()
        assert (np.delete(read, places)[1:-1] == np.delete(ids, places - 1)).all()
        counts += [
            masking.is_ordinary[ids].sum(),
            len(places),
            (now == masking.mask_id).sum(),
            (now == targets).sum(),
            0,
        ]
    free, hidden, mask, kept, _ = counts
    assert hidden / free == pytest.approx(0.15, abs=0.005)
    assert mask / hidden == pytest.approx(0.8, abs=0.01)
    assert kept / hidden == pytest.approx(0.1, abs=0.01)


def test_short_texts_have_their_share_too(tokenizer: Tokenizer) -> None:
    masking = Masking(tokenizer, MaskedPart())
    ids = tokenizer.encode("one two", add_special_tokens=False)[:2]
    hidden = sum(len(masking.hidden(piece(ids, number))[1]) for number in range(4_000))
    assert hidden / 8_000 == pytest.approx(0.15, abs=0.015)


def test_what_is_not_learned_is_never_hidden(tokenizer: Tokenizer) -> None:
    masking = Masking(tokenizer, MaskedPart(share=0.9))
    learned = np.arange(40) % 2 == 0
    _, places, _ = masking.hidden(piece(np.arange(300, 340), 0, learned))
    assert learned[places - len(masking.before)].all()
    assert len(places) >= 18


def test_a_text_stands_between_the_tokens_of_its_ends(tokenizer: Tokenizer) -> None:
    read, _, _ = Masking(tokenizer, MaskedPart()).hidden(piece(tokenizer.encode("a b c", add_special_tokens=False)))
    assert tokenizer.token_of(int(read[0])) == "[CLS]"
    assert tokenizer.token_of(int(read[-1])) == "[SEP]"


def test_whole_words(tokenizer: Tokenizer) -> None:
    """All tokens of a word or none, and still the share."""
    masking, starts = Masking(tokenizer, MaskedPart(whole_words=True)), word_starts(tokenizer)
    text = "Unbelievably misunderstood philosophers, extraordinarily quixotic, rearranged tessellations. " * 4
    ids = np.array(tokenizer.encode(text, add_special_tokens=False))
    word = np.cumsum(starts[ids])
    assert len(np.unique(word)) < len(ids) / 1.5
    hidden = 0
    for number in range(200):
        _, places, _ = masking.hidden(piece(ids, number))
        own = word[places - 1]
        for one in np.unique(own):
            assert (own == one).sum() == (word == one).sum()
        hidden += len(places)
    assert hidden / 200 / len(ids) == pytest.approx(0.15, abs=0.01)


def test_pieces_of_a_micro_batch_lie_end_to_end(tokenizer: Tokenizer) -> None:
    masking = Masking(tokenizer, MaskedPart(share=0.5))
    pieces = [piece(np.arange(300, 300 + length), length) for length in (9, 4, 6)]
    found = masked(pieces, masking)
    assert found.lengths == [6, 8, 11]
    assert found.weight == len(found.rows) == len(found.targets)
    whole = np.concatenate([np.r_[-1, np.arange(300, 300 + length), -1] for length in (4, 6, 9)])
    assert (whole[found.rows.numpy()] == found.targets.numpy()).all()


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(UsageError, match="no mask token"):
        Masking(default_tokenizer(), MaskedPart())
