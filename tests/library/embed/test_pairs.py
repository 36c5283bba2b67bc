from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import small_groups
import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.library.embed.pairs import CrossEncoder, NextSentence
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.heads import load_with_head


def logits(arrays: tiny_bert.Arrays, head: str, first: str, second: str) -> np.ndarray:
    left, right = ([tiny_bert.WORDS.index(word) for word in text.split()] for text in (first, second))
    ids = [2, *left, 3, *right, 3]
    hidden = tiny_bert.reference(arrays, ids, [0] * (len(left) + 2) + [1] * (len(right) + 1))
    pooled = np.tanh(hidden[0] @ arrays["pooler.dense.weight"].T + arrays["pooler.dense.bias"])
    return np.asarray(pooled @ arrays[f"{head}.weight"].T + arrays[f"{head}.bias"])


TEXTS = ["the cat sat on the mat", "people", "annual leave days"]


def test_a_cross_encoder_scores_each_text_with_the_query(tmp_path: Path) -> None:
    arrays = tiny_bert.weights(labels=1)
    model = CrossEncoder(tiny_bert.write(tmp_path / "ranker", arrays))
    want = [1 / (1 + np.exp(-logits(arrays, "classifier", "what leave", text)[0])) for text in TEXTS]
    assert np.allclose(model.rank("what leave", TEXTS), want, atol=1e-5)
    assert model.rank("what", []).shape == (0,)
    assert model.truncated == 0
    model.rank("what", ["cat " * 90])
    assert model.truncated == 1


def test_next_sentence_is_the_first_label(tmp_path: Path) -> None:
    arrays = tiny_bert.weights(labels=2)
    model = NextSentence(tiny_bert.write(tmp_path / "nsp", arrays))
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    raw = np.exp([logits(arrays, "cls.seq_relationship", *pair) for pair in pairs])
    assert np.allclose(model.score(pairs), raw[:, 0] / raw.sum(axis=1), atol=1e-5)


def test_a_checkpoint_without_the_head_is_named(tmp_path: Path) -> None:
    directory = tiny_bert.write(tmp_path / "plain", tiny_bert.weights())
    with pytest.raises(ModelUnavailable, match="0 labels"):
        CrossEncoder(directory)
    with pytest.raises(ModelUnavailable, match="1 labels"):
        NextSentence(tiny_bert.write(tmp_path / "one", tiny_bert.weights(labels=1)))


def test_an_adapter_says_how_much_of_a_pair_is_read(tmp_path: Path) -> None:
    """What was never read in training is not read in use; only that length ships beside the weights."""
    base = small_groups.base(tmp_path)
    model = load_with_head(base, "ForSequenceClassification", 1).model
    attach(model, LoraSettings(2, 2.0, target_modules=("all-linear",), trained_modules=("classifier", "pooler")))
    save_adapter(model, "default", tmp_path / "adapter")
    text = "the cat sat on the mat"
    whole = CrossEncoder(base, "float32", tmp_path / "adapter")
    whole.rank("what leave", [text])
    assert whole.truncated == 0 and whole.precision == "float32"
    (tmp_path / "adapter" / "tokenizer_config.json").write_text('{"model_max_length": 8}', "utf-8")
    cut = CrossEncoder(base, "float32", tmp_path / "adapter")
    cut.rank("what leave", [text])
    assert cut.truncated == 1
    assert cut.rank("what leave", [text])[0] == pytest.approx(whole.rank("what leave", ["the cat sat"])[0], abs=1e-5)
