"""BERT: bidirectional encoder with learned positions and post-norm layers, and the heads that ship with it.

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805. In reading order: the settings, the table of names, the
layer, the model, and how a checkpoint becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import load_into, read_tensors, strip_prefix
from openbook.lm.families.base import Head, Names
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import Mlp
from openbook.lm.nn.norm import LayerNorm

MODEL_NAMES = (
    Names("tokens", "embeddings.word_embeddings"),
    Names("places", "embeddings.position_embeddings"),
    Names("segments", "embeddings.token_type_embeddings"),
    Names("embedding_norm", "embeddings.LayerNorm"),
)
LAYER_NAMES = (
    Names("attention.q", "attention.self.query"),
    Names("attention.k", "attention.self.key"),
    Names("attention.v", "attention.self.value"),
    Names("attention.out", "attention.output.dense"),
    Names("attention_norm", "attention.output.LayerNorm"),
    Names("mlp.up", "intermediate.dense"),
    Names("mlp.down", "output.dense"),
    Names("mlp_norm", "output.LayerNorm"),
)
HEAD_NAMES = (Names("pooler", "pooler.dense"),)
CLASSIFIER_NAMES = (Names("classifier", "classifier"), Names("classifier", "cls.seq_relationship"))


def our_names(num_layers: int) -> dict[str, str]:
    """The checkpoint's module name -> ours, for every module that has parameters."""
    table = {theirs: ours for ours, theirs in (*MODEL_NAMES, *HEAD_NAMES, *CLASSIFIER_NAMES)}
    for layer in range(num_layers):
        table |= {f"encoder.layer.{layer}.{theirs}": f"layers.{layer}.{ours}" for ours, theirs in LAYER_NAMES}
    return table


class BertLayer(nn.Module):
    """x = norm(x + attention(x)); x = norm(x + mlp(x)): the norm comes after the sum."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config.hidden_size, config.num_heads)
        self.attention_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.mlp = Mlp(config.hidden_size, config.intermediate_size, config.activation)
        self.mlp_norm = LayerNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = self.attention_norm(x + self.attention(x, batch))
        return self.mlp_norm(x + self.mlp(x))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """A ragged encoder. `classifier` (num_labels, E) over the pooled first token, where the checkpoint has one."""

    def __init__(self, config: BertConfig, *, pooler: bool = False, num_labels: int = 0) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_positions, config.hidden_size)
        self.segments = nn.Embedding(config.num_segments, config.hidden_size)
        self.embedding_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_layers))
        self.pooler = Linear(config.hidden_size, config.hidden_size) if pooler or num_labels else None
        self.classifier = Linear(config.hidden_size, num_labels) if num_labels else None

    def forward(
        self,
        input_ids: Tensor,
        batch: Batch,
        *,
        input_embeds: Tensor | None = None,
        segments: Tensor | None = None,
        rows: Tensor | None = None,
        head: Head = "hidden",
    ) -> Tensor:
        """input_ids: (N,) int64; `input_embeds` (N, E) in place of the word embeddings; `segments` (N,), zeros if None.

        "hidden": (M, E), the last layer at `rows` (all if None). "logits": (S, num_labels) from the first token of each
        sequence. A callable gets (hidden, classifier).
        """
        words = self.tokens(input_ids) if input_embeds is None else input_embeds  # (N, E)
        kinds = self.segments.weight[0] if segments is None else self.segments(segments)
        x = self.embedding_norm(words + self.places(batch.positions) + kinds)
        for layer in self.layers:
            x = layer(x, batch)
        if head == "logits":
            return self._classify(x[batch.starts[:-1]])
        x = x if rows is None else x[rows]
        return x if head == "hidden" else head(x, self.classifier)

    def _classify(self, first: Tensor) -> Tensor:
        if self.pooler is None or self.classifier is None:
            raise ModelUnavailable("this BERT has no classification head", "use a checkpoint that was saved with one")
        return self.classifier(torch.tanh(self.pooler(first)))  # type: ignore[no-any-return]


def load_bert(directory: Path) -> Bert:
    """The BERT in a Hugging Face directory, float32, ready for inference; ModelUnavailable says what does not fit."""
    config = BertConfig.read(directory)
    state = rename(read_tensors(directory), config.num_layers)
    labels = int(state["classifier.weight"].shape[0]) if "classifier.weight" in state else 0
    with torch.device("meta"):
        model = Bert(config, pooler="pooler.weight" in state, num_labels=labels)
    model.to_empty(device="cpu")
    load_into(model, state, directory)
    return model.eval().requires_grad_(False)


def rename(tensors: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Our parameter names -> float32 tensors. Old checkpoints call a norm's parameters gamma and beta."""
    table = our_names(num_layers)
    state: dict[str, Tensor] = {}
    for name, tensor in strip_prefix(tensors, "bert.").items():
        module, _, parameter = name.rpartition(".")
        parameter = {"gamma": "weight", "beta": "bias"}.get(parameter, parameter)
        if module in table:
            state[f"{table[module]}.{parameter}"] = tensor.float()
    return state
