"""Training: the library's merges, the same result every time, loadable by transformers, and limits that are named."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
import tokenizers
from tokenizers import Regex, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from lm.tokenizers.vocabularies import TEXTS
from openbook.core.errors import UsageError
from openbook.lm.gguf.vocabulary import vocabulary_keys
from openbook.lm.tokenizers.formats import FORMATS
from openbook.lm.tokenizers.patterns import GPT2, LLAMA3, PATTERNS, QWEN2
from openbook.lm.tokenizers.templates import NAMES
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.lm.tokenizers.train import KINDS, train

CORPUS = [text * 3 for text in TEXTS] + [
    "The ferry that leaves at noon returns at night; the ferry's captain is late. " * 4,
    "渡轮上午八点十五分离港，中午返回；渡轮的船长迟到了。每位员工每年享有带薪年假。" * 4,
]


def digest(kind: str) -> str:
    made = train(kind, CORPUS, 700)
    return hashlib.sha256(made.backend.to_str().encode()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_tokenizer_in_another_process(kind: str) -> None:
    code = f"from lm.tokenizers.test_train import digest; print(digest({kind!r}))"
    tests = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"RAYON_NUM_THREADS": "5", "PYTHONPATH": tests},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(kind)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda one: one.name)
def test_merges_are_the_library_s_own(pattern) -> None:
    theirs = tokenizers.Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern.regex is None)
    split = [] if pattern.regex is None else [pre_tokenizers.Split(Regex(pattern.regex), "isolated")]
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=591, min_frequency=2, initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(CORPUS, trainer)
    ours = json.loads(train("bpe", CORPUS, 600, pattern=pattern).backend.to_str())["model"]
    assert ours["merges"] == json.loads(theirs.to_str())["model"]["merges"]
    assert len(ours["merges"]) > 100


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chat", NAMES)
def test_transformers_reads_what_was_trained(tmp_path: Path, kind: str, chat: str) -> None:
    made = train(kind, CORPUS, 700, chat=chat if kind != "wordpiece" else None, special_tokens=["<|x|>"])
    assert made.vocab_size <= 700
    made.save(tmp_path)
    ours, theirs = Tokenizer.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, "渡轮<|x|> 12345"]:
        for special in (True, False):
            ids = theirs.encode(text, add_special_tokens=special)
            assert made.encode(text, special) == ours.encode(text, special) == ids
        if kind != "wordpiece":
            assert made.decode(made.encode(text)) == text
    named = (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == named
    assert ours.pad_id is not None
    assert ours.pad_id != ours.eos_id
    if kind == "wordpiece":
        assert ours.chat_template is None
        return
    assert ours.chat_template == made.chat_template
    chat_ = [{"role": "user", "content": "渡轮?"}, {"role": "assistant", "content": "Yes"}]
    rendered = ours.render(chat_, date_string="1 Jan")
    assert rendered.text == theirs.apply_chat_template(chat_, tokenize=False, date_string="1 Jan")
    assert rendered.ids[rendered.spans[-1].last - 1] == ours.eos_id
    assert set(FORMATS[chat].special) <= set(theirs.get_vocab())


@pytest.mark.parametrize("pattern", [QWEN2, LLAMA3, GPT2], ids=lambda one: one.name)
def test_a_gguf_file_can_name_what_was_trained(tmp_path: Path, pattern) -> None:
    train("bpe", CORPUS, 500, pattern=pattern).save(tmp_path)
    keys = vocabulary_keys(tmp_path, 512)
    assert keys["tokenizer.ggml.pre"] == pattern.name
    assert keys["tokenizer.ggml.add_bos_token"] is False


def test_digits_stand_alone_and_so_do_chinese_signs() -> None:
    made = train("bpe", ["1234 1234 1234 年假，年假，年假"] * 50, 400)
    assert [piece.end - piece.start for piece in made.pieces("1234")] == [1, 1, 1, 1]
    three = train("bpe", ["1234 1234 1234"] * 50, 400, pattern=LLAMA3)
    assert [three.decode([piece.id]) for piece in three.pieces("1234")] == ["123", "4"]
    lowered = train("wordpiece", CORPUS, 400, lowercase=True)
    assert lowered.encode("FERRY") == lowered.encode("ferry")
    assert [piece.end - piece.start for piece in lowered.pieces("渡轮上午")] == [1, 1, 1, 1]


def test_a_text_without_pairs_gives_a_smaller_one() -> None:
    assert train("unigram", CORPUS, 300).vocab_size <= 300
    assert train("bpe", ["abc"], 10_000).vocab_size == 265
    assert train("bpe", [], 10_000).vocab_size == 265
    assert train("bpe", ["a\ud800b"], 300).decode([66]) == "c"


@pytest.mark.parametrize(
    ("kind", "size", "more", "cause"),
    [
        ("bpe", 264, {}, "264 leaves no room for 256 bytes and 9 other tokens"),
        ("unigram", 265, {}, "leaves no room"),
        ("wordpiece", 5, {}, "leaves no room for 5 special tokens"),
        ("words", 500, {}, "known are bpe, wordpiece, unigram"),
        ("bpe", 500, {"chat": "vicuna"}, "known are chatml, qwen3, llama3, mistral"),
        ("bpe", 500, {"lowercase": True}, "a bpe tokenizer has no lowercase: leave it out; it belongs to wordpiece"),
        ("unigram", 500, {"lowercase": True}, "a unigram tokenizer has no lowercase"),
        ("unigram", 500, {"min_frequency": 2}, "no min_frequency: leave it out; it belongs to bpe and wordpiece"),
        ("unigram", 500, {"pattern": QWEN2}, "has no pattern"),
        ("wordpiece", 500, {"pattern": QWEN2}, "has no pattern"),
        ("wordpiece", 500, {"chat": "chatml"}, "a wordpiece tokenizer has no chat"),
        ("bpe", 500, {"min_frequency": 0}, "min_frequency is 0: give 1 or more"),
        ("bpe", 500, {"special_tokens": [" "]}, "the special token ' ' is empty"),
        ("wordpiece", 500, {"special_tokens": [""]}, "the special token '' is empty"),
        ("bpe", 500, {"special_tokens": ["<think>"]}, "'<think>' is a token of this chat format, and text"),
        ("bpe", 500, {"special_tokens": ["a"]}, "'a' is text: the tokenizer has learned it"),
        ("unigram", 500, {"special_tokens": ["<0x41>"]}, "'<0x41>' is text"),
    ],
)
def test_what_cannot_be_trained_is_named(kind: str, size: int, more: dict, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        train(kind, CORPUS, size, **more)


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("bpe", ["<|im_end|>", "<|x|>", "<|x|>"]),
        ("unigram", ["<|im_end|>", "<unk>", "<|x|>"]),
        ("wordpiece", ["[MASK]", "<|x|>", "<|x|>"]),
    ],
)
def test_special_tokens_that_are_there_anyway_take_no_room(kind: str, tokens: list[str]) -> None:
    twice, once = (train(kind, CORPUS, 400, special_tokens=some) for some in (tokens, ["<|x|>"]))  # type: ignore[arg-type]
    assert twice.backend.to_str() == once.backend.to_str()
    assert set(tokens) <= {once.token_of(number) for number in once.special_ids}
    assert kind != "bpe" or once.vocab_size == 400
