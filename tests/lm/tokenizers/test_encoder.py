from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.encoder import CheckpointTokens, open_encoder_tokenizer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.write(tmp_path_factory.mktemp("bert"), tiny_bert.weights())


def test_a_word_list_alone_is_enough(directory: Path) -> None:
    one, pair = (
        open_encoder_tokenizer(directory, 16).encode(["The cats sat."])[0],
        open_encoder_tokenizer(directory, 16),
    )
    assert [tiny_bert.WORDS[i] for i in one.ids] == ["[CLS]", "the", "cat", "##s", "sat", ".", "[SEP]"]
    assert not one.truncated
    both = pair.encode_pairs([("the cat", "a mat")])[0]
    assert [tiny_bert.WORDS[i] for i in both.ids] == ["[CLS]", "the", "cat", "[SEP]", "[UNK]", "mat", "[SEP]"]
    assert both.segments == [0, 0, 0, 0, 1, 1, 1]


def test_what_is_cut_is_told(directory: Path) -> None:
    tokenizer = open_encoder_tokenizer(directory, 6)
    fits, cut = tokenizer.encode(["the cat sat on", "the cat sat on the mat"])
    assert (len(fits.ids), fits.truncated) == (6, False)
    assert (len(cut.ids), cut.truncated) == (6, True)


def test_spans_are_code_points_and_never_cut(directory: Path) -> None:
    counter = CheckpointTokens(directory)
    text = "年假 😀 the cats " + "mat " * 100
    spans = counter.spans(text)
    assert [text[s:e] for s, e in spans[:6]] == ["年", "假", "😀", "the", "cat", "s"]
    assert len(spans) == 106
    assert pickle.loads(pickle.dumps(counter)).spans("the mat") == [(0, 3), (4, 7)]


def test_the_word_list_and_the_file_of_the_library_agree(minilm: Path, tmp_path: Path) -> None:
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((minilm / name).read_bytes())
    texts = ["Ünïcödé café, £1,200!", "年假有多少天？", "it's e-mail_address@x.org"]
    assert open_encoder_tokenizer(tmp_path, 64).encode(texts) == open_encoder_tokenizer(minilm, 64).encode(texts)


def test_a_directory_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no tokenizer\.json and no vocab\.txt"):
        open_encoder_tokenizer(tmp_path, 8)
    (tmp_path / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        open_encoder_tokenizer(tmp_path, 8)
