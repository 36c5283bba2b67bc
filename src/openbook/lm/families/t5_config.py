"""The settings of a T5 checkpoint (1.0, 1.1, FLAN), read without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from openbook.lm.nn.activation import ACTIVATIONS, CHECKPOINT_NAMES, Activation
from openbook.lm.nn.numbers import read_number, read_size


@dataclass(frozen=True)
class T5Config:
    """`num_decoder_layers` 0: an encoder alone. `tied`: the head is the table of the tokens; `is_scaled`: what the head gets is
    divided by sqrt(E) (1.0 is both, 1.1 neither). `num_layers` are the encoder's.
    """

    vocab_size: int
    hidden_size: int
    head_dim: int
    intermediate_size: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128
    norm_eps: float = 1e-6
    activation: Activation = "relu"
    is_gated: bool = False
    tied: bool = True
    is_scaled: bool = True
    start_id: int = 0
    model_type: str = "t5"

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> T5Config:
        """Raises KeyError for what is missing and ValueError for what cannot be."""
        if raw.get("is_decoder"):
            raise ValueError("is_decoder: a T5 decoder by itself is not known")
        said = {ours: raw.get(ours, raw.get(theirs)) for ours, theirs in _ALIASES.items()}
        if absent := [name for name, value in said.items() if value is None]:
            raise KeyError(absent[0])
        layers = read_size(said, "num_layers")
        if stored is None:
            has_decoder = (raw.get("architectures") or [""])[0] != "T5EncoderModel"
        else:
            has_decoder = any(name.startswith("decoder.") for name in stored)
        tied, is_scaled = _head(raw, stored)
        activation, is_gated = _network(raw)
        config = cls(
            vocab_size=read_size(raw, "vocab_size"),
            hidden_size=read_size(said, "d_model"),
            head_dim=read_size(said, "d_kv"),
            intermediate_size=read_size(raw, "d_ff"),
            num_layers=layers,
            num_decoder_layers=read_size(raw, "num_decoder_layers", layers) if has_decoder else 0,
            num_heads=read_size(said, "num_heads"),
            num_buckets=read_size(raw, "relative_attention_num_buckets", 32),
            max_distance=read_size(raw, "relative_attention_max_distance", 128),
            norm_eps=read_number(raw, "layer_norm_epsilon", 1e-6),
            activation=activation,
            is_gated=is_gated,
            tied=tied,
            is_scaled=is_scaled,
            start_id=_start(raw),
        )
        config.check()
        return config

    def check(self) -> None:
        """Raises ValueError for shapes that cannot be."""
        sizes = (
            self.vocab_size,
            self.hidden_size,
            self.head_dim,
            self.intermediate_size,
            self.num_layers,
            self.num_heads,
        )
        if min(sizes) < 1:
            raise ValueError(f"a size is {min(sizes)}; all must be 1 or more")
        if self.num_buckets < 4 or self.max_distance <= self.num_buckets // 2:
            raise ValueError(
                f"{self.num_buckets} buckets up to distance {self.max_distance}: 4 or more are needed, and a distance above half "
                "of them"
            )

    def raw(self) -> dict[str, Any]:
        """The entries of a config.json that `of` reads."""
        name = "gelu" if self.is_gated and self.activation == "gelu_tanh" else CHECKPOINT_NAMES[self.activation]
        has_decoder = self.num_decoder_layers > 0
        return {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration" if has_decoder else "T5EncoderModel"],
            "is_encoder_decoder": has_decoder,
            "vocab_size": self.vocab_size,
            "d_model": self.hidden_size,
            "d_kv": self.head_dim,
            "d_ff": self.intermediate_size,
            "num_layers": self.num_layers,
            "num_decoder_layers": self.num_decoder_layers or self.num_layers,
            "num_heads": self.num_heads,
            "relative_attention_num_buckets": self.num_buckets,
            "relative_attention_max_distance": self.max_distance,
            "layer_norm_epsilon": self.norm_eps,
            "feed_forward_proj": f"gated-{name}" if self.is_gated else name,
            "dense_act_fn": CHECKPOINT_NAMES[self.activation],
            "is_gated_act": self.is_gated,
            "tie_word_embeddings": self.tied or self.is_scaled,
            "scale_decoder_outputs": self.is_scaled,
            "decoder_start_token_id": self.start_id,
        }


_ALIASES = {
    "d_model": "hidden_size",
    "d_kv": "head_dim",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}


def _head(raw: Mapping[str, Any], stored: Collection[str] | None) -> tuple[bool, bool]:
    """Whether the head is tied, and whether it is scaled.

    `tie_word_embeddings` used to say both. Newer files always have it true, say the second in `scale_decoder_outputs`, and hold
    `lm_head.weight` if the head is not tied.
    """
    said = raw.get("tie_word_embeddings") is not False
    scaled = raw.get("scale_decoder_outputs")
    if scaled is None:
        return said, said
    return said if stored is None else "lm_head.weight" not in stored, bool(scaled)


def _network(raw: Mapping[str, Any]) -> tuple[Activation, bool]:
    """The activation, and whether the network is gated. "gated-gelu" means the approximate one."""
    said = raw.get("feed_forward_proj", "relu")
    kind, _, name = said.rpartition("-")
    name = "gelu_new" if said == "gated-gelu" else name
    if kind not in ("", "gated") or name not in ACTIVATIONS:
        raise ValueError(f"feed_forward_proj {said!r} is not NAME or gated-NAME with one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name], kind == "gated"


def _start(raw: Mapping[str, Any]) -> int:
    found = raw.get("decoder_start_token_id", raw.get("pad_token_id"))
    return int(found) if found is not None else 0
