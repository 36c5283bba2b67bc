"""The numbers of a config.json that are no sizes: each is read by a family, and refused by name where it cannot be."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from lm.families.test_initial import FRESH
from openbook.core.errors import ModelUnavailable
from openbook.lm.load import empty_model
from openbook.lm.nn.numbers import ALLOWED, read_number, read_numbers

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
