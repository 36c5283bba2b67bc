"""The Llama kind of decoder: rotary positions, RMSNorm before each part, gated MLP, grouped-query attention.

Llama, Mistral (sliding window), Qwen2 (biases on query, key and value), Qwen3 (normalised queries and keys), and Mixtral,
Qwen2-MoE and Qwen3-MoE (experts in place of the MLP) are rows of `llama_config.KINDS`. Source: Touvron et al. 2023,
https://arxiv.org/abs/2302.13971. In reading order: the tables of names, the layer, the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from openbook.lm.families.base import Family, Head, Link, Names, check_head, links_of
from openbook.lm.families.initial import draw
from openbook.lm.families.llama_config import LlamaConfig
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear, plus
from openbook.lm.nn.mlp import GatedMlp
from openbook.lm.nn.moe import Moe
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.packed_cache import BLOCK, PackedCache, PackedStorage
from openbook.lm.nn.paged import PagedStorage
from openbook.lm.nn.rope import Rope, Rotation

if TYPE_CHECKING:
    from openbook.lm.quantization.fused_decoder import FusedDecoder

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
MIXTRAL_NAMES = (Names("mlp.router", "block_sparse_moe.gate"),)
QWEN_MOE_NAMES = (
    Names("mlp.router", "mlp.gate"),
    Names("mlp.shared.gate", "mlp.shared_expert.gate_proj"),
    Names("mlp.shared.up", "mlp.shared_expert.up_proj"),
    Names("mlp.shared.down", "mlp.shared_expert.down_proj"),
    Names("mlp.shared_gate", "mlp.shared_expert_gate"),
)
MIXTRAL_EXPERT = (Names("gate", "w1"), Names("up", "w3"), Names("down", "w2"))
QWEN_EXPERT = (Names("gate", "gate_proj"), Names("up", "up_proj"), Names("down", "down_proj"))
"""Experts are a tensor each in checkpoints, and rows of one tensor here."""


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
        self.mlp: nn.Module
        if config.num_experts and layer not in config.dense_layers:
            self.mlp = Moe(
                config.hidden_size,
                config.expert_size,
                config.num_experts,
                config.experts_per_token,
                config.activation,
                is_normalised=config.is_normalised,
                shared_size=config.shared_size,
            )
        else:
            self.mlp = GatedMlp(config.hidden_size, config.intermediate_size, config.activation, bias=config.mlp_bias)

    def forward(self, x: Tensor, batch: Batch, rotation: Rotation) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = self.attention(self.attention_norm(x), batch, rotation, residual=x)
        return plus(self.mlp, self.mlp_norm(x), x)


class Llama(Family):
    """A ragged decoder. With `config.tied`, `lm_head` is the table of the tokens itself.

    `prefix`: what the checkpoint puts before the names of all but the head; embedders are saved without.
    """

    config: LlamaConfig
    ignored = ("rotary_emb.inv_freq",)

    def __init__(self, config: LlamaConfig, prefix: str = "model.") -> None:
        super().__init__()
        self.config, self.prefix = config, prefix
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaLayer(config, layer) for layer in range(config.num_layers))
        self.norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.lm_head = Linear(config.hidden_size, config.num_labels or config.vocab_size, bias=False)
        self.tie()
        self.rope = Rope(config.head_dim, config.rope_theta, config.max_seq_len, config.rope_scaling)
        self.fused: FusedDecoder | None = None  # all layers in one call, made by lm.quantization.prepare

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
        UsageError for another.
        """
        check_head(head, ("logits", "hidden"), self.config.model_type)
        if self.config.num_labels and rows is None and head == "logits":
            rows = batch.starts[1:] - 1
        if self.fused is not None and self._can_fuse(batch, input_embeds):
            return self.fused.forward(input_ids, batch, input_embeds, rows, head)
        x = self.tokens(input_ids) if input_embeds is None else input_embeds  # (N, E)
        rotation = self.rope(batch.positions, x.dtype)
        for layer in self.layers:
            x = layer(x, batch, rotation)
        hidden: Tensor = self.norm(x if rows is None else x[rows])  # (M, E)
        if head == "hidden":
            return hidden
        out: Tensor = self.lm_head(hidden) if head == "logits" else head(hidden, self.lm_head)
        return out

    def _can_fuse(self, batch: Batch, input_embeds: Tensor | None) -> bool:
        """Whether nobody looks into the layers or wants gradients, and keys and values lie where the fused call reads them."""
        if isinstance(batch.cache, PackedCache):
            return True
        if input_embeds is not None and input_embeds.requires_grad:
            return False
        layers = (cast(LlamaLayer, layer) for layer in self.layers)
        return batch.cache is None and batch.causal and not any(one.attention.probabilities.is_read for one in layers)

    def paged_storage(self, num_blocks: int, block_size: int, dtype: torch.dtype) -> PagedStorage | PackedStorage:
        """In the order of the fused kernels where they compute."""
        if self.fused is None or block_size != BLOCK or dtype not in (torch.float32, torch.bfloat16):
            return super().paged_storage(num_blocks, block_size, dtype)
        config = self.config
        return PackedStorage(config.num_layers, num_blocks, config.num_kv_heads, config.head_dim, dtype)

    @property
    def head_over(self) -> Literal["tokens", "sequences", "nothing"]:
        return "sequences" if self.config.num_labels else "tokens"

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> Llama:
        return cls(LlamaConfig.of(raw), "" if stored is not None and "embed_tokens.weight" in stored else "model.")

    def links(self) -> Iterator[Link]:
        is_mixtral = self.config.model_type == "mixtral"
        own = (*LAYER_NAMES, *(MIXTRAL_NAMES if is_mixtral else QWEN_MOE_NAMES))
        layers = range(self.config.num_layers)
        inside = ((f"layers.{n}.{ours}", f"model.layers.{n}.{theirs}") for n in layers for ours, theirs in own)
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        table = [(ours, theirs.replace("model.", self.prefix, 1)) for ours, theirs in (*MODEL_NAMES, *inside)]
        if self.config.num_labels:
            table.append(("lm_head", "score"))  # the last one counts
        yield from links_of(table, names)
        where, expert = ("block_sparse_moe", MIXTRAL_EXPERT) if is_mixtral else ("mlp", QWEN_EXPERT)
        for n, layer in enumerate(self.layers):
            for row in range(self.config.num_experts if isinstance(layer.mlp, Moe) else 0):
                for ours, theirs in expert:
                    at = f"{self.prefix}layers.{n}.{where}.experts.{row}.{theirs}.weight"
                    yield Link(f"layers.{n}.mlp.experts.{ours}", at, row=row)

    def tie(self) -> None:
        """With `config.tied`, one tensor for the table of the tokens and for `lm_head`."""
        if self.config.tied:
            self.lm_head.weight = cast(nn.Parameter, self.tokens.weight)

    def initialise(self, seed: int = 0) -> None:
        ends = ("attention.out.weight", "mlp.down.weight", "mlp.experts.down", "mlp.shared.down.weight")
        draw(self, seed, ends, branches=2 * self.config.num_layers)
