"""Text that comes token by token is the whole text, however the tokens are cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.tokenizers.vocabularies import FORMATS, TEXTS
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.stream import ByteStream, WindowStream
from openbook.lm.tokenizers.tokenizer import Tokenizer

BYTES = default_tokenizer(600)


@pytest.fixture(scope="module", params=["llama", "llama, legacy", "t5", "xlm-roberta", "bert", "qwen2", "roberta"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(FORMATS[request.param](tmp_path_factory.mktemp("vocabulary")))


def streamed(tokenizer: Tokenizer, ids: list[int], cuts: list[int], skip: bool) -> str:
    stream = tokenizer.stream(skip)
    borders = [0, *sorted(cuts), len(ids)]
    parts = [stream.push(ids[start:end]) for start, end in pairwise(borders)]
    return "".join([*parts, stream.finish()])


@given(data=st.data())
def test_any_ids_in_any_pieces(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=5))
    skip = data.draw(st.booleans())
    assert streamed(tokenizer, ids, cuts, skip) == tokenizer.decode(ids, skip)
    assert streamed(tokenizer, ids, list(range(len(ids))), skip) == tokenizer.decode(ids, skip)


@given(st.lists(st.integers(0, 255), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_bytes_that_are_no_text(ids: list[int], cuts: list[int]) -> None:
    cuts = [min(cut, len(ids)) for cut in cuts]
    whole = b"".join(BYTES.bytes_of(number) for number in ids).decode("utf-8", "replace")
    assert streamed(BYTES, ids, cuts, False) == BYTES.decode(ids) == whole


@pytest.mark.parametrize("text", TEXTS)
def test_texts_in_single_tokens(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert streamed(tokenizer, ids, list(range(len(ids))), True) == tokenizer.decode(ids, True)


def test_a_character_waits_for_its_last_byte_and_no_longer() -> None:
    stream = BYTES.stream()
    assert isinstance(stream, ByteStream)
    assert [stream.push([number]) for number in BYTES.encode("🚢!")] == ["", "", "", "🚢", "!"]
    assert stream.push(BYTES.encode("🚢")[:2]) == ""
    assert stream.finish() == "\ufffd"


def test_words_come_at_once_and_bytes_when_their_run_ends(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(FORMATS["llama"](tmp_path))
    stream = tokenizer.stream(skip_special_tokens=True)
    assert isinstance(stream, WindowStream)
    given_ = [(tokenizer.token_of(number), stream.push([number])) for number in tokenizer.encode("at 点 at")]
    assert [text for token, text in given_ if token.startswith("<0x")] in ([""] * 3, [])
    assert "".join(text for _, text in given_) + stream.finish() == "at 点 at"
    assert given_[1][1] == "at" or given_[1][0] != "▁at"


def test_long_outputs_keep_a_short_window() -> None:
    stream = WindowStream(lambda ids: "".join(map(chr, ids)), chr)
    assert "".join(stream.push([97 + number % 26]) for number in range(1000)) == "".join(
        chr(97 + number % 26) for number in range(1000)
    )
    assert len(stream._context) <= 9
