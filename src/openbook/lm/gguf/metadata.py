"""The settings of a model as GGUF keys, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.lm.families.llama_config import KINDS, LlamaConfig
from openbook.lm.gguf.names import ARCHITECTURES

_SCALINGS = {"default": "none", "linear": "linear", "yarn": "yarn", "llama3": "none", "longrope": "none"}
"""Llama-3's and LongRoPE's stretching are tensors of factors in a GGUF file."""


def to_keys(config: LlamaConfig) -> dict[str, Any]:
    """GGUF key -> int or float or str. ModelUnavailable for what llama.cpp would compute differently."""
    architecture = ARCHITECTURES[config.model_type]
    scaling = config.rope_scaling
    if scaling.kind not in _SCALINGS:
        raise ModelUnavailable(f"GGUF has no rope scaling {scaling.kind!r}", f"it has {sorted(_SCALINGS)}")
    if config.activation != "silu":
        raise ModelUnavailable(f"llama.cpp has no {config.activation!r} in this architecture", "convert to safetensors")
    keys: dict[str, Any] = {
        "context_length": context_length(config),
        "embedding_length": config.hidden_size,
        "block_count": config.num_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope_theta,
        "vocab_size": config.vocab_size,
    }
    if (kind := _SCALINGS[scaling.kind]) != "none":
        keys |= {"rope.scaling.type": kind, "rope.scaling.factor": scaling.factor}
    if scaling.original_max_seq_len:
        keys["rope.scaling.original_context_length"] = scaling.original_max_seq_len
    return {f"{architecture}.{key}": value for key, value in keys.items()}


def context_length(config: LlamaConfig) -> int:
    """The tokens for which llama.cpp gives what we give: it has no window in these architectures, so at most the window."""
    return min([config.max_seq_len, *(window for window in config.windows if window is not None)])


def to_raw(keys: Mapping[str, Any], *, tied: bool, has_qkv_bias: bool, has_mlp_bias: bool) -> dict[str, Any]:
    """A config.json from GGUF keys. ModelUnavailable names an architecture or scaling that is not known."""
    architecture = keys.get("general.architecture")
    if architecture not in set(ARCHITECTURES.values()):
        raise ModelUnavailable(
            f"the GGUF file holds a model of architecture {architecture!r}",
            f"known are {', '.join(sorted(set(ARCHITECTURES.values())))}",
        )

    def get(key: str, default: Any = None) -> Any:
        value = keys.get(f"{architecture}.{key}", default)
        if value is None:
            raise ModelUnavailable(f"the GGUF file lacks {architecture}.{key}", "get a complete copy")
        return value

    kind = get("rope.scaling.type", "none")
    if kind not in ("none", "linear", "yarn"):
        raise ModelUnavailable(f"the GGUF file scales its positions by {kind!r}", "known are none, linear and yarn")
    heads, hidden = int(get("attention.head_count")), int(get("embedding_length"))
    scaling = None
    if kind != "none":
        scaling = {"rope_type": kind, "factor": float(get("rope.scaling.factor"))}
        if original := keys.get(f"{architecture}.rope.scaling.original_context_length"):
            scaling["original_max_position_embeddings"] = int(original)
    return {
        "model_type": architecture,
        "architectures": [KINDS[architecture].architecture],
        "vocab_size": int(keys.get(f"{architecture}.vocab_size") or len(keys.get("tokenizer.ggml.tokens", ()))),
        "hidden_size": hidden,
        "num_hidden_layers": int(get("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(get("attention.head_count_kv", heads)),
        "head_dim": int(get("attention.key_length", hidden // heads)),
        "intermediate_size": int(get("feed_forward_length")),
        "max_position_embeddings": int(get("context_length")),
        "rope_theta": float(get("rope.freq_base", 10_000.0)),
        "rope_scaling": scaling,
        "rms_norm_eps": float(get("attention.layer_norm_rms_epsilon")),
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "attention_bias": has_qkv_bias,
        "mlp_bias": has_mlp_bias,
        **{
            f"{name}_token_id": int(keys[key])
            for name in ("bos", "eos")
            if (key := f"tokenizer.ggml.{name}_token_id") in keys
        },
        **({"pad_token_id": int(keys[key])} if (key := "tokenizer.ggml.padding_token_id") in keys else {}),
    }
