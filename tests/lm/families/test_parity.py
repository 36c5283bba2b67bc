"""Every family against transformers: logits, gradients, greedy tokens, and checkpoints in both directions."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lm.families import configs
from lm.families.configs import VOCAB, Raw
from lm.families.reference import assert_close, assert_same_gradients, config_of, drawn, ours, theirs
from lm.families.test_initial import FRESH
from openbook.lm.dense import dense
from openbook.lm.generate import generate
from openbook.lm.load import empty_model
from openbook.lm.nn.balance import balance_loss, router_logits
from openbook.lm.nn.batch import Batch
from openbook.lm.score import target_logprobs, token_logprobs

SEEDS = st.integers(0, 99)
QUICK = settings(phases=(Phase.explicit, Phase.reuse, Phase.generate))  # an example takes 0.1 s: no shrinking
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=3)


def padded(lengths: list[int], seed: int, low: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T), padded on the right; ids from `low` on, which is beyond all tokens of padding."""
    shape = len(lengths), max(lengths)
    ids = torch.randint(low, VOCAB, shape, generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
    return ids * mask, mask


def check_decoder(raw: Raw, lengths: list[int], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reference = drawn(raw, seed)
        model = ours(reference, Path(folder, "theirs"))
        ids, mask = padded(lengths, seed)
        wanted = reference(ids, attention_mask=mask).logits * mask[..., None]
        assert_close(dense(model, ids, mask), wanted, 1e-5)
        if raw.get("rope_parameters", {}).get("rope_type") != "longrope":  # which looks at the longest of a batch
            prompts = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
            assert generate(model, prompts, 4) == [generate(model, [one], 4)[0] for one in prompts]
        prompt = ids[:1, : lengths[0]]
        check_score(model, reference, prompt)
        if model.config.model_type in ("mixtral", "qwen2_moe", "qwen3_moe"):
            check_balance(model, reference, ids, mask)
        new = reference.generate(prompt, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert generate(model, prompt.tolist(), 4) == [new[0, lengths[0] :].tolist()]
        back = theirs(model, raw, Path(folder, "ours"))
        assert_close(back(prompt).logits, reference(prompt).logits, 1e-5)
        model.requires_grad_(True)
        for logits in (dense(model, prompt), reference(prompt).logits):
            F.cross_entropy(logits[0], (prompt[0] + 1) % VOCAB).backward()
        assert_same_gradients(model, reference, Path(folder, "gradients"))


def check_score(model: Any, reference: Any, prompt: torch.Tensor) -> None:
    """The mean of our log-probabilities is transformers' loss."""
    if prompt.shape[1] > 1:
        found = token_logprobs(model, prompt[0], Batch.of([prompt.shape[1]]))
        assert_close(-found[1:].mean(), reference(prompt, labels=prompt).loss, 1e-5)


def check_balance(model: Any, reference: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
    with router_logits(model) as said:
        dense(model, ids, mask)
    if said:
        wanted = reference(ids, attention_mask=mask, output_router_logits=True).aux_loss
        assert_close(balance_loss(said, model.config.experts_per_token), wanted, 1e-5)


@QUICK
@given(raw=configs.decoders(), lengths=LENGTHS, seed=SEEDS)
def test_decoders(raw: Raw, lengths: list[int], seed: int) -> None:
    check_decoder(raw, lengths, seed)


@pytest.mark.parametrize("kind", configs.LLAMA_KINDS)
def test_each_kind_of_llama(kind: str) -> None:
    @given(raw=configs.llama((kind,)), seed=SEEDS)
    @settings(QUICK, max_examples=max(3, settings.default.max_examples // 3))
    def check(raw: Raw, seed: int) -> None:
        check_decoder(raw, [12, 4], seed)

    check()


NEEDED = {
    "vocab_size",
    "model_type",
    "architectures",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_local_experts",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "n_embd",
    "n_head",
    "n_layer",
    "n_positions",
    "d_model",
    "d_kv",
    "d_ff",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "num_layers",
    "num_heads",
}


def with_factor(config: Any) -> Any:
    """LongRoPE's factor is told, or is the longest length over the original one, which transformers writes down."""
    scaling = getattr(config, "rope_scaling", None)
    if scaling is None or scaling.kind != "longrope" or scaling.factor != 1.0:
        return config
    return replace(config, rope_scaling=replace(scaling, factor=config.max_seq_len / scaling.original_max_seq_len))


@QUICK
@given(raw=configs.decoders() | configs.encoders() | configs.t5(), data=st.data())
def test_what_config_json_does_not_say_means_what_transformers_means(raw: Raw, data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(set(raw) - NEEDED))))
    if "short_factor" in raw.get("rope_parameters", {}):
        kept |= {"head_dim"}  # there is a factor for each pair of its channels
    raw = {key: value for key, value in raw.items() if key in NEEDED | kept}
    whole = config_of(raw).to_dict() | {key: raw[key] for key in ("architectures",) if key in raw}
    found, wanted = (with_factor(empty_model(said, "").config) for said in (raw, whole))
    if raw["model_type"] == "t5":  # the tying of which is in the weights, see t5_config
        found, wanted = replace(found, tied=True), replace(wanted, tied=True)
    assert found == wanted


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "qwen2_moe"])
@pytest.mark.parametrize("first", [None, 0, 3])
def test_layers_with_a_window_are_those_of_transformers(kind: str, first: int | None) -> None:
    raw: Raw = FRESH[kind] | {"use_sliding_window": True, "num_hidden_layers": 30} | {"max_window_layers": first}
    raw = {key: value for key, value in raw.items() if value is not None}
    types = ["full_attention" if one is None else "sliding_attention" for one in empty_model(raw, "").config.windows]
    assert types == config_of(raw).layer_types


def outputs(said: Any) -> torch.Tensor:
    """The first tensor that a model says, spans as (B, T, 2)."""
    return torch.stack([said[0], said[1]], dim=-1) if "start_logits" in said else said[0]


def check_encoder(raw: Raw, lengths: list[int], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reference = drawn(raw, seed)
        model = ours(reference, Path(folder, "theirs"))
        back = theirs(model, raw, Path(folder, "ours"))
        ids, mask = padded(lengths, seed)
        choice = "MultipleChoice" in raw["architectures"][0]
        ids, mask = (ids[:1], mask[:1]) if choice else (ids, mask)

        def said(one: Any) -> torch.Tensor:
            found = one(ids[None], attention_mask=mask[None]) if choice else one(ids, attention_mask=mask)
            return outputs(found)

        wanted = said(reference)
        assert_close(said(back), wanted, 1e-5)
        found = dense(model, ids, mask)
        real = mask[..., None] if wanted.dim() == 3 else 1
        assert_close(found * real, wanted * real, 1e-5)
        model.requires_grad_(True)
        (dense(model, ids, mask) * real).square().sum().backward()
        (wanted * real).square().sum().backward()
        assert_same_gradients(model, reference, Path(folder, "gradients"))


@QUICK
@given(raw=configs.encoders(), lengths=LENGTHS, seed=SEEDS)
def test_encoders(raw: Raw, lengths: list[int], seed: int) -> None:
    check_encoder(raw, lengths, seed)


@QUICK
@given(raw=configs.t5(), lengths=LENGTHS, written=st.integers(1, 12), seed=SEEDS)
def test_t5(raw: Raw, lengths: list[int], written: int, seed: int) -> None:
    if raw["architectures"] == ["T5EncoderModel"]:
        return check_encoder(raw, lengths, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = drawn(raw, seed)
        model = ours(reference, Path(folder, "theirs"))
        back = theirs(model, raw, Path(folder, "ours"))
        ids, mask = padded(lengths, seed)
        begun = torch.randint(2, VOCAB, (len(lengths), written), generator=torch.Generator().manual_seed(seed + 1))
        wanted = reference(ids, mask, decoder_input_ids=begun).logits
        assert_close(back(ids, mask, decoder_input_ids=begun).logits, wanted, 1e-5)
        assert_close(dense(model, ids, mask, decoder_input_ids=begun), wanted, 1e-5)
        batch, whole = Batch.of(lengths, causal=False), Batch.of([written] * len(lengths))
        found = -target_logprobs(model, ids[mask.bool()], batch, begun.flatten(), whole).mean()
        assert_close(found, reference(ids, mask, labels=begun).loss, 1e-5)
        new = reference.generate(
            ids, attention_mask=mask, max_new_tokens=5, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        prompts = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
        assert generate(model, prompts, 5) == new[:, 1:].tolist()
        model.requires_grad_(True)
        for logits in (dense(model, ids, mask, decoder_input_ids=begun), wanted):
            F.cross_entropy(logits.flatten(0, 1), begun.flatten()).backward()
        assert_same_gradients(model, reference, Path(folder, "gradients"))
        return None
