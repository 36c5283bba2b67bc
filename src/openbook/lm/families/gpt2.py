"""GPT-2: a decoder with learned positions, LayerNorm before each part and a plain MLP.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3. Its checkpoints store weights
as (in, out), and query, key and value as one. In reading order: the settings, the names, the layer, the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import Tensor, nn

from openbook.lm.families.base import Family, Head, Link, Names, check_head, links_of
from openbook.lm.families.initial import draw
from openbook.lm.families.labels import labels_of, raw_labels
from openbook.lm.nn.activation import CHECKPOINT_NAMES, Activation, read_activation
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import Mlp
from openbook.lm.nn.norm import LayerNorm
from openbook.lm.nn.numbers import read_number, read_size
from openbook.lm.nn.positions import LearnedPositions


@dataclass(frozen=True)
class Gpt2Config:
    """`scale_by_head`: scores are divided by sqrt(D); `scale_by_layer`: and by the number of the layer, from 1.
    `num_labels`: of a head over the last token of a sequence; 0: the head is over the vocabulary.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_seq_len: int
    norm_eps: float = 1e-5
    activation: Activation = "gelu_tanh"
    tied: bool = True
    scale_by_head: bool = True
    scale_by_layer: bool = False
    num_labels: int = 0
    model_type: str = "gpt2"

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Gpt2Config:
        """Raises KeyError for what is missing and ValueError for what cannot be."""
        if raw.get("add_cross_attention"):
            raise ValueError("add_cross_attention: a GPT-2 that looks at an encoder is not known")
        said = {ours: raw.get(ours, raw.get(theirs)) for ours, theirs in _ALIASES.items()}
        if absent := [name for name, value in said.items() if value is None]:
            raise KeyError(absent[0])
        hidden = read_size(said, "n_embd")
        config = cls(
            vocab_size=read_size(raw, "vocab_size"),
            hidden_size=hidden,
            num_layers=read_size(said, "n_layer"),
            num_heads=read_size(said, "n_head"),
            intermediate_size=read_size(raw, "n_inner", 4 * hidden),
            max_seq_len=read_size(said, "n_positions"),
            norm_eps=read_number(raw, "layer_norm_epsilon", 1e-5),
            activation=read_activation(raw, "activation_function", "gelu_new"),
            tied=bool(raw.get("tie_word_embeddings", True)) and not labels_of(raw),
            scale_by_head=bool(raw.get("scale_attn_weights", True)),
            scale_by_layer=bool(raw.get("scale_attn_by_inverse_layer_idx", False)),
            num_labels=labels_of(raw),
        )
        if hidden % config.num_heads:
            raise ValueError(f"{config.num_heads} heads cannot divide {hidden} channels")
        return config

    def raw(self) -> dict[str, Any]:
        return {
            "model_type": "gpt2",
            **raw_labels("GPT2LMHeadModel", self.num_labels),
            "vocab_size": self.vocab_size,
            "n_embd": self.hidden_size,
            "n_layer": self.num_layers,
            "n_head": self.num_heads,
            "n_inner": self.intermediate_size,
            "n_positions": self.max_seq_len,
            "layer_norm_epsilon": self.norm_eps,
            "activation_function": CHECKPOINT_NAMES[self.activation],
            "tie_word_embeddings": self.tied,
            "scale_attn_weights": self.scale_by_head,
            "scale_attn_by_inverse_layer_idx": self.scale_by_layer,
        }

    def scale(self, layer: int) -> float:
        """What the scores of a layer are multiplied by."""
        by_head = self.head_dim**-0.5 if self.scale_by_head else 1.0
        return by_head / (layer + 1) if self.scale_by_layer else by_head


_ALIASES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
}
MODEL_NAMES = (Names("tokens", "wte"), Names("places", "wpe"), Names("norm", "ln_f"))
LAYER_NAMES = (Names("attention_norm", "ln_1"), Names("mlp_norm", "ln_2"))
TRANSPOSED_NAMES = (
    Names("attention.out", "attn.c_proj"),
    Names("mlp.up", "mlp.c_fc"),
    Names("mlp.down", "mlp.c_proj"),
)


class Gpt2Layer(nn.Module):
    """x = x + attention(norm(x)); x = x + mlp(norm(x))."""

    def __init__(self, config: Gpt2Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(config.hidden_size, config.num_heads, scale=config.scale(layer), layer=layer)
        self.mlp_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.mlp = Mlp(config.hidden_size, config.intermediate_size, config.activation)

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = x + self.attention(self.attention_norm(x), batch)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Gpt2(Family):
    """A ragged decoder. `prefix`: what the checkpoint puts before the names of all but the head; the first ones put nothing."""

    config: Gpt2Config
    ignored = (".attn.bias", ".attn.masked_bias")

    def __init__(self, config: Gpt2Config, prefix: str = "transformer.") -> None:
        super().__init__()
        self.config, self.prefix = config, prefix
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = LearnedPositions(config.max_seq_len, config.hidden_size)
        self.layers = nn.ModuleList(Gpt2Layer(config, layer) for layer in range(config.num_layers))
        self.norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.lm_head = Linear(config.hidden_size, config.num_labels or config.vocab_size, bias=False)
        self.tie()

    def forward(
        self,
        input_ids: Tensor,
        batch: Batch,
        *,
        input_embeds: Tensor | None = None,
        rows: Tensor | None = None,
        head: Head = "logits",
    ) -> Tensor:
        """input_ids: (N,) int64; `input_embeds` (N, E) in place of the word embeddings.

        "logits": (M, V) of the M `rows` (all N if None); of a model with labels (M, num_labels), of the last token of each
        sequence if None. "hidden": (M, E), normalised. A callable gets (hidden, lm_head).
        UsageError for another, ValueError for a sequence that is longer than there are positions.
        """
        check_head(head, ("logits", "hidden"), self.config.model_type)
        if self.config.num_labels and rows is None and head == "logits":
            rows = batch.starts[1:] - 1
        x = self.tokens(input_ids) if input_embeds is None else input_embeds  # (N, E)
        x = x + self.places(batch)
        for layer in self.layers:
            x = layer(x, batch)
        hidden: Tensor = self.norm(x if rows is None else x[rows])  # (M, E)
        if head == "hidden":
            return hidden
        out: Tensor = self.lm_head(hidden) if head == "logits" else head(hidden, self.lm_head)
        return out

    @property
    def head_over(self) -> Literal["tokens", "sequences", "nothing"]:
        return "sequences" if self.config.num_labels else "tokens"

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> Gpt2:
        return cls(Gpt2Config.of(raw), "" if stored is not None and "wte.weight" in stored else "transformer.")

    def links(self) -> Iterator[Link]:
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        at = [(f"layers.{n}.", f"{self.prefix}h.{n}.") for n in range(self.config.num_layers)]
        yield Link("lm_head.weight", "score.weight" if self.config.num_labels else "lm_head.weight")
        yield from links_of(((ours, self.prefix + theirs) for ours, theirs in MODEL_NAMES), names)
        yield from links_of(((o + ours, t + theirs) for o, t in at for ours, theirs in LAYER_NAMES), names)
        for o, t in at:
            for ours, theirs in TRANSPOSED_NAMES:
                yield Link(f"{o}{ours}.weight", f"{t}{theirs}.weight", transposed=True)
                yield Link(f"{o}{ours}.bias", f"{t}{theirs}.bias")
            for place, one in enumerate("qkv"):
                part = (place, 3)
                yield Link(f"{o}attention.{one}.weight", f"{t}attn.c_attn.weight", transposed=True, part=part)
                yield Link(f"{o}attention.{one}.bias", f"{t}attn.c_attn.bias", part=part)

    def tie(self) -> None:
        """With `config.tied`, one tensor for the table of the tokens and for `lm_head`."""
        if self.config.tied:
            self.lm_head.weight = cast(nn.Parameter, self.tokens.weight)

    def initialise(self, seed: int = 0) -> None:
        draw(self, seed, ("attention.out.weight", "mlp.down.weight"), branches=2 * self.config.num_layers)
