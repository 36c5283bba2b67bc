"""The tokenizer that is shipped: what it holds, how short it writes, and its smaller forms."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from lm.tokenizers.vocabularies import TEXTS
from openbook.core.errors import UsageError
from openbook.lm.gguf.vocabulary import vocabulary_keys
from openbook.lm.tokenizers.default import VOCAB_SIZE, default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer


def test_it_is_small_and_says_where_it_comes_from() -> None:
    folder = files("openbook.lm.tokenizers").joinpath("built_in")
    assert len(folder.joinpath("tokenizer.json").read_bytes()) < 500_000
    assert "licence" in folder.joinpath("README.md").read_text("utf-8")


@pytest.mark.parametrize("size", [265, 266, 1_000, 8_191, VOCAB_SIZE])
def test_every_size_reads_every_text(size: int, tmp_path: Path) -> None:
    tokenizer = default_tokenizer(size)
    assert tokenizer.vocab_size == size
    assert sorted(tokenizer.backend.get_vocab().values()) == list(range(size))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (None, size - 7, size - 9)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert vocabulary_keys(tmp_path, size)["tokenizer.ggml.pre"] == "qwen2"


def test_english_and_chinese_take_about_as_many_tokens_as_promised() -> None:
    tokenizer = default_tokenizer()
    english = "The employees of the company have the right to see the documents that were written about their work."
    chinese = "公民有权依照法律规定查阅有关的文件，任何单位和个人不得拒绝。"
    assert len(english.encode()) / len(tokenizer.encode(english)) > 3.3
    assert len(tokenizer.encode(chinese)) / len(chinese) < 0.8


def test_formats_and_sizes_that_it_does_not_have() -> None:
    assert "last.query" in str(default_tokenizer(chat="qwen3").chat_template)
    for size in (264, VOCAB_SIZE + 1):
        with pytest.raises(UsageError, match="265 to 8,192"):
            default_tokenizer(size)
    with pytest.raises(UsageError, match="no tokens of 'mistral'"):
        default_tokenizer(chat="mistral")
