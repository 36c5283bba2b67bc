"""The reader of SentencePiece files: what the reference wrote is read; anything else ends in an error, soon."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from lm.tokenizers.vocabularies import sentencepiece_model
from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.proto import read_model


@pytest.fixture(scope="module")
def raw() -> bytes:
    return sentencepiece_model(model_type="bpe", vocab_size=400, byte_fallback=True, user_defined_symbols=["[X]"])


def test_every_field_is_that_of_protobuf(raw: bytes, tmp_path: Path) -> None:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(raw)
    path = tmp_path / "a.model"
    path.write_bytes(raw)
    model = read_model(path)
    assert [tuple(piece) for piece in model.pieces] == [(one.piece, one.score, one.type) for one in proto.pieces]
    assert model.model_type == proto.trainer_spec.model_type == 2
    assert model.byte_fallback is True
    assert model.unk_id == proto.trainer_spec.unk_id
    assert model.charsmap == proto.normalizer_spec.precompiled_charsmap
    assert model.add_dummy_prefix is proto.normalizer_spec.add_dummy_prefix
    assert model.remove_extra_whitespaces is proto.normalizer_spec.remove_extra_whitespaces


@given(data=st.data())
def test_a_changed_file_is_read_or_refused(data: st.DataObject, raw: bytes, tmp_path_factory) -> None:
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    path = tmp_path_factory.mktemp("proto") / "a.model"
    path.write_bytes(changed[:cut])
    try:
        assert read_model(path).pieces
    except ModelUnavailable as error:
        assert error.remedy


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("proto") / "a.model"
    path.write_bytes(content)
    with suppress(ModelUnavailable):
        assert read_model(path).pieces


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "has no pieces"),
        (b"\x0a\xff\xff\xff\xff\x0f", "claims 4294967295 bytes"),
        (b"\x0a\x80", "cut off"),
        (b"\x0a\x02\x0a\x00", "piece 0 has 0 characters"),
        (b"\x0a\x03\x0a\x01\xff", "utf-8"),
        (b"\x0a\x03\x0a\x01a\x12\x03\xc0\x02\x09", "its unk_id is 9, it has 1 pieces"),
        (b"\x0b", "wire type 3"),
        (b"\x0a\x08\x0a\x01a\x15\x00\x00\xc0\x7f", "has the score nan"),
        (b"\x08\x01", "number stands where bytes"),
    ],
)
def test_lies_are_named(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=cause):
        read_model(path)
