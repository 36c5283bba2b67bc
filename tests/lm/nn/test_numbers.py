"""The numbers of a config.json that are no sizes: each is read by a family, and refused by name where it cannot be."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from lm.families.test_initial import FRESH
from openbook.core.errors import ModelUnavailable
from openbook.lm.load import empty_model
from openbook.lm.nn.numbers import ALLOWED, read_number, read_numbers, read_size

LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0] * 8}
OF_A_FAMILY = {
    "rms_norm_eps": ("llama", "qwen3_moe"),
    "layer_norm_eps": ("bert", "roberta"),
    "layer_norm_epsilon": ("gpt2", "t5"),
    "rope_theta": ("llama", "mixtral"),
}
WRONG = (nan, inf, -inf, -1.0, 1e300, "many", [1.0], True, {})


def with_number(name: str, key: str, value: Any) -> dict[str, Any]:
    """The config.json of a family in which `key` is `value`."""
    if key in OF_A_FAMILY:
        return FRESH[name] | {key: value}
    said: dict[str, Any] = {"rope_type": "yarn", "factor": 2.0}
    if key.endswith("freq_factor"):
        said = {"rope_type": "llama3", "factor": 2.0}
    if key in ("short_factor", "long_factor"):
        return FRESH[name] | {"rope_scaling": LONG | {key: [1.0] * 7 + [value]}}
    return FRESH[name] | {"rope_scaling": said | {key: value}}


@pytest.mark.parametrize("key", ALLOWED)
def test_a_number_that_cannot_be_is_refused_by_name(key: str) -> None:
    for name in OF_A_FAMILY.get(key, ("llama", "qwen2")):
        empty_model(with_number(name, key, min(ALLOWED[key].high, 2.0)), "a test")
        for value in WRONG:
            with pytest.raises(ModelUnavailable, match=rf"\b{key} .*(must be|is no number)"):
                empty_model(with_number(name, key, value), "a test")


@pytest.mark.parametrize("key", [key for key in ALLOWED if not key.startswith("mscale")])
def test_zero_is_no_number_to_divide_by(key: str) -> None:
    for name in OF_A_FAMILY.get(key, ("llama",)):
        with pytest.raises(ModelUnavailable, match=f"{key} 0"):
            empty_model(with_number(name, key, 0), "a test")


def test_factors_of_llama3_that_would_divide_by_zero_are_refused() -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}
    with pytest.raises(ModelUnavailable, match=r"low_freq_factor 4\.0 must be below high_freq_factor 4\.0"):
        empty_model(FRESH["llama"] | {"rope_scaling": scaling}, "a test")


def test_what_is_null_or_not_there_is_the_default() -> None:
    assert read_number({}, "rope_theta", 5.0) == read_number({"rope_theta": None}, "rope_theta", 5.0) == 5.0
    assert read_number({"rms_norm_eps": "1e-5"}, "rms_norm_eps", 1e-6) == 1e-5
    assert read_numbers({"short_factor": None}, "short_factor") == ()
    with pytest.raises(ValueError, match="must be a list"):
        read_numbers({"short_factor": 2.0}, "short_factor")


SIZES = {
    "llama": ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
              "intermediate_size", "max_position_embeddings"),
    "qwen3_moe": ("num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step"),
    "gpt2": ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "n_inner"),
    "bert": ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings",
             "type_vocab_size"),
    "t5": ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
           "relative_attention_num_buckets"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in SIZES.items() for key in keys])
def test_a_size_that_cannot_be_is_refused_by_name(name: str, key: str) -> None:
    for value in (nan, inf, -1, 2.5, "8", True, [8], 1e300, 10**30):
        with pytest.raises(ModelUnavailable, match=rf"\b{key} (is [0-9einf+]+, at most|.*must be a whole number)"):
            empty_model(FRESH[name] | {key: value}, "a test")


def test_a_size_is_a_whole_number_or_its_default() -> None:
    assert read_size({"n": 8.0}, "n") == 8
    assert read_size({"n": None}, "n", 3) == read_size({}, "n", 3) == 3
    assert read_size({"n": 0}, "n", 3, least=0) == 0
    with pytest.raises(KeyError):
        read_size({}, "n")
    with pytest.raises(ValueError, match="n None must be"):
        read_size({"n": None}, "n")


@pytest.mark.parametrize("said", [[1], "yarn", 3])
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_a_scaling_that_is_no_object_is_told(key: str, said: Any) -> None:
    with pytest.raises(ModelUnavailable, match=f"{key} .* must be an object, or null"):
        empty_model(FRESH["llama"] | {key: said}, "a test")


def test_an_activation_that_is_no_name_is_told() -> None:
    with pytest.raises(ModelUnavailable, match=r"hidden_act \['silu'\] is not one of"):
        empty_model(FRESH["llama"] | {"hidden_act": ["silu"]}, "a test")
