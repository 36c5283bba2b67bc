"""The settings of decoder-only checkpoints of the Llama kind, read without torch.

Llama, Mistral, Qwen2, Qwen3, and with mixtures of experts Mixtral, Qwen2-MoE and Qwen3-MoE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from openbook.lm.families.labels import labels_of, raw_labels
from openbook.lm.nn.activation import CHECKPOINT_NAMES, Activation, read_activation
from openbook.lm.nn.numbers import read_number, read_size
from openbook.lm.nn.rope_config import RopeScaling, read_scaling

Windows = Literal["none", "always", "asked", "layers", "even layers"]
"""Who has a sliding window: nobody; every layer; every layer if `use_sliding_window`; those of `layer_types`, whose default is
the layers from `max_window_layers` on, or the even ones below it."""


class Kind(NamedTuple):
    """What one `model_type` does differently, and the values that it means where config.json is silent.

    `biases`: the setting that puts biases on query, key and value ("" none, "always"); `out_bias`: on the output too.
    """

    architecture: str
    biases: str = "attention_bias"
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    windows: Windows = "none"
    window: int | None = 4_096
    head_dim: int | None = None
    norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    max_seq_len: int = 32_768
    has_experts: bool = False
    has_shared: bool = False


KINDS: dict[str, Kind] = {
    "llama": Kind("LlamaForCausalLM", out_bias=True, mlp_bias=True, max_seq_len=2_048),
    "mistral": Kind("MistralForCausalLM", "", windows="always", max_seq_len=131_072),
    "qwen2": Kind("Qwen2ForCausalLM", "always", windows="layers"),
    "qwen3": Kind("Qwen3ForCausalLM", out_bias=True, qk_norm=True, windows="layers", head_dim=128),
    "mixtral": Kind(
        "MixtralForCausalLM",
        "",
        windows="always",
        window=None,
        norm_eps=1e-5,
        rope_theta=1_000_000.0,
        max_seq_len=131_072,
        has_experts=True,
    ),
    "qwen2_moe": Kind("Qwen2MoeForCausalLM", "qkv_bias", windows="even layers", has_experts=True, has_shared=True),
    "qwen3_moe": Kind("Qwen3MoeForCausalLM", out_bias=True, qk_norm=True, windows="asked", has_experts=True),
}


@dataclass(frozen=True)
class LlamaConfig:
    """`windows`: of each layer, None where it sees everything before it.

    `num_labels`: of a head over the last token of a sequence; 0: the head is over the vocabulary.
    `num_experts` networks of `expert_size`, of which a token gets `experts_per_token`, in every layer but `dense_layers`; 0: no
    layer has any. `shared_size`: the expert that all tokens get. `is_normalised`: the chosen probabilities sum to 1.
    """

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
    num_experts: int = 0
    experts_per_token: int = 0
    expert_size: int = 0
    shared_size: int = 0
    is_normalised: bool = True
    dense_layers: tuple[int, ...] = ()
    num_labels: int = 0
    model_type: str = "llama"

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> LlamaConfig:
        """Raises KeyError for what is missing and ValueError for what cannot be."""
        kind = KINDS.get(raw.get("model_type", ""))
        if kind is None:
            raise ValueError(f"model_type {raw.get('model_type')!r} is not one of {sorted(KINDS)}")
        hidden, heads = read_size(raw, "hidden_size"), read_size(raw, "num_attention_heads")
        layers = read_size(raw, "num_hidden_layers")
        if raw["model_type"] != "llama" and "num_key_value_heads" not in raw:
            raise KeyError("num_key_value_heads")
        kv_heads = read_size(raw, "num_key_value_heads", heads)
        unsaid = kind.head_dim if "head_dim" not in raw else None
        labels = labels_of(raw)
        bias = kind.biases == "always" or bool(raw.get(kind.biases, kind.biases == "qkv_bias"))
        theta, scaling = read_scaling(raw, kind.rope_theta)
        config = cls(
            vocab_size=read_size(raw, "vocab_size"),
            hidden_size=hidden,
            num_layers=layers,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=read_size(raw, "head_dim", unsaid or hidden // heads),
            intermediate_size=read_size(raw, "intermediate_size"),
            max_seq_len=read_size(raw, "max_position_embeddings", kind.max_seq_len),
            rope_theta=theta,
            rope_scaling=scaling,
            norm_eps=read_number(raw, "rms_norm_eps", kind.norm_eps),
            activation=read_activation(raw, "hidden_act", "silu"),
            tied=bool(raw.get("tie_word_embeddings", False)) and not labels,
            qkv_bias=bias,
            out_bias=bias and kind.out_bias,
            mlp_bias=kind.mlp_bias and bool(raw.get("mlp_bias", False)),
            qk_norm=kind.qk_norm,
            windows=_windows(raw, kind, layers),
            num_labels=labels,
            model_type=raw["model_type"],
            **(_experts(raw, kind, layers) if kind.has_experts else {}),
        )
        config.check()
        return config

    def raw(self) -> dict[str, Any]:
        """The entries of a config.json that `of` reads."""
        kind = KINDS[self.model_type]
        return {
            "model_type": self.model_type,
            **raw_labels(kind.architecture, self.num_labels),
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
            **({kind.biases: self.qkv_bias} if kind.biases not in ("", "always") else {}),
            **({"mlp_bias": self.mlp_bias} if kind.mlp_bias else {}),
            **self._raw_windows(kind),
            **(self._raw_experts(kind) if kind.has_experts else {}),
        }

    def _raw_windows(self, kind: Kind) -> dict[str, Any]:
        window = next((one for one in self.windows if one is not None), None)
        match kind.windows:
            case "none":
                return {}
            case "always":
                return {"sliding_window": window}
            case "asked":
                return {"sliding_window": window, "use_sliding_window": window is not None}
            case "layers" | "even layers":
                types = ["full_attention" if one is None else "sliding_attention" for one in self.windows]
                said = {"sliding_window": window, "use_sliding_window": window is not None}
                return said | {"layer_types": types}

    def _raw_experts(self, kind: Kind) -> dict[str, Any]:
        if self.model_type == "mixtral":
            return {"num_local_experts": self.num_experts, "num_experts_per_tok": self.experts_per_token}
        return {
            "num_experts": self.num_experts,
            "num_experts_per_tok": self.experts_per_token,
            "moe_intermediate_size": self.expert_size,
            "norm_topk_prob": self.is_normalised,
            "decoder_sparse_step": 1,
            "mlp_only_layers": list(self.dense_layers),
            **({"shared_expert_intermediate_size": self.shared_size} if kind.has_shared else {}),
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
        if bad := [window for window in self.windows if window is not None and window < 1]:
            raise ValueError(f"sliding_window {bad[0]} lets a token not even see itself; it must be 1 or more")
        self.rope_scaling.check(self.rope_theta, self.head_dim)
        if self.num_experts and not (1 <= self.experts_per_token <= self.num_experts and self.expert_size >= 1):
            raise ValueError(
                f"a token cannot get {self.experts_per_token} of {self.num_experts} experts of size {self.expert_size}"
            )


def _windows(raw: Mapping[str, Any], kind: Kind, layers: int) -> tuple[int | None, ...]:
    window = raw.get("sliding_window", kind.window) or None
    types = raw.get("layer_types") if kind.windows in ("layers", "even layers") else None
    if types and len(types) != layers:
        raise ValueError(f"layer_types names {len(types)} layers of {layers}")
    if unknown := set(types or ()) - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layer_types has {min(unknown)!r}; known are 'full_attention' and 'sliding_attention'")
    if window is None or kind.windows == "none" or not (kind.windows == "always" or raw.get("use_sliding_window")):
        return (None,) * layers
    first, is_even = read_size(raw, "max_window_layers", 28, least=0), kind.windows == "even layers"

    def has_window(layer: int) -> bool:
        if types:
            return bool(types[layer] == "sliding_attention")
        if kind.windows in ("always", "asked"):
            return True
        return layer % 2 == 0 and layer < first if is_even else layer >= first

    return tuple(int(window) if has_window(layer) else None for layer in range(layers))


def _experts(raw: Mapping[str, Any], kind: Kind, layers: int) -> dict[str, Any]:
    """Mixtral has them everywhere; the Qwens where `decoder_sparse_step` falls, but for `mlp_only_layers`."""
    count = read_size(raw, "num_local_experts" if "num_local_experts" in raw else "num_experts", least=0)
    per_token = read_size(raw, "num_experts_per_tok", least=0)
    if raw["model_type"] == "mixtral":
        size = read_size(raw, "intermediate_size")
        return {"num_experts": count, "experts_per_token": per_token, "expert_size": size}
    only, step = set(raw.get("mlp_only_layers") or ()), read_size(raw, "decoder_sparse_step", 1)
    return {
        "num_experts": count,
        "experts_per_token": per_token,
        "expert_size": read_size(raw, "moe_intermediate_size", least=0),
        "shared_size": read_size(raw, "shared_expert_intermediate_size", least=0) if kind.has_shared else 0,
        "is_normalised": bool(raw.get("norm_topk_prob", False)),
        "dense_layers": tuple(n for n in range(layers) if n in only or (n + 1) % step or count == 0),
    }
