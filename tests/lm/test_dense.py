"""The dense way of calling: padding on either side changes nothing and is zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.families.test_initial import BERT, FRESH, T5_SIZES
from openbook.lm.dense import dense
from openbook.lm.load import new_model

MODELS = {name: new_model(FRESH[name]).requires_grad_(False) for name in ("llama", "gpt2", "bert", "t5")}


@given(st.sampled_from(("llama", "gpt2", "bert")), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_padding_on_either_side_changes_nothing(name: str, lengths: list[int], left: bool) -> None:
    model, T = MODELS[name], max(lengths) + 1
    rows = torch.arange(2, 2 + sum(lengths)).split(lengths)
    ids, mask = torch.zeros(len(rows), T, dtype=torch.long), torch.zeros(len(rows), T)
    for place, row in enumerate(rows):
        span = slice(T - len(row), T) if left else slice(0, len(row))
        ids[place, span], mask[place, span] = row, 1
    found = dense(model, ids, mask)
    assert found.shape == (len(rows), T, 1_000)
    assert not found[mask == 0].any()
    for place, row in enumerate(rows):
        alone = dense(model, row[None])[0]
        assert torch.allclose(found[place][mask[place] == 1], alone, atol=1e-5)


def test_an_encoder_decoder_answers_for_what_its_decoder_is_given() -> None:
    model = MODELS["t5"]
    ids, mask = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    begun, is_begun = torch.tensor([[0, 9, 0], [0, 9, 10]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    found = dense(model, ids, mask, decoder_input_ids=begun, decoder_attention_mask=is_begun)
    assert found.shape == (2, 3, 1_000)
    assert not found[0, 2].any()
    alone = dense(model, ids[1:, :2], decoder_input_ids=begun[1:])
    assert torch.allclose(found[1], alone[0], atol=1e-5)


def test_what_there_is_no_head_for_is_hidden_states_and_sentences_have_one_row_each() -> None:
    ids, mask = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    shapes = {"BertModel": (2, 3, 64), "BertForSequenceClassification": (2, 2), "BertForTokenClassification": (2, 3, 2)}
    for architecture, shape in shapes.items():
        model = new_model(BERT | {"model_type": "bert", "architectures": [architecture]})
        assert dense(model, ids, mask).shape == shape
    assert dense(new_model(T5_SIZES | {"architectures": ["T5EncoderModel"]}), ids, mask).shape == (2, 3, 64)


def test_a_row_of_padding_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        dense(MODELS["llama"], torch.zeros(2, 3, dtype=torch.long), torch.tensor([[1, 1, 1], [0, 0, 0]]))
