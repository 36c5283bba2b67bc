"""A decoder or an encoder with one number for a sequence, in the form that transformers reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import ModelUnavailable
from openbook.lm.heads import load_with_score
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.nn.batch import Batch
from openbook.lm.presets import new_config

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    },
    "qwen3": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
}
LENGTHS = [5, 9, 3]


def base(folder: Path, family: str) -> Path:
    raw = new_config(family, "1m", 50, 16) | SHAPES[family]
    save_model(new_model(raw, seed=1), folder / "base")
    return folder / "base"


def scores(model: Any, ids: torch.Tensor) -> torch.Tensor:
    named = {} if model.causal else {"head": "sentence"}
    found: torch.Tensor = model(ids, Batch.of(LENGTHS, causal=model.causal), **named)
    return found


@pytest.mark.parametrize("family", SHAPES)
def test_a_fresh_head_says_zero_and_leaves_the_rest(tmp_path: Path, family: str) -> None:
    folder = base(tmp_path, family)
    model, fresh = load_with_score(folder)
    ids = torch.arange(sum(LENGTHS))
    assert scores(model, ids).shape == (3, 1) and not scores(model, ids).any()
    assert fresh == (("pooler", "classifier") if family == "bert" else ("lm_head",))
    batch, plain = Batch.of(LENGTHS, causal=model.causal), load_model(folder)
    assert torch.equal(model(ids, batch, head="hidden"), plain(ids, batch, head="hidden"))
    assert model.head_over == "sequences"


@pytest.mark.parametrize("family", SHAPES)
def test_transformers_says_the_same_scores(tmp_path: Path, family: str) -> None:
    """Padded on the right, with a token of padding that stands nowhere else."""
    from transformers import AutoModelForSequenceClassification

    model, _ = load_with_score(base(tmp_path, family))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if name.startswith(("lm_head", "classifier")):
                one.normal_()
    model.carried = {**model.carried, "pad_token_id": 49}
    save_model(model, tmp_path / "reward")
    ids = torch.arange(sum(LENGTHS))
    parts = torch.split(ids, LENGTHS)
    padded = torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=49)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in parts], batch_first=True)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    with torch.no_grad():
        wanted = theirs(padded, attention_mask=mask).logits
    assert wanted.shape == (3, 1)
    again, fresh = load_with_score(tmp_path / "reward")
    assert fresh == ()
    torch.testing.assert_close(scores(again, ids), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(scores(load_model(tmp_path / "reward"), ids), wanted, rtol=0, atol=1e-5)


def test_scores_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    """As the ends of steps of a solution are."""
    model, _ = load_with_score(base(tmp_path, "llama"))
    torch.nn.init.normal_(model.get_submodule("lm_head").weight)  # type: ignore[arg-type]
    ids, batch = torch.arange(9), Batch.of([9])
    every = model(ids, batch, rows=torch.arange(9))
    assert every.shape == (9, 1)
    torch.testing.assert_close(model(ids, batch), every[-1:])
    for end in (3, 6):  # a score sees nothing behind it
        torch.testing.assert_close(model(ids[:end], Batch.of([end])), every[end - 1 : end])


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    save_model(new_model(new_config("t5", "1m", 50, 16), seed=1), tmp_path)
    with pytest.raises(ModelUnavailable, match="no head for a score"):
        load_with_score(tmp_path)
