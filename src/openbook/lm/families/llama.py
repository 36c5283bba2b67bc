"""The Llama kind of decoder: rotary positions, RMSNorm before each part, gated MLP, grouped-query attention.

Llama, Mistral (sliding window), Qwen2 (biases on query, key and value) and Qwen3 (normalised queries and keys) are rows
of `llama_config.KINDS`. Source: Touvron et al. 2023, https://arxiv.org/abs/2302.13971. In reading order: the table of
names, the layer, the model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from openbook.lm.families.base import Family, Head, Link, Names, links_of
from openbook.lm.families.llama_config import LlamaConfig
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import GatedMlp
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.rope import Rope, Rotation

MODEL_NAMES = (Names("tokens", "model.embed_tokens"), Names("norm", "model.norm"), Names("lm_head", "lm_head"))
"""A tied head is the same tensor as the tokens; a checkpoint that holds it all the same holds it twice."""
LAYER_NAMES = (
    Names("attention.q", "self_attn.q_proj"),
    Names("attention.k", "self_attn.k_proj"),
    Names("attention.v", "self_attn.v_proj"),
    Names("attention.out", "self_attn.o_proj"),
    Names("attention.q_norm", "self_attn.q_norm"),
    Names("attention.k_norm", "self_attn.k_norm"),
    Names("attention_norm", "input_layernorm"),
    Names("mlp.gate", "mlp.gate_proj"),
    Names("mlp.up", "mlp.up_proj"),
    Names("mlp.down", "mlp.down_proj"),
    Names("mlp_norm", "post_attention_layernorm"),
)


class LlamaLayer(nn.Module):
    """x = x + attention(norm(x)); x = x + mlp(norm(x)): what is added is normalised, the sum is not."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.attention = Attention(
            config.hidden_size,
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
            bias=config.qkv_bias,
            out_bias=config.out_bias,
            window=config.windows[layer] if config.windows else None,
            qk_norm_eps=config.norm_eps if config.qk_norm else None,
            layer=layer,
        )
        self.mlp_norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.mlp = GatedMlp(config.hidden_size, config.intermediate_size, config.activation, bias=config.mlp_bias)

    def forward(self, x: Tensor, batch: Batch, rotation: Rotation) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = x + self.attention(self.attention_norm(x), batch, rotation)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Llama(Family):
    """A ragged decoder. With `config.tied`, `lm_head` is the table of the tokens itself."""

    config: LlamaConfig
    ignored = ("rotary_emb.inv_freq",)

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> Llama:
        return cls(LlamaConfig.of(raw))

    def links(self) -> Iterator[Link]:
        layers = range(self.config.num_layers)
        inside = ((f"layers.{n}.{ours}", f"model.layers.{n}.{theirs}") for n in layers for ours, theirs in LAYER_NAMES)
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        return links_of((*MODEL_NAMES, *inside), names)

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaLayer(config, layer) for layer in range(config.num_layers))
        self.norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie()
        self.rope = Rope(config.head_dim, config.rope_theta, config.max_seq_len, config.rope_scaling)

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

        "logits": (M, V) of the M `rows` (all N if None). "hidden": (M, E), normalised. A callable gets (hidden, lm_head).
        """
        x = self.tokens(input_ids) if input_embeds is None else input_embeds  # (N, E)
        rotation = self.rope(batch.positions, x.dtype)
        for layer in self.layers:
            x = layer(x, batch, rotation)
        hidden: Tensor = self.norm(x if rows is None else x[rows])  # (M, E)
        if head == "hidden":
            return hidden
        out: Tensor = self.lm_head(hidden) if head == "logits" else head(hidden, self.lm_head)
        return out

    def tie(self) -> None:
        """With `config.tied`, one tensor for the table of the tokens and for `lm_head`."""
        if self.config.tied:
            self.lm_head.weight = cast(nn.Parameter, self.tokens.weight)

    @torch.no_grad()
    def initialise(self, seed: int = 0) -> None:
        """Fresh weights: normal with deviation 0.02, those that end a residual branch 0.02 / sqrt(2 L), norms 1, biases 0.

        The loss of a fresh model is then ln V. Source: Radford et al. 2019 (GPT-2), section 2.3.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            ends_branch = name.endswith(("attention.out.weight", "mlp.down.weight"))
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                std = 0.02 / math.sqrt(2 * self.config.num_layers) if ends_branch else 0.02
                parameter.normal_(0.0, std, generator=generator)
