"""Fresh models of every family know nothing: their loss is ln V."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.dense import dense
from openbook.lm.families.t5 import T5
from openbook.lm.load import new_model

V = 1_000
LLAMA = {
    "vocab_size": V,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
BERT = {
    "vocab_size": V,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
T5_SIZES = {"model_type": "t5", "vocab_size": V, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 3, "num_heads": 4}
FRESH: dict[str, dict[str, Any]] = {
    **{name: LLAMA | {"model_type": name} for name in ("llama", "mistral", "qwen2", "qwen3")},
    "tied": LLAMA | {"model_type": "llama", "tie_word_embeddings": True},
    "mixtral": LLAMA | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    **{name: LLAMA | EXPERTS | {"model_type": name} for name in ("qwen2_moe", "qwen3_moe")},
    "gpt2": {"model_type": "gpt2", "vocab_size": V, "n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 512},
    "bert": BERT | {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "roberta": BERT | {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]},
    "xlm-roberta": BERT | {"model_type": "xlm-roberta", "architectures": ["XLMRobertaForMaskedLM"]},
    "t5": T5_SIZES,
    "t5 1.1": T5_SIZES | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}


def logits_of(model: Any, ids: Tensor) -> Tensor:
    if isinstance(model, T5):
        return dense(model, ids, decoder_input_ids=ids.flip(1))
    return dense(model, ids)


@pytest.mark.parametrize("name", FRESH)
def test_the_loss_of_a_fresh_model_is_ln_v(name: str) -> None:
    model = new_model(FRESH[name], seed=3)
    ids = torch.randint(2, V, (2, 200), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        loss = F.cross_entropy(logits_of(model, ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert abs(float(loss) - math.log(V)) < 0.05


@pytest.mark.parametrize("name", FRESH)
def test_fresh_weights_follow_from_the_seed_alone(name: str) -> None:
    first, again, other = (new_model(FRESH[name], seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(torch.isfinite(one).all() for one in first.values())


def test_what_ends_a_branch_shrinks_with_depth() -> None:
    layer = new_model(FRESH["mixtral"], seed=1).requires_grad_(False).layers[1]
    assert float(layer.mlp.experts.up.std()) == pytest.approx(0.02, rel=0.1)
    assert float(layer.mlp.experts.down.std()) == pytest.approx(0.02 / math.sqrt(8), rel=0.1)
    assert float(layer.attention.out.weight.std()) == pytest.approx(0.02 / math.sqrt(8), rel=0.1)
    t5 = new_model(FRESH["t5"], seed=1).requires_grad_(False).encoder.layers[0]
    assert float(t5.attention.q.weight.std()) == pytest.approx(0.02 / 4, rel=0.1)  # scores are not divided by sqrt(16)
