"""Every file format of a vocabulary against transformers: the same ids, the same text back; and broken ones named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer

from lm.tokenizers.vocabularies import FORMATS, TEXTS, byte_level
from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.backend import open_backend
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer


@pytest.mark.parametrize("name", FORMATS)
def test_ids_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    directory = FORMATS[name](tmp_path)
    ours, theirs = Tokenizer.load(directory), AutoTokenizer.from_pretrained(directory)
    ours.save(tmp_path / "saved")
    again, theirs_again = Tokenizer.load(tmp_path / "saved"), AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in TEXTS:
        for special in (True, False):
            ids = theirs.encode(text, add_special_tokens=special)
            assert ours.encode(text, special) == ids, text
            assert again.encode(text, special) == ids, text
            assert theirs_again.encode(text, add_special_tokens=special) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
    named = (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == (again.bos_id, again.eos_id, again.pad_id) == named


def test_a_text_of_a_megabyte_in_one_line(tmp_path: Path) -> None:
    directory = FORMATS["llama"](tmp_path)
    text = "渡轮 leaves at noon " * 50_000
    assert len(text.encode()) > 1_000_000
    for tokenizer in (default_tokenizer(), Tokenizer.load(directory)):
        assert tokenizer.decode(tokenizer.encode(text, False)) == text


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({}, "no tokenizer.json and no vocab.txt"),
        ({"tokenizer.json": "{"}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": '{"model": {"type": "BPE"}}'}, "tokenizer.json cannot be read"),
        ({"vocab.json": "{}"}, "no tokenizer.json"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b c\n"}, "line 1: 'a b c' is not two tokens"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b\n"}, "its tokenizer cannot be read"),
        ({"vocab.json": "[]", "merges.txt": ""}, "not an object"),
        ({"vocab.txt": "the\ncat\n"}, "lacks"),
        ({"tokenizer.model": "not one"}, "no SentencePiece model"),
        ({"tokenizer_config.json": "{", "vocab.txt": "x"}, "cannot be read"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, files: dict[str, str], cause: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ModelUnavailable, match=cause) as caught:
        open_backend(tmp_path)
    assert caught.value.remedy


def test_a_special_token_without_an_id_is_an_error(tmp_path: Path) -> None:
    byte_level(tmp_path, "GPT2Tokenizer", ["<|endoftext|>"], pad_token="<pad>")
    with pytest.raises(ModelUnavailable, match=r"names '<pad>' as its pad_token, which its vocabulary does not have"):
        open_backend(tmp_path)


def test_an_added_token_with_another_id_than_it_is_said_to_have(tmp_path: Path) -> None:
    byte_level(tmp_path, "GPT2Tokenizer", ["<|endoftext|>"], added_tokens_decoder={"9000": {"content": "<new>"}})
    with pytest.raises(ModelUnavailable, match="should have the id 9000 and gets 592"):
        open_backend(tmp_path)


def test_added_tokens_of_older_directories(tmp_path: Path) -> None:
    byte_level(tmp_path, "GPT2Tokenizer", ["<|endoftext|>"])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": 592}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}}))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.pad_id == 592
    assert tokenizer.encode("a[PAD]")[-1] == 592
    assert 592 in tokenizer.special_ids
    assert tokenizer.vocab_size == 593
