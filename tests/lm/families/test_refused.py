"""What a family does not do is refused by name, before memory is spent; what checkpoints of old libraries hold is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.families.test_initial import BERT, FRESH, T5_SIZES, V
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.dense import dense
from openbook.lm.generate import generate
from openbook.lm.load import empty_model, load_model, new_model, save_model
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs

IDS = torch.tensor([[5, 9, 200, 3]])
ROPE = {"rope_type": "default", "rope_theta": 1e4}


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ("llama", {"rope_parameters": ROPE | {"partial_rotary_factor": 0.25}}, "partial_rotary_factor 0.25"),
        ("llama", {"rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}}, "rope scaling 'mrope'"),
        ("llama", {"rope_theta": 0.5}, "rope_theta 0.5"),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": -2.0}}, "factor -2.0"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 8}},
            "long_factor must be 8 numbers",
        ),
        ("mistral", {"sliding_window": -4}, "sliding_window -4"),
        ("qwen3", {"rope_parameters": {"full_attention": ROPE}}, "differ from layer to layer"),
        ("qwen2", {"use_sliding_window": True, "layer_types": ["chunked_attention"] * 4}, "'chunked_attention'"),
        ("qwen2", {"num_key_value_heads": ...}, "lacks 'num_key_value_heads'"),
        ("mixtral", {"num_experts_per_tok": 5}, "5 of 4 experts"),
        ("qwen3_moe", {"decoder_sparse_step": 0}, "decoder_sparse_step 0"),
        ("qwen3_moe", {"num_experts": ...}, "lacks 'num_experts'"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"n_head": 5}, "5 heads cannot divide 64"),
        ("gpt2", {"activation_function": "tanh"}, "activation_function 'tanh'"),
        ("gpt2", {"n_embd": ...}, "lacks 'n_embd'"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"add_cross_attention": True}, "add_cross_attention"),
        ("bert", {"num_attention_heads": 5}, "5 heads cannot divide 64"),
        ("roberta", {"pad_token_id": None}, "pad_token_id is null"),
        ("t5", {"is_decoder": True}, "is_decoder"),
        ("t5", {"feed_forward_proj": "gated-tanh"}, "gated-tanh"),
        ("t5", {"relative_attention_num_buckets": 2}, "2 buckets"),
        ("t5", {"d_kv": ...}, "lacks 'd_kv'"),
    ],
)
def test_settings_that_are_not_known_are_named(name: str, change: dict[str, Any], cause: str) -> None:
    raw = {key: value for key, value in (FRESH[name] | change).items() if value is not ...}
    with pytest.raises(ModelUnavailable, match=cause):
        empty_model(raw, "a test")


@pytest.mark.parametrize("name", FRESH)
def test_a_model_that_was_saved_is_loaded(tmp_path: Path, name: str) -> None:
    model = new_model(FRESH[name], seed=2)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    assert again.config == model.config


def test_settings_of_another_kind_do_not_leak_in() -> None:
    """transformers gives Mistral and Qwen2 no such biases, whatever their config.json says."""
    for name in ("mistral", "qwen2", "mixtral"):
        config = empty_model(FRESH[name] | {"attention_bias": True, "mlp_bias": True}, "a test").config
        assert not config.out_bias
        assert not config.mlp_bias
        assert config.qkv_bias == (name == "qwen2")
    assert (
        empty_model(FRESH["llama"] | {"sliding_window": 4, "use_sliding_window": True}, "").config.windows
        == (None,) * 4
    )


def test_the_first_gpt2_checkpoints_have_no_prefix_and_hold_masks(tmp_path: Path) -> None:
    model = new_model(FRESH["gpt2"], seed=2)
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    old = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    save_file(old | {"h.0.attn.bias": torch.ones(1, 1, 512, 512)}, path)
    assert torch.equal(dense(load_model(tmp_path), IDS), dense(model, IDS))


def test_a_checkpoint_of_the_body_alone_has_no_prefix(tmp_path: Path) -> None:
    model = new_model(FRESH["qwen3_moe"] | {"tie_word_embeddings": True}, seed=2)
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({name.removeprefix("model."): tensor for name, tensor in load_file(path).items()}, path)
    again = load_model(tmp_path)
    assert torch.equal(dense(again, IDS), dense(model, IDS))
    save_model(again, tmp_path / "again")
    assert "embed_tokens.weight" in load_file(tmp_path / "again" / "model.safetensors")


def test_the_first_bert_checkpoints_have_other_norms_both_heads_and_tied_tensors_twice(tmp_path: Path) -> None:
    model = new_model(BERT | {"model_type": "bert", "architectures": ["BertForPreTraining"]}, seed=2)
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(old, path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | {"architectures": ["BertForMaskedLM"]}))
    assert torch.equal(dense(load_model(tmp_path), IDS), dense(model, IDS))


def test_the_first_t5_checkpoints_hold_the_table_three_times_and_a_bias_of_no_use(tmp_path: Path) -> None:
    model = new_model(FRESH["t5"], seed=2)
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    table = tensors["shared.weight"]
    old = {f"{stack}.embed_tokens.weight": table.clone() for stack in ("encoder", "decoder")}
    old["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(32, 4)
    old["lm_head.weight"] = table.clone()
    save_file(tensors | old, path)
    config = tmp_path / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({key: one for key, one in said.items() if key != "scale_decoder_outputs"}))
    again = load_model(tmp_path)
    assert again.config == model.config
    assert torch.equal(dense(again, IDS, decoder_input_ids=IDS), dense(model, IDS, decoder_input_ids=IDS))


def test_a_pooler_that_the_architecture_does_not_use_is_left_alone(tmp_path: Path) -> None:
    raw = BERT | {"model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], "num_labels": 3}
    model = new_model(raw, seed=2)
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    pooler = {"roberta.pooler.dense.weight": torch.ones(64, 64), "roberta.pooler.dense.bias": torch.ones(64)}
    save_file(load_file(path) | pooler, path)
    again = load_model(tmp_path)
    assert again.config.num_labels == 3
    assert torch.equal(dense(again, IDS), dense(model, IDS))


def test_two_weights_that_are_tied_and_differ_are_refused(tmp_path: Path) -> None:
    model = new_model(FRESH["tied"])
    save_model(model, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 0.1}, path)
    with pytest.raises(ModelUnavailable, match=r"lm_head\.weight is not the tensor") as raised:
        load_model(tmp_path)
    assert "tie_word_embeddings" in raised.value.remedy


def test_t5_tells_a_tied_head_from_its_own_in_old_files_and_new(tmp_path: Path) -> None:
    for number, (said, tied, scaled) in enumerate(
        (
            ({}, True, True),
            ({"tie_word_embeddings": False}, False, False),
            ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, True, False),
        )
    ):
        model = new_model(T5_SIZES | said)
        assert (model.config.tied, model.config.is_scaled) == (tied, scaled)
        save_model(model, tmp_path / str(number))
        again = load_model(tmp_path / str(number))
        assert again.config == model.config
    path = tmp_path / "1" / "config.json"  # as new libraries write what old ones called untied
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": True}))
    assert not load_model(tmp_path / "1").config.tied


def test_bert_with_both_heads_of_its_pretraining_speaks_of_tokens_and_of_the_pair(tmp_path: Path) -> None:
    raw = BERT | {"model_type": "bert", "architectures": ["BertForPreTraining"]}
    save_model(new_model(raw), tmp_path)
    model = load_model(tmp_path)
    batch = Batch.of([4, 3], causal=False)
    ids = torch.arange(7)
    assert model(ids, batch, head="logits").shape == (7, V)
    assert model(ids, batch, head="logits", rows=torch.tensor([1, 5])).shape == (2, V)
    assert model(ids, batch, head="sentence").shape == (2, 2)
    assert model(ids, batch, head="pooled").shape == (2, 64)
    doubled = model(ids, batch, head=lambda hidden, last: 2 * last(hidden))
    assert torch.equal(doubled, 2 * model(ids, batch, head="logits"))


def test_heads_that_are_not_there_are_named() -> None:
    bare = new_model(BERT | {"model_type": "roberta", "architectures": ["RobertaModel"]})
    batch = Batch.of([4], causal=False)
    with pytest.raises(ModelUnavailable, match="no head for 'logits'"):
        bare(IDS[0], batch, head="logits")
    assert bare(IDS[0], batch, head="pooled").shape == (1, 64)
    masked = new_model(FRESH["bert"])
    with pytest.raises(ModelUnavailable, match="no pooler"):
        masked(IDS[0], batch, head="pooled")


@pytest.mark.parametrize("name", FRESH)
@pytest.mark.parametrize("head", ["classify", "", None, 3])
def test_a_head_that_no_model_of_the_family_has_is_named_with_those_there_are(name: str, head: Any) -> None:
    model = new_model(FRESH[name])
    with pytest.raises(UsageError, match=f"a {model.config.model_type} model has no head {head!r}") as raised:
        model(IDS[0], Batch.of([4], causal=model.causal), head=head)
    assert "'logits', 'hidden'" in raised.value.remedy
    assert ("'pooled'" in raised.value.remedy) == (model.config.model_type in ("bert", "roberta", "xlm-roberta"))


def test_a_decoder_has_no_pooler() -> None:
    for name in ("llama", "gpt2", "t5"):
        with pytest.raises(UsageError, match="no head 'pooled'"):
            new_model(FRESH[name])(IDS[0], Batch.of([4]), head="pooled")


def test_batches_that_look_the_wrong_way_are_refused() -> None:
    for name in ("bert", "t5"):
        with pytest.raises(ValueError, match="causal=False"):
            new_model(FRESH[name])(IDS[0], Batch.of([4]), head="hidden")
    t5 = new_model(FRESH["t5"])
    both = Batch.of([4], causal=False)
    with pytest.raises(ValueError, match="causal=True"):
        t5(IDS[0], both, decoder_input_ids=IDS[0], decoder_batch=both)
    with pytest.raises(ValueError, match="give decoder_input_ids"):
        dense(t5, IDS)
    with pytest.raises(ValueError, match="nothing to read"):
        t5(None, None, decoder_input_ids=IDS[0], decoder_batch=Batch.of([4]))


def test_an_encoder_writes_nothing_and_predicts_nothing() -> None:
    encoder = new_model(FRESH["bert"])
    alone = new_model(T5_SIZES | {"architectures": ["T5EncoderModel"]})
    with pytest.raises(ValueError, match="encoder: it writes nothing"):
        generate(encoder, [[1, 2]], 3)
    with pytest.raises(ValueError, match="encoder alone: it writes nothing"):
        generate(alone, [[1, 2]], 3)
    with pytest.raises(ValueError, match="predicts no next token"):
        token_logprobs(encoder, IDS[0], Batch.of([4], causal=False))


def test_a_prompt_beyond_the_learned_positions_is_refused() -> None:
    model = new_model(FRESH["gpt2"] | {"n_positions": 8})
    assert len(generate(model, [[1] * 6], 3)[0]) == 3
    with pytest.raises(ValueError, match="has 9 tokens, the model has places for 8"):
        generate(model, [[1] * 6], 4)
