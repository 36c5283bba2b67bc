"""What a recipe's adapter becomes."""

from __future__ import annotations

from openbook.lm.adapters.settings import PrefixSettings
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.begin import P_TUNING_SIZE, adapter_settings
from openbook.training.recipe_parts import AdapterPart


def test_p_tuning_has_a_network_without_being_asked_and_a_prefix_has_none() -> None:
    tokenizer = default_tokenizer()
    assert adapter_settings(AdapterPart(kind="prefix"), tokenizer) == PrefixSettings()
    assert adapter_settings(AdapterPart(kind="p-tuning"), tokenizer) == PrefixSettings(projection_size=P_TUNING_SIZE)
    asked = AdapterPart(kind="p-tuning", num_virtual_tokens=4, projection_size=16)
    assert adapter_settings(asked, tokenizer) == PrefixSettings(num_virtual_tokens=4, projection_size=16)
