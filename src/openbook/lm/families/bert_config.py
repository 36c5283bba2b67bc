"""The settings of a BERT checkpoint, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_config
from openbook.lm.nn.activation import ACTIVATIONS, Activation


@dataclass(frozen=True)
class BertConfig:
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 512
    num_segments: int = 2
    norm_eps: float = 1e-12
    activation: Activation = "gelu"

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @classmethod
    def read(cls, directory: Path) -> BertConfig:
        """From `config.json`. ModelUnavailable when it is another family, or a kind of BERT that is not this one."""
        raw = read_config(directory)
        kind = raw.get("model_type")
        if kind != "bert":
            raise ModelUnavailable(f"{directory} holds a model of type {kind!r}", "use a checkpoint of type 'bert'")
        positions = raw.get("position_embedding_type", "absolute")
        if positions != "absolute" or raw.get("is_decoder"):
            raise ModelUnavailable(
                f"{directory} is a BERT decoder or has {positions!r} positions",
                "use an encoder with absolute positions",
            )
        act = raw.get("hidden_act", "gelu")
        if act not in ACTIVATIONS:
            raise ModelUnavailable(f"{directory} uses the activation {act!r}", f"allowed are {sorted(ACTIVATIONS)}")
        try:
            return cls(
                vocab_size=int(raw["vocab_size"]),
                hidden_size=int(raw["hidden_size"]),
                num_layers=int(raw["num_hidden_layers"]),
                num_heads=int(raw["num_attention_heads"]),
                intermediate_size=int(raw["intermediate_size"]),
                max_positions=int(raw.get("max_position_embeddings", 512)),
                num_segments=int(raw.get("type_vocab_size", 2)),
                norm_eps=float(raw.get("layer_norm_eps", 1e-12)),
                activation=ACTIVATIONS[act],
            )
        except KeyError as error:
            raise ModelUnavailable(f"config.json of {directory} lacks {error}", "copy the checkpoint again") from None
