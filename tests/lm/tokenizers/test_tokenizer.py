"""The public tokenizer: every text comes back, ids are stable, files in and out, and what is asked wrongly is named."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import byte_tokenizer, tiny
from lm.tokenizers.vocabularies import FORMATS, TEXTS
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.gguf.write import write_gguf
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer

DEFAULT = default_tokenizer()
SMALL = default_tokenizer(265)
characters = st.text(st.characters(codec="utf-8"), max_size=60)
pieces = st.lists(st.sampled_from(["<|im_end|>", "<think>", " ", "\n", "渡轮", "1234", "🚢", "'s", "the "])).map(
    "".join
)


@given(st.one_of(characters, pieces))
def test_any_text_comes_back(text: str) -> None:
    for tokenizer in (DEFAULT, SMALL):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert b"".join(tokenizer.bytes_of(number) for number in ids) == text.encode()


@given(st.binary(max_size=60))
def test_any_bytes_come_back_as_bytes(content: bytes) -> None:
    ids = [SMALL.encode(chr(byte))[0] if byte < 128 else _id_of_byte(byte) for byte in content]
    assert b"".join(SMALL.bytes_of(number) for number in ids) == content
    assert SMALL.decode(ids) == content.decode("utf-8", "replace")


def _id_of_byte(byte: int) -> int:
    return next(number for number in range(256) if SMALL.bytes_of(number) == bytes([byte]))


@given(st.lists(st.integers(0, DEFAULT.vocab_size - 1), max_size=30))
def test_encoding_what_was_decoded_is_stable(ids: list[int]) -> None:
    text = DEFAULT.decode(ids)
    again = DEFAULT.encode(text)
    assert DEFAULT.decode(again) == text
    assert DEFAULT.encode(DEFAULT.decode(again)) == again


@given(characters)
def test_pieces_cover_the_text_in_order(text: str) -> None:
    found = DEFAULT.pieces(text)
    assert [piece.id for piece in found] == DEFAULT.encode(text)
    covered = sorted({place for piece in found for place in range(piece.start, piece.end)})
    assert covered == list(range(len(text)))
    assert all(one.start <= two.start for one, two in pairwise(found))


@given(st.lists(characters, max_size=5))
def test_a_batch_is_its_texts(texts: list[str]) -> None:
    assert DEFAULT.encode_batch(texts) == [DEFAULT.encode(text) for text in texts]


@pytest.mark.parametrize("name", ["llama", "roberta", "bert"])
def test_offsets_keep_their_white_space_and_files_what_they_said(tmp_path: Path, name: str) -> None:
    tokenizer = Tokenizer.load(FORMATS[name](tmp_path))
    before = json.loads(tokenizer.backend.to_str())["post_processor"]
    tokenizer.save(tmp_path / "out")
    after = json.loads((tmp_path / "out" / "tokenizer.json").read_text("utf-8"))["post_processor"]
    if name == "roberta":
        assert (before["trim_offsets"], after["trim_offsets"]) == (False, True)
        assert [(piece.start, piece.end) for piece in tokenizer.pieces("a  b")] == [(0, 1), (1, 2), (2, 4)]
    else:
        assert before == after


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "渡\udc80"])
def test_lone_surrogates_are_named(text: str) -> None:
    for call in (DEFAULT.encode, DEFAULT.pieces, lambda one: DEFAULT.encode_batch(["x", one])):
        with pytest.raises(UsageError, match="lone surrogate") as caught:
            call(text)
        assert "replace" in caught.value.remedy


def test_nul_and_other_controls_are_text() -> None:
    text = "".join(map(chr, range(0xA0)))
    assert DEFAULT.decode(DEFAULT.encode(text)) == text


def test_ids_and_tokens_that_are_not_there_are_named() -> None:
    for number in (-1, DEFAULT.vocab_size, 1 << 40):
        with pytest.raises(UsageError, match=f"the id {number}"):
            DEFAULT.decode([number])
    with pytest.raises(UsageError, match=r"'<\|nothing\|>' is no token"):
        DEFAULT.id_of("<|nothing|>")
    assert DEFAULT.token_of(DEFAULT.id_of("<|im_end|>")) == "<|im_end|>"


def test_special_tokens_are_skipped_when_asked(tmp_path: Path) -> None:
    ids = DEFAULT.encode("a<|im_end|>b<think>")
    assert DEFAULT.decode(ids, skip_special_tokens=True) == "ab<think>"
    assert DEFAULT.decode(ids) == "a<|im_end|>b<think>"


def test_every_id_that_ends_a_generation(tmp_path: Path) -> None:
    byte_tokenizer(tmp_path)
    assert Tokenizer.load(tmp_path).eos_ids == (257,)
    (tmp_path / "config.json").write_text('{"eos_token_id": 3}')
    assert Tokenizer.load(tmp_path).eos_ids == (257, 3)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [258, 257]}')
    assert Tokenizer.load(tmp_path).eos_ids == (257, 258)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "end"}')
    with pytest.raises(ModelUnavailable, match=r"eos_token_id of .* is 'end'"):
        Tokenizer.load(tmp_path)


def test_a_gguf_file_holds_its_tokenizer(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model")
    byte_tokenizer(tmp_path / "model")
    write_gguf(model, tmp_path / "model", tmp_path / "a.gguf", "f32")
    ours, theirs = Tokenizer.load(tmp_path / "model"), Tokenizer.load(tmp_path / "a.gguf")
    for text in TEXTS:
        assert theirs.encode(text) == ours.encode(text)
    assert (theirs.eos_id, theirs.chat_template) == (ours.eos_id, ours.chat_template)


def test_what_is_no_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is not a directory"):
        Tokenizer.load(tmp_path / "nothing")


def test_named_tokens_must_be_there() -> None:
    with pytest.raises(ModelUnavailable, match="names '<none>' as its eos_token"):
        Tokenizer(DEFAULT.backend, {"eos_token": "<none>"})
