"""The teaching BPE against the Rust library: the same merges, the same ids, and every text comes back."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from openbook.lm.tokenizers.bpe import BYTES, joined, train, words

TEXT = (
    "The ferry leaves at 08:15, and it's the ferry that returns at noon. 渡轮上午八点十五分离港，中午返回。\n"
    "def leave(at: str) -> None:\n    return at  # 🚢🚢\n\n\t“We'll see,” they said — naïve café.  "
)
corpora = st.lists(st.text(alphabet="abab cd\n'st1é渡", max_size=60), min_size=1, max_size=6)


def library_merges(texts: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@given(corpora, st.integers(256, 300))
def test_merges_and_ids_are_those_of_the_library(texts, vocab_size):
    ours, theirs = train(texts, vocab_size), library_merges(texts, vocab_size)
    assert len(ours.pieces) == theirs.get_vocab_size()
    for text in [*texts, TEXT]:
        assert ours.encode(text) == theirs.encode(text).ids


def test_real_text_gives_the_same_merges():
    ours, theirs = train([TEXT] * 3, 400), library_merges([TEXT] * 3, 400)
    assert ours.encode(TEXT) == theirs.encode(TEXT).ids
    assert len(ours.encode(TEXT)) < len(TEXT.encode())


@given(st.text(max_size=80))
def test_any_text_comes_back(text):
    bpe = train([TEXT], 300)
    clean = text.encode("utf-8", "replace").decode()
    assert bpe.decode(bpe.encode(clean)) == clean


@given(st.text(alphabet="ab 'st12,. \n\té渡٣", max_size=40))
def test_words_are_those_of_the_pattern(text):
    pattern = Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Split(pattern, "isolated")
    assert list(words(text)) == [word for word, _ in split.pre_tokenize_str(text)]


def test_every_byte_has_an_id_and_small_vocabularies_are_refused():
    assert sorted(BYTES) == list(range(256))
    with pytest.raises(ValueError, match="255 leaves no room"):
        train(["a"], 255)
    assert train([], 1_000).merges == ()


def test_pairs_are_joined_from_the_left():
    assert joined([1, 1, 1], (1, 1), 9) == [9, 1]
