"""What transformers makes of a configuration: a model with drawn weights, and the ways to compare it with ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from torch import Tensor, nn

from openbook.lm.families.base import Family
from openbook.lm.load import load_model, save_model

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def class_of(raw: dict[str, Any]) -> Any:
    """The class of `architectures`, or the one that writes text."""
    if named := raw.get("architectures"):
        return getattr(transformers, named[0])
    return transformers.AutoModelForCausalLM


def config_of(raw: dict[str, Any]) -> Any:
    settings = {key: value for key, value in raw.items() if key not in ("model_type", "architectures")}
    return transformers.AutoConfig.for_model(raw["model_type"], **settings)


def drawn(raw: dict[str, Any], seed: int = 0) -> Any:
    """The model, every parameter of it drawn: norms around 1, all else around 0, wide enough that all of it matters."""
    config = config_of(raw)
    made = class_of(raw)
    torch.manual_seed(seed)
    build = made.from_config if made is transformers.AutoModelForCausalLM else made._from_config
    model = build(config, attn_implementation="eager").eval()
    if raw["model_type"] == "t5" and raw.get("tie_word_embeddings") is False and hasattr(model, "lm_head"):
        untie(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
            if "norm" in name.lower() or ".ln_" in name:
                parameter.add_(1.0)
    return model


def untie(model: Any) -> None:
    """transformers ties the head of every T5 until it reads a checkpoint that has one."""
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    model.all_tied_weights_keys.pop("lm_head.weight")


def ours(model: Any, directory: Path) -> Family:
    """The model as we read what transformers writes."""
    model.save_pretrained(directory)
    return load_model(directory)


def theirs(model: Family, raw: dict[str, Any], directory: Path) -> Any:
    """The model as transformers reads what we write; nothing may be missing or left over."""
    save_model(model, directory)
    found, said = class_of(raw).from_pretrained(directory, output_loading_info=True, attn_implementation="eager")
    assert not any(said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")), said
    return found.eval()


def assert_close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Within `tolerance`, relative to the largest number that is wanted where that is above 1."""
    found, wanted = found.detach(), wanted.detach()
    assert found.shape == wanted.shape
    assert torch.isfinite(wanted).all()
    assert float((found - wanted).abs().max()) <= tolerance * max(1.0, float(wanted.abs().max()))


def assert_same_gradients(model: Family, reference: Any, directory: Path) -> None:
    """The gradients of both, compared by way of a checkpoint that holds the reference's in place of its weights.

    Within 1e-4 of the largest.
    """
    grads = {name: one.grad for name, one in model.named_parameters()}
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    wanted = dict(ours(reference, directory).named_parameters())
    largest = max(float(one.abs().max()) for one in wanted.values())
    for name, one in wanted.items():
        found = grads[name]
        found = torch.zeros_like(one) if found is None else found
        assert float((found - one).abs().max()) <= 1e-4 * largest, name
