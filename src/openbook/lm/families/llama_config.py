"""The settings of decoder-only checkpoints of the Llama kind, read without torch: Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openbook.lm.nn.activation import ACTIVATIONS, CHECKPOINT_NAMES, Activation
from openbook.lm.nn.rope_config import RopeScaling, read_scaling


class Kind(NamedTuple):
    """What one `model_type` does differently. `window`: it may use a sliding window without saying so a layer."""

    architecture: str
    qkv_bias: bool = False
    qk_norm: bool = False
    window: bool = False


KINDS: dict[str, Kind] = {
    "llama": Kind("LlamaForCausalLM"),
    "mistral": Kind("MistralForCausalLM", window=True),
    "qwen2": Kind("Qwen2ForCausalLM", qkv_bias=True),
    "qwen3": Kind("Qwen3ForCausalLM", qk_norm=True),
}


@dataclass(frozen=True)
class LlamaConfig:
    """`windows`: of each layer, None where it sees everything before it."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_seq_len: int
    rope_theta: float
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    norm_eps: float = 1e-6
    activation: Activation = "silu"
    tied: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    windows: tuple[int | None, ...] = ()
    model_type: str = "llama"

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> LlamaConfig:
        """Raises KeyError for what is missing and ValueError for what cannot be."""
        kind = KINDS.get(raw.get("model_type", ""))
        if kind is None:
            raise ValueError(f"model_type {raw.get('model_type')!r} is not one of {sorted(KINDS)}")
        act = raw.get("hidden_act", "silu")
        if act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {act!r} is not one of {sorted(ACTIVATIONS)}")
        hidden, heads, layers = int(raw["hidden_size"]), int(raw["num_attention_heads"]), int(raw["num_hidden_layers"])
        bias = bool(raw.get("attention_bias", False))
        theta, scaling = read_scaling(raw)
        config = cls(
            vocab_size=int(raw["vocab_size"]),
            hidden_size=hidden,
            num_layers=layers,
            num_heads=heads,
            num_kv_heads=int(raw.get("num_key_value_heads") or heads),
            head_dim=int(raw.get("head_dim") or hidden // heads),
            intermediate_size=int(raw["intermediate_size"]),
            max_seq_len=int(raw.get("max_position_embeddings", 2_048)),
            rope_theta=theta,
            rope_scaling=scaling,
            norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
            activation=ACTIVATIONS[act],
            tied=bool(raw.get("tie_word_embeddings", False)),
            qkv_bias=kind.qkv_bias or bias,
            out_bias=bias,
            mlp_bias=bool(raw.get("mlp_bias", False)),
            qk_norm=kind.qk_norm,
            windows=_windows(raw, kind, layers),
            model_type=raw["model_type"],
        )
        config.check()
        return config

    def raw(self) -> dict[str, Any]:
        """The entries of a config.json that `of` reads."""
        kind = KINDS[self.model_type]
        window = next((one for one in self.windows if one is not None), None)
        types = ["full_attention" if one is None else "sliding_attention" for one in self.windows]
        return {
            "model_type": self.model_type,
            "architectures": [kind.architecture],
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_seq_len,
            **self.rope_scaling.raw(self.rope_theta),
            "rms_norm_eps": self.norm_eps,
            "hidden_act": CHECKPOINT_NAMES[self.activation],
            "tie_word_embeddings": self.tied,
            "attention_bias": self.out_bias,
            "mlp_bias": self.mlp_bias,
            "sliding_window": window,
            "use_sliding_window": window is not None,
            **({} if kind.window else {"layer_types": types}),
        }

    def check(self) -> None:
        """Raises ValueError for shapes that cannot be."""
        sizes = (
            self.vocab_size,
            self.hidden_size,
            self.num_layers,
            self.num_heads,
            self.head_dim,
            self.intermediate_size,
        )
        if min(sizes) < 1:
            raise ValueError(f"a size is {min(sizes)}; all must be 1 or more")
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise ValueError(f"{self.num_heads} query heads cannot share {self.num_kv_heads} key heads")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary embeddings turn pairs")


def _windows(raw: Mapping[str, Any], kind: Kind, layers: int) -> tuple[int | None, ...]:
    """By `layer_types` where there are any; else `use_sliding_window` from layer `max_window_layers` on, or everywhere."""
    window = raw.get("sliding_window")
    if types := raw.get("layer_types"):
        if len(types) != layers:
            raise ValueError(f"layer_types names {len(types)} layers of {layers}")
        return tuple(int(window) if one == "sliding_attention" and window else None for one in types)
    if not window or not (kind.window or raw.get("use_sliding_window")):
        return (None,) * layers
    first = 0 if kind.window else int(raw.get("max_window_layers", 0))
    return tuple(int(window) if layer >= first else None for layer in range(layers))
