"""SentencePiece models against the reference library itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece as reference

from lm.tokenizers.vocabularies import TEXTS, sentencepiece_model
from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.sentencepiece import from_model, merges_of
from openbook.lm.tokenizers.settings import Settings

PLAIN = [text for text in TEXTS if "<" not in text]


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "unigram", "vocab_size": 400, "byte_fallback": True},
        {"model_type": "unigram", "vocab_size": 400, "byte_fallback": True, "add_dummy_prefix": False},
        {"model_type": "unigram", "vocab_size": 100},
        {"model_type": "bpe", "vocab_size": 420, "byte_fallback": True, "normalization_rule_name": "identity"},
        {"model_type": "bpe", "vocab_size": 420, "byte_fallback": True, "remove_extra_whitespaces": False},
        {"model_type": "bpe", "vocab_size": 420, "byte_fallback": True, "add_dummy_prefix": False},
    ],
    ids=str,
)
def test_pieces_are_those_of_the_reference(tmp_path: Path, settings: dict) -> None:
    raw = sentencepiece_model(**settings)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(raw)
    ours, theirs = from_model(path, Settings()), reference.SentencePieceProcessor(model_proto=raw)
    for text in PLAIN:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text), text


def test_models_of_words_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(sentencepiece_model(model_type="word", vocab_size=20))
    with pytest.raises(ModelUnavailable, match="of type 3"):
        from_model(tmp_path / "a.model", Settings())


def test_merges_are_every_cut_in_two_better_pieces_first() -> None:
    vocabulary = {piece: number for number, piece in enumerate(["ab", "abc", "a", "b", "c", "bc"])}
    assert merges_of(list(vocabulary), vocabulary) == [("a", "b"), ("a", "bc"), ("ab", "c"), ("b", "c")]
    with pytest.raises(ModelUnavailable, match="too long"):
        merges_of(["x" * 50_000], {})


def test_a_broken_table_of_characters_is_found_when_it_is_opened(tmp_path: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    raw = sentencepiece_model(model_type="unigram", vocab_size=100)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(raw)
    size = len(proto.normalizer_spec.precompiled_charsmap)
    for table in (b"\x00", b"\xff" * 64, (1 << 20).to_bytes(4, "little") + bytes(range(256)) * 4, bytes(size)):
        proto.normalizer_spec.precompiled_charsmap = table
        path = tmp_path / "a.model"
        path.write_bytes(proto.SerializeToString())
        try:
            from_model(path, Settings())
        except ModelUnavailable as error:
            assert error.remedy
    assert io.BytesIO(raw).read(1)
