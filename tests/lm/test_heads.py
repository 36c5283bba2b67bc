"""An encoder with another head: what it had stays, what it had not is drawn and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from openbook.core.errors import ModelUnavailable
from openbook.lm.heads import config_with_head, load_with_head
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.nn.batch import Batch
from openbook.lm.presets import new_config

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def _saved(folder: Path, architecture: str) -> Path:
    raw = new_config("bert", "1m", 50, 16) | SHAPE | {"architectures": [architecture]}
    save_model(new_model(raw, seed=1), folder)
    return folder


def test_a_plain_encoder_gets_a_head_that_is_drawn_and_named(tmp_path: Path) -> None:
    base = _saved(tmp_path, "BertModel")
    model, fresh = load_with_head(base, "ForQuestionAnswering")
    assert fresh == ("classifier",) and model.config.head == "ForQuestionAnswering"
    ids, batch = torch.arange(6), Batch.of([6], causal=False)
    plain = load_model(base)
    assert torch.equal(model(ids, batch, head="hidden"), plain(ids, batch, head="hidden"))
    assert model(ids, batch, head="logits").shape == (6, 2)


def test_the_same_seed_draws_the_same_head(tmp_path: Path) -> None:
    base = _saved(tmp_path, "BertModel")
    one, two, other = (load_with_head(base, "ForSequenceClassification", 1, seed=seed).model for seed in (0, 0, 1))
    assert one.classifier is not None and two.classifier is not None and other.classifier is not None
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_a_head_that_is_there_is_kept(tmp_path: Path) -> None:
    base = _saved(tmp_path, "BertForNextSentencePrediction")
    model, fresh = load_with_head(base, "ForNextSentencePrediction")
    assert fresh == ()
    assert dict(model.named_parameters()).keys() == dict(load_model(base).named_parameters()).keys()


def test_a_head_of_other_labels_is_drawn_anew(tmp_path: Path) -> None:
    model, fresh = load_with_head(_saved(tmp_path, "BertForSequenceClassification"), "ForSequenceClassification", 5)
    assert fresh == ("classifier",) and model.config.num_labels == 5


def test_the_head_of_a_masked_model_is_left_out_and_tied_where_it_is_wanted(tmp_path: Path) -> None:
    base = _saved(tmp_path / "masked", "BertForMaskedLM")
    model, fresh = load_with_head(base, "Model")
    assert fresh == ("pooler",) and model.lm_head is None
    masked, fresh = load_with_head(_saved(tmp_path / "plain", "BertModel"), "ForMaskedLM")
    assert masked.lm_head is not None and masked.lm_head.decoder.weight is masked.tokens.weight
    assert set(fresh) == {"lm_head.dense", "lm_head.norm", "lm_head.decoder"}


def test_what_was_saved_with_its_head_loads_with_it(tmp_path: Path) -> None:
    model = load_with_head(_saved(tmp_path / "base", "BertModel"), "ForQuestionAnswering").model
    save_model(model, tmp_path / "out")
    again, fresh = load_with_head(tmp_path / "out", "ForQuestionAnswering")
    assert fresh == () and again.classifier is not None and model.classifier is not None
    assert torch.equal(again.classifier.weight, model.classifier.weight)


def test_a_decoder_takes_no_head(tmp_path: Path) -> None:
    raw = new_config("llama", "1m", 50, 16)
    save_model(new_model(raw), tmp_path)
    with pytest.raises(ModelUnavailable, match="stands on an encoder"):
        load_with_head(tmp_path, "ForQuestionAnswering")


def test_a_fresh_encoder_says_its_head() -> None:
    raw = config_with_head(new_config("bert", "1m", 50, 16) | SHAPE, "ForSequenceClassification", 3)
    assert new_model(raw).config.num_labels == 3
