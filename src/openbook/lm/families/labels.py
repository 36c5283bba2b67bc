"""A decoder that gives a sequence labels in place of a vocabulary: how config.json says so, read without torch.

transformers calls it `...ForSequenceClassification`: one matrix, `score`, over the last token of a sequence. A reward model is
one with a single label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ENDING = "ForSequenceClassification"
_UNSAID = 2
"""Labels where config.json is silent, as transformers has it."""


def labels_of(raw: Mapping[str, Any]) -> int:
    """How many labels the head gives; 0 for a head over the vocabulary. ValueError for a number that cannot be."""
    architectures = raw.get("architectures") or ("",)
    if not str(architectures[0]).endswith(_ENDING):
        return 0
    said = raw.get("num_labels", len(raw.get("id2label") or ()) or _UNSAID)
    if not isinstance(said, int) or said < 1:
        raise ValueError(f"num_labels is {said!r}; it must be 1 or more")
    return said


def raw_labels(architecture: str, num_labels: int) -> dict[str, Any]:
    """The entries of config.json: of "LlamaForCausalLM" with 0 labels itself, with some its classifier."""
    if not num_labels:
        return {"architectures": [architecture]}
    base = architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    return {"architectures": [base + _ENDING], "num_labels": num_labels}
