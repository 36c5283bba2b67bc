"""adapter_config.json: our settings as PEFT writes them, and PEFT's as ours. What we do not have is refused by name.

Bottleneck adapters have no kind in PEFT: they get one of ours, which PEFT refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.nn.activation import ACTIVATIONS

N = TypeVar("N", int, float)
BOTTLENECK = "OPENBOOK_BOTTLENECK"
KINDS = ("LORA", "PREFIX_TUNING", "PROMPT_TUNING", BOTTLENECK)
_MUST_BE = {
    "bias": ("none", None),
    "lora_bias": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (None, False),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "velora_config": (None,),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal"),
    "num_transformer_submodules": (1, None),
}
"""What PEFT can do to a LoRA or a prefix beyond our settings, and the values that mean that it does not."""


def to_peft(settings: Settings, config: Any, is_causal: bool) -> dict[str, Any]:
    """The adapter_config.json of settings whose names are the checkpoint's."""
    common: dict[str, Any] = {"base_model_name_or_path": None, "inference_mode": True}
    if is_causal:
        common["task_type"] = "CAUSAL_LM"
    match settings:
        case LoraSettings():
            return common | {
                "peft_type": "LORA",
                "r": settings.r,
                "lora_alpha": settings.alpha,
                "lora_dropout": settings.dropout,
                "target_modules": list(settings.target_modules),
                "modules_to_save": list(settings.trained_modules) or None,
                "ensure_weight_tying": bool(settings.trained_modules),
                "use_rslora": settings.is_rank_stabilized,
                "use_dora": settings.is_dora,
                "rank_pattern": dict(settings.rank_pattern),
                "alpha_pattern": dict(settings.alpha_pattern),
                "bias": "none",
            }
        case BottleneckSettings():
            return common | {
                "peft_type": BOTTLENECK,
                "size": settings.size,
                "activation": settings.activation,
                "target_modules": list(settings.target_modules),
            }
        case PrefixSettings():
            return (
                common
                | _sizes(config, config.num_kv_heads, config.num_kv_heads * config.head_dim)
                | {
                    "peft_type": "PREFIX_TUNING",
                    "num_virtual_tokens": settings.num_virtual_tokens,
                    "prefix_projection": False,  # what is saved is what the network made
                    "encoder_hidden_size": settings.projection_size or config.num_kv_heads * config.head_dim,
                }
            )
        case PromptSettings():
            return (
                common
                | _sizes(config, config.num_heads, config.hidden_size)
                | {
                    "peft_type": "PROMPT_TUNING",
                    "num_virtual_tokens": settings.num_virtual_tokens,
                    "prompt_tuning_init": "RANDOM",
                }
            )


def _sizes(config: Any, heads: int, width: int) -> dict[str, Any]:
    return {
        "num_layers": config.num_layers,
        "num_attention_heads": heads,
        "token_dim": width,
        "num_transformer_submodules": 1,
    }


def from_peft(said: Mapping[str, Any], source: str) -> Settings:
    """The settings in an adapter_config.json. ModelUnavailable names what is not known or cannot be."""
    try:
        return _read(said, source)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ModelUnavailable(f"{source}: {error!r}", "copy the adapter again") from error


def _read(said: Mapping[str, Any], source: str) -> Settings:
    kind = said.get("peft_type")
    if kind not in KINDS:
        raise ModelUnavailable(f"{source} is of kind {kind!r}", f"known are {', '.join(KINDS)}")
    for key, allowed in _MUST_BE.items():
        if key in said and said[key] not in allowed:
            raise ModelUnavailable(
                f"{source} sets {key} to {said[key]!r}, which is not made here", "merge it into its base with PEFT"
            )
    if kind == "PREFIX_TUNING":
        return PrefixSettings(int(said["num_virtual_tokens"]))
    if kind == "PROMPT_TUNING":
        return PromptSettings(int(said["num_virtual_tokens"]))
    wanted = said.get("target_modules") or ()
    targets = tuple(str(one) for one in ((wanted,) if isinstance(wanted, str) else wanted))
    if kind == BOTTLENECK:
        activation = said["activation"]
        if activation not in ACTIVATIONS.values():
            raise ModelUnavailable(f"{source}: activation {activation!r} is not known", "copy the adapter again")
        return BottleneckSettings(int(said["size"]), activation, targets)
    return LoraSettings(
        r=int(said["r"]),
        alpha=float(said["lora_alpha"]),
        dropout=float(said.get("lora_dropout") or 0.0),
        target_modules=targets,
        is_rank_stabilized=bool(said.get("use_rslora")),
        is_dora=bool(said.get("use_dora")),
        trained_modules=tuple(str(one) for one in said.get("modules_to_save") or ()),
        rank_pattern=_pattern(said, "rank_pattern", int, source),
        alpha_pattern=_pattern(said, "alpha_pattern", float, source),
    )


def _pattern(said: Mapping[str, Any], key: str, number: Callable[[Any], N], source: str) -> dict[str, N]:
    pattern = {str(end): number(value) for end, value in (said.get(key) or {}).items()}
    if odd := next(
        (end for end in pattern if not all(part.replace("_", "").isalnum() for part in end.split("."))), None
    ):
        raise ModelUnavailable(f"{source}: {key} has the expression {odd!r}", "name modules or ends of their names")
    return pattern
