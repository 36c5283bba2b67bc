"""BERT: bidirectional encoder with learned positions and post-norm layers, and the heads that ship with it.

RoBERTa and XLM-R are rows of `bert_config.KINDS`: the same encoder, whose positions begin behind the padding's. Sources: Devlin
et al. 2018, https://arxiv.org/abs/1810.04805; Liu et al. 2019, https://arxiv.org/abs/1907.11692; Conneau et al. 2019,
https://arxiv.org/abs/1911.02116. In reading order: the names, the layer, the head over the vocabulary, the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_config
from openbook.lm.families.base import Family, Head, Link, Names, check_head, links_of
from openbook.lm.families.bert_config import HEADS, KINDS, BertConfig
from openbook.lm.families.initial import draw
from openbook.lm.nn.activation import Activation
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import Mlp, activate
from openbook.lm.nn.norm import LayerNorm
from openbook.lm.nn.positions import LearnedPositions
from openbook.lm.state import fill, match
from openbook.lm.stored import Stored

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
BERT_LM_NAMES = (
    Names("lm_head.dense", "cls.predictions.transform.dense"),
    Names("lm_head.norm", "cls.predictions.transform.LayerNorm"),
)
ROBERTA_LM_NAMES = (Names("lm_head.dense", "lm_head.dense"), Names("lm_head.norm", "lm_head.layer_norm"))


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


class MaskedLmHead(nn.Module):
    """norm(activation(dense(x))) W^T + b, where W is the table of the tokens if the model is tied."""

    def __init__(self, config: BertConfig, activation: Activation) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.decoder = Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (M, E) -> (M, V)."""
        return self.decoder(self.norm(activate(self.dense(x), self.activation)))  # type: ignore[no-any-return]


class Bert(Family):
    """A ragged encoder. What a checkpoint does not have is None: `pooler` (E, E), `classifier` (num_labels, E), `lm_head`."""

    config: BertConfig
    causal = False
    ignored = (
        "embeddings.position_ids",
        "embeddings.token_type_ids",
        "decoder.bias",  # of a tied model: the bias again
        "pooler.dense.weight",  # of an architecture that does not pool, saved by older libraries
        "pooler.dense.bias",
    )

    def __init__(self, config: BertConfig, prefix: str | None = None) -> None:
        super().__init__()
        self.config = config
        kind, shape = KINDS[config.model_type], HEADS[config.head]
        self.prefix = prefix if prefix is not None else "" if config.head == "Model" else kind.prefix
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = LearnedPositions(config.max_positions, config.hidden_size, config.position_offset)
        self.segments = nn.Embedding(config.num_segments, config.hidden_size)
        self.embedding_norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_layers))
        is_pooled = config.has_pooler if config.head == "Model" else shape.is_pooled
        self.pooler = Linear(config.hidden_size, config.hidden_size) if is_pooled else None
        self.classifier = Linear(config.hidden_size, config.num_labels) if shape.has_classifier else None
        activation: Activation = "gelu" if kind.is_roberta else config.activation  # RoBERTa's head has one of its own
        self.lm_head = MaskedLmHead(config, activation) if shape.is_masked_lm else None
        self.tie()

    def forward(
        self,
        input_ids: Tensor,
        batch: Batch,
        *,
        input_embeds: Tensor | None = None,
        segments: Tensor | None = None,
        rows: Tensor | None = None,
        head: Head | Literal["pooled", "sentence"] = "hidden",
    ) -> Tensor:
        """input_ids: (N,) int64; `input_embeds` (N, E) in place of the word embeddings; `segments` (N,), zeros if None.

        "hidden": (M, E), the last layer at `rows` (all if None). "logits": what the checkpoint's head says, (M, V) of a masked
        LM, (M, num_labels) of tokens and spans (begin, end), (S, num_labels) of sentences. "pooled": (S, E), tanh of the pooler
        over the first token of each sequence; "sentence": (S, num_labels) of the classifier over it. A callable gets what the
        last module of "logits" would get, and that module. ModelUnavailable names a head that the checkpoint does not have,
        UsageError one that no BERT has; ValueError a causal batch, and a sequence that is longer than there are positions.
        """
        check_head(head, ("logits", "hidden", "pooled", "sentence"), self.config.model_type)
        if batch.causal:
            raise ValueError("an encoder looks both ways: make the batch with causal=False")
        words = self.tokens(input_ids) if input_embeds is None else input_embeds  # (N, E)
        kinds = self.segments.weight[0] if segments is None else self.segments(segments)
        x: Tensor = self.embedding_norm(words + self.places(batch) + kinds)
        for layer in self.layers:
            x = layer(x, batch)
        if head == "hidden":
            return x if rows is None else x[rows]
        if head == "pooled":
            return self._pooled(x, batch)
        is_pooled = head == "sentence" or self.head_over == "sequences"
        last: nn.Module | None = self.classifier if is_pooled or self.lm_head is None else self.lm_head
        if last is None and isinstance(head, str):
            raise ModelUnavailable(
                f"this {self.config.model_type} model has no head for {head!r}",
                "use a checkpoint that was saved with one",
            )
        if is_pooled and last is not None:
            x = self._pooled(x, batch)
        elif rows is not None:
            x = x[rows]
        out: Tensor = head(x, last) if callable(head) else cast(nn.Module, last)(x)
        return out

    @property
    def head_over(self) -> Literal["tokens", "sequences", "nothing"]:
        if self.lm_head is None and self.classifier is None:
            return "nothing"
        return "sequences" if self.lm_head is None and HEADS[self.config.head].is_pooled else "tokens"

    def _pooled(self, x: Tensor, batch: Batch) -> Tensor:
        """x: (N, E) -> (S, E)."""
        if self.pooler is None:
            raise ModelUnavailable("this model has no pooler", "use a checkpoint that was saved with one")
        return torch.tanh(self.pooler(x[batch.starts[:-1]]))

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> Bert:
        config = BertConfig.of(raw, stored)
        if stored is None:
            return cls(config)
        return cls(config, "" if "embeddings.word_embeddings.weight" in stored else KINDS[config.model_type].prefix)

    def links(self) -> Iterator[Link]:
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        layers = range(self.config.num_layers)
        inside = ((f"layers.{n}.{ours}", f"encoder.layer.{n}.{theirs}") for n in layers for ours, theirs in LAYER_NAMES)
        yield from links_of(((ours, self.prefix + theirs) for ours, theirs in (*MODEL_NAMES, *inside)), names)
        yield from links_of(self._head_names(), names)
        if self.lm_head is not None:
            at = "lm_head" if KINDS[self.config.model_type].is_roberta else "cls.predictions"
            yield Link("lm_head.decoder.weight", f"{at}.decoder.weight")
            yield Link("lm_head.decoder.bias", f"{at}.bias")  # a second name of it, and of no use where nothing is tied
            if not self.config.tied:
                yield Link("lm_head.decoder.bias", f"{at}.decoder.bias")

    def _head_names(self) -> Iterator[Names]:
        is_roberta = KINDS[self.config.model_type].is_roberta
        yield from ROBERTA_LM_NAMES if is_roberta else BERT_LM_NAMES
        match self.config.head:
            case "ForSequenceClassification" if is_roberta:
                yield Names("pooler", "classifier.dense")  # the same sum, under another name
                yield Names("classifier", "classifier.out_proj")
                return
            case "ForPreTraining" | "ForNextSentencePrediction":
                yield Names("classifier", "cls.seq_relationship")
            case "ForQuestionAnswering":
                yield Names("classifier", "qa_outputs")
            case _:
                yield Names("classifier", "classifier")
        yield Names("pooler", f"{self.prefix}pooler.dense")

    def raw_config(self) -> dict[str, Any]:
        said = super().raw_config()
        if self.classifier is not None and HEADS[self.config.head].labels is None and "id2label" not in said:
            said["id2label"] = {str(number): f"LABEL_{number}" for number in range(self.config.num_labels)}
        return said

    def tie(self) -> None:
        """With `config.tied`, one tensor for the table of the tokens and for the decoder of `lm_head`."""
        if self.config.tied and self.lm_head is not None:
            self.lm_head.decoder.weight = cast(nn.Parameter, self.tokens.weight)

    def initialise(self, seed: int = 0) -> None:
        draw(self, seed)


def load_bert(directory: Path) -> Bert:
    """The BERT in a Hugging Face directory as an encoder, with its pooler and its classifier of sentences if it has them.

    float32, ready for inference; other heads are not read. ModelUnavailable says what does not fit.
    """
    BertConfig.read(directory)
    raw, stored = read_config(directory), Stored(directory)
    kept = ("embeddings.", "encoder.", "pooler.", "classifier.", "cls.seq_relationship.")
    has_pooler = any(name.endswith("pooler.dense.weight") for name in stored)
    stored.shapes = {
        name: shape
        for name, shape in stored.shapes.items()
        if name.removeprefix("bert.").startswith(kept if has_pooler else kept[:2])
    }
    if "id2label" not in raw and "classifier.weight" in stored:
        raw["num_labels"] = stored.shapes["classifier.weight"][0]
    with torch.device("meta"):
        model = Bert.of(raw, stored)
    match(model, stored, directory)
    model.float().to_empty(device="cpu")
    fill(model, stored)
    return model.eval().requires_grad_(False)
