"""Fresh adapters for a model: what each kind of settings puts where, and which models can take it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.bottleneck import Bottleneck
from openbook.lm.adapters.lora import Lora, dense_weight
from openbook.lm.adapters.packed_base import PackedBase
from openbook.lm.adapters.plan import linear_targets, whole_targets
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.adapters.slot import Change, Table, Whole
from openbook.lm.adapters.virtual import Prefix, Prompt, Virtual
from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Packed
from openbook.lm.quantization.nf4 import Nf4Linear


def check_takes(model: Family, settings: Settings) -> None:
    """UsageError when the model is made ready for inference, or is none that virtual tokens can stand before."""
    taking = {one.inner for one in model.modules() if isinstance(one, PackedBase)}
    each = ((name, one) for name, one in model.named_modules() if isinstance(one, Packed) and one not in taking)
    if packed := next((name for name, one in each if not isinstance(one, Nf4Linear | PackedBase)), None):
        raise UsageError(f"{packed} is packed for inference", "put the adapter on the model before it is prepared")
    is_virtual = isinstance(settings, PrefixSettings | PromptSettings)
    if is_virtual and not (model.causal and hasattr(model.config, "num_kv_heads")):
        raise UsageError(
            f"virtual tokens stand in the cache of a decoder, and {model.config.model_type!r} keeps none",
            "use LoRA or bottleneck adapters",
        )


def fresh_changes(
    model: Family, table: Table, settings: LoraSettings | BottleneckSettings, generator: torch.Generator
) -> dict[str, Change]:
    """Module -> what the adapter does there, drawn from the generator. UsageError for targets that cannot be."""
    changes: dict[str, Change] = {}
    for ours, theirs, base in linear_targets(model, table, settings.target_modules):
        if isinstance(settings, BottleneckSettings):
            narrow = Bottleneck(dense_weight(base).shape[0], settings.size, settings.activation).to(model.device)
            narrow.initialise(generator)
            changes[ours] = narrow
        else:
            names = ours, theirs
            rank, scale = settings.rank_of(*names), settings.scale_of(*names)
            low = Lora(base, rank, scale, settings.dropout, is_dora=settings.is_dora)
            low.initialise(generator)
            changes[ours] = low
    if isinstance(settings, LoraSettings):
        copies: dict[int, nn.Parameter] = {}
        for ours, _, base in whole_targets(model, table, settings.trained_modules):
            if ours in changes:
                raise UsageError(f"{ours} is both in target_modules and in trained_modules", "leave it out of one")
            changes[ours] = Whole(_copied(base, copies))
    return changes


def _copied(base: nn.Module, copies: dict[int, nn.Parameter]) -> nn.Module:
    """A copy of the module; where two share a parameter, their copies share one too."""
    twin = copy.deepcopy(base)
    for name, parameter in base.named_parameters(recurse=False):
        setattr(twin, name, copies.setdefault(id(parameter), twin.get_parameter(name)))
    return twin


def fresh_virtual(model: Family, settings: PrefixSettings | PromptSettings, generator: torch.Generator) -> Virtual:
    """The virtual tokens, drawn from the generator. UsageError for initial ids that the model does not have."""
    if isinstance(settings, PrefixSettings):
        prefix = Prefix(model, settings.num_virtual_tokens, settings.projection_size)
        prefix.initialise(generator)
        return prefix
    if (
        settings.initial_ids
        and not 0 <= min(settings.initial_ids) <= max(settings.initial_ids) < model.config.vocab_size
    ):
        raise UsageError(
            f"an initial id is not in 0..{model.config.vocab_size - 1}", "encode the text with the base's tokenizer"
        )
    prompt = Prompt(settings.num_virtual_tokens, model.config.hidden_size)
    prompt.initialise(model, settings.initial_ids, generator)
    return prompt
