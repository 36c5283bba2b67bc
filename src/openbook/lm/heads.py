"""A model with the head that a task needs: the checkpoint's own, or a fresh one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import nn

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_config
from openbook.lm.families.base import Family
from openbook.lm.families.bert import Bert
from openbook.lm.families.bert_config import HEADS, KINDS, HeadName
from openbook.lm.families.gpt2 import Gpt2
from openbook.lm.families.llama import Llama
from openbook.lm.load import load_model, new_model


class Headed(NamedTuple):
    """`fresh`: modules whose weights were drawn, so that they are to be trained."""

    model: Bert
    fresh: tuple[str, ...]


def load_with_head(
    directory: Path | str, head: HeadName, num_labels: int = 2, dtype: torch.dtype | None = None, seed: int = 0
) -> Headed:
    """The encoder in `directory` with this head. What the checkpoint does not have (a classifier, a pooler, the head of a masked
    LM) is drawn from `seed`; a head that is not asked for is left out.

    `num_labels` counts where the head does not say it itself. Raises ModelUnavailable for a model that is no encoder, and what
    `load_model` raises.
    """
    raw = read_config(Path(directory))
    if raw.get("model_type") not in KINDS:
        raise ModelUnavailable(
            f"{directory} is a {raw.get('model_type')} model, and a head like {head} stands on an encoder",
            f"use a checkpoint of type {', '.join(KINDS)}",
        )
    source = load_model(directory, dtype)
    assert isinstance(source, Bert)
    labels = HEADS[head].labels or num_labels
    if source.config.head == head and (not HEADS[head].has_classifier or source.config.num_labels == labels):
        return Headed(source, ())
    model = new_model(_config_with(raw, head, labels), source.dtype, seed)
    assert isinstance(model, Bert)
    fresh = _fill(model, source)
    model.drawn = fresh
    return Headed(model.eval().requires_grad_(False), fresh)


class Scored(NamedTuple):
    """A model that gives each sequence one number. `fresh`: modules whose weights were drawn, so that they are to be trained."""

    model: Family
    fresh: tuple[str, ...]


def load_with_score(directory: Path | str, dtype: torch.dtype | None = None, seed: int = 0) -> Scored:
    """The model in `directory` with a head of one label: over the last token of a decoder, or the first of an encoder.

    A head that the checkpoint does not have is zero, so that all scores are; an encoder's pooler, where it has none, is drawn
    from `seed`. Raises ModelUnavailable for an encoder-decoder, and what `load_model` raises.
    """
    raw = read_config(Path(directory))
    if raw.get("model_type") in KINDS:
        encoder, fresh = load_with_head(directory, "ForSequenceClassification", 1, dtype, seed)
        if "classifier" in fresh and encoder.classifier is not None:
            _make_zero(encoder.classifier)
        return Scored(encoder, fresh)
    source = load_model(directory, dtype)
    if not isinstance(source, Llama | Gpt2):
        raise ModelUnavailable(
            f"{directory} is a {raw.get('model_type')} model, which has no head for a score",
            "use a decoder like Llama or GPT-2, or an encoder like BERT",
        )
    if source.config.num_labels == 1:
        return Scored(source, ())
    model = new_model({**raw, "architectures": [_CLASSIFIER], "num_labels": 1, "id2label": None}, source.dtype, seed)
    model.drawn = _fill(model, source)
    _make_zero(model.get_submodule("lm_head"))
    return Scored(model.eval().requires_grad_(False), model.drawn)


_CLASSIFIER = "ForSequenceClassification"
"""Any family's: `config.raw` writes the whole name."""


@torch.no_grad()
def _make_zero(head: nn.Module) -> None:
    for parameter in head.parameters():
        parameter.zero_()


_HEAD_TENSORS: dict[str, HeadName] = {
    "qa_outputs.weight": "ForQuestionAnswering",
    "cls.seq_relationship.weight": "ForNextSentencePrediction",
    "classifier.weight": "ForSequenceClassification",
    "classifier.out_proj.weight": "ForSequenceClassification",
}


def head_of_adapter(adapter: Path) -> tuple[HeadName, int] | None:
    """The head that was trained whole beside an adapter, and its labels; None where it has none."""
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (it is no mapping)
            for end, head in _HEAD_TENSORS.items():
                if name.endswith(f".{end}"):
                    return head, int(file.get_slice(name).get_shape()[0])
    return None


def is_of_score(adapter: Path) -> bool:
    """Whether the head of a decoder that gives each sequence one number was trained whole beside an adapter."""
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        return any(name.endswith(".score.weight") for name in file.keys())  # noqa: SIM118 (it is no mapping)


def config_with_head(raw: dict[str, Any], head: HeadName, num_labels: int) -> dict[str, Any]:
    """The config.json of a fresh encoder with this head."""
    return _config_with(raw, head, HEADS[head].labels or num_labels)


def _config_with(raw: dict[str, Any], head: HeadName, labels: int) -> dict[str, Any]:
    said = {key: value for key, value in raw.items() if key not in ("id2label", "label2id", "num_labels")}
    named = {"id2label": {str(number): f"LABEL_{number}" for number in range(labels)}}
    architecture = KINDS[raw["model_type"]].architecture + head
    return said | {"architectures": [architecture]} | (named if HEADS[head].has_classifier else {})


@torch.no_grad()
def _fill(model: Family, source: Family) -> tuple[str, ...]:
    """Copies what both have in the same shape; the modules that are left."""
    there = dict(source.named_parameters(remove_duplicate=False))
    fresh: dict[str, None] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        own = there.get(name)
        if own is not None and own.shape == parameter.shape:
            parameter.copy_(own)
        else:
            fresh[name.rpartition(".")[0]] = None
    return tuple(fresh)
