"""T5: an encoder that reads, a decoder that looks at it and writes; positions are biases by distance.

Source: Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1; of 1.1 (gated network, head of its own): Shazeer 2020,
https://arxiv.org/abs/2002.05202. Scores are not divided by sqrt(D): the queries' fresh weights are. In reading order: the
names, the layer, a stack of them, the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from openbook.lm.families.base import Family, Head, Link, Names, check_head, links_of
from openbook.lm.families.initial import draw
from openbook.lm.families.t5_config import T5Config
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cross import CrossAttention, Source
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import GatedMlp, Mlp
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.positions import RelativePositions

ATTENTION_NAMES = (
    Names("attention.q", "layer.0.SelfAttention.q"),
    Names("attention.k", "layer.0.SelfAttention.k"),
    Names("attention.v", "layer.0.SelfAttention.v"),
    Names("attention.out", "layer.0.SelfAttention.o"),
    Names("attention_norm", "layer.0.layer_norm"),
)
CROSS_NAMES = (
    Names("cross.q", "layer.1.EncDecAttention.q"),
    Names("cross.k", "layer.1.EncDecAttention.k"),
    Names("cross.v", "layer.1.EncDecAttention.v"),
    Names("cross.out", "layer.1.EncDecAttention.o"),
    Names("cross_norm", "layer.1.layer_norm"),
)
MLP_NAMES = (Names("mlp.up", "wi"), Names("mlp.down", "wo"))
GATED_NAMES = (Names("mlp.gate", "wi_0"), Names("mlp.up", "wi_1"), Names("mlp.down", "wo"))


class T5Layer(nn.Module):
    """x = x + attention(norm(x)); in a decoder x = x + cross(norm(x)); x = x + mlp(norm(x))."""

    def __init__(self, config: T5Config, layer: int, *, is_decoder: bool) -> None:
        super().__init__()
        size, heads, dim = config.hidden_size, config.num_heads, config.head_dim
        self.attention_norm = RmsNorm(size, config.norm_eps)
        self.attention = Attention(size, heads, None, dim, bias=False, out_bias=False, scale=1.0, layer=layer)
        self.cross_norm = RmsNorm(size, config.norm_eps) if is_decoder else None
        self.cross = CrossAttention(size, heads, dim, scale=1.0, layer=layer) if is_decoder else None
        self.mlp_norm = RmsNorm(size, config.norm_eps)
        self.mlp: nn.Module
        if config.is_gated:
            self.mlp = GatedMlp(size, config.intermediate_size, config.activation)
        else:
            self.mlp = Mlp(size, config.intermediate_size, config.activation, bias=False)

    def forward(
        self, x: Tensor, batch: Batch, biases: Mapping[tuple[int, int], Tensor], source: Source | None
    ) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = x + self.attention(self.attention_norm(x), batch, None, biases)
        if self.cross is not None and self.cross_norm is not None and source is not None:
            x = x + self.cross(self.cross_norm(x), batch, source)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class T5Stack(nn.Module):
    """The layers of an encoder or of a decoder, the biases that all of them share, and the norm behind them."""

    def __init__(self, config: T5Config, num_layers: int, *, is_decoder: bool) -> None:
        super().__init__()
        self.distances = RelativePositions(
            config.num_buckets, config.num_heads, config.max_distance, bidirectional=not is_decoder
        )
        self.layers = nn.ModuleList(T5Layer(config, layer, is_decoder=is_decoder) for layer in range(num_layers))
        self.norm = RmsNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, batch: Batch, source: Source | None = None) -> Tensor:
        """x: (N, E) -> (N, E), normalised."""
        biases = {shape: self.distances(*shape) for shape in {(run.length, run.visible) for run in batch.runs}}
        for layer in self.layers:
            x = layer(x, batch, biases, source)
        return self.norm(x)  # type: ignore[no-any-return]


class T5(Family):
    """Two ragged stacks. `decoder` and `lm_head` are None in a checkpoint that is an encoder alone."""

    config: T5Config
    causal = False
    ignored = (
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "layer.1.EncDecAttention.relative_attention_bias.weight",
    )

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = T5Stack(config, config.num_layers, is_decoder=False)
        has_decoder = config.num_decoder_layers > 0
        self.decoder = T5Stack(config, config.num_decoder_layers, is_decoder=True) if has_decoder else None
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False) if has_decoder else None
        self.tie()

    def forward(
        self,
        input_ids: Tensor | None,
        batch: Batch | None,
        *,
        decoder_input_ids: Tensor | None = None,
        decoder_batch: Batch | None = None,
        source: Source | None = None,
        input_embeds: Tensor | None = None,
        rows: Tensor | None = None,
        head: Head = "logits",
    ) -> Tensor:
        """input_ids: (M,) int64 for the encoder, `input_embeds` (M, E) in place of their embeddings, `batch` not causal;
        decoder_input_ids: (N,) int64 and their causal `decoder_batch`, a sequence for each of the encoder's.

        `source`, made by `read`, stands in place of the encoder's input: it need not be read again. Of the decoder's `rows`
        (R of the N, all if None): "logits" (R, V), "hidden" (R, E); a callable gets (hidden, lm_head), the hidden already
        scaled. Without decoder_input_ids, "hidden" is what the encoder says, (R, E) of its own rows.
        Raises ValueError for what is missing, or a batch that is causal where it must not be; UsageError for another head.
        """
        check_head(head, ("logits", "hidden"), "t5")
        if decoder_input_ids is None or decoder_batch is None or self.decoder is None or self.lm_head is None:
            if head != "hidden":
                raise ValueError(
                    "T5 writes with its decoder: give decoder_input_ids and decoder_batch, or head='hidden'"
                )
            encoded = self._encode(input_ids, batch, input_embeds)
            return encoded if rows is None else encoded[rows]
        if not decoder_batch.causal:
            raise ValueError("a decoder does not look ahead: make decoder_batch with causal=True")
        if source is None:
            source = self._source(self._encode(input_ids, batch, input_embeds), cast(Batch, batch))
        x = self.decoder(self.tokens(decoder_input_ids), decoder_batch, source)  # (N, E)
        x = x if rows is None else x[rows]
        if head == "hidden":
            return cast(Tensor, x)
        x = x * self.config.hidden_size**-0.5 if self.config.is_scaled else x
        out: Tensor = head(x, self.lm_head) if callable(head) else self.lm_head(x)
        return out

    @property
    def head_over(self) -> Literal["tokens", "sequences", "nothing"]:
        return "tokens" if self.decoder is not None else "nothing"

    def read(self, input_ids: Tensor, batch: Batch, *, input_embeds: Tensor | None = None) -> Source:
        """What the decoder needs of these sequences, at every step of a generation. ValueError for an encoder alone."""
        return self._source(self._encode(input_ids, batch, input_embeds), batch)

    def _encode(self, input_ids: Tensor | None, batch: Batch | None, input_embeds: Tensor | None) -> Tensor:
        if batch is None or (input_ids is None and input_embeds is None):
            raise ValueError("the encoder has nothing to read: give input_ids and batch, or a source")
        if batch.causal:
            raise ValueError("the encoder looks both ways: make the batch with causal=False")
        words = self.tokens(input_ids) if input_embeds is None else input_embeds
        return self.encoder(words, batch)  # type: ignore[no-any-return]

    def _source(self, encoded: Tensor, batch: Batch) -> Source:
        if self.decoder is None:
            raise ValueError("this T5 is an encoder alone: it writes nothing")
        pairs = [cast(CrossAttention, layer.cross).read(encoded) for layer in self.decoder.layers]
        lengths = [run.length for run in batch.runs for _ in range(run.sequences)]
        return Source([k for k, _ in pairs], [v for _, v in pairs], lengths)

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> T5:
        return cls(T5Config.of(raw, stored))

    def links(self) -> Iterator[Link]:
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        yield Link("tokens.weight", "shared.weight")
        yield Link("lm_head.weight", "lm_head.weight")
        network = GATED_NAMES if self.config.is_gated else MLP_NAMES
        for stack, count in (("encoder", self.config.num_layers), ("decoder", self.config.num_decoder_layers)):
            if not count:
                continue
            last = 2 if stack == "decoder" else 1
            own = [*ATTENTION_NAMES, *(CROSS_NAMES if stack == "decoder" else ())]
            own += [Names(ours, f"layer.{last}.DenseReluDense.{theirs}") for ours, theirs in network]
            own.append(Names("mlp_norm", f"layer.{last}.layer_norm"))
            table = [(f"{stack}.layers.{n}.{o}", f"{stack}.block.{n}.{t}") for n in range(count) for o, t in own]
            table.append((f"{stack}.norm", f"{stack}.final_layer_norm"))
            table.append((f"{stack}.distances", f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"))
            yield from links_of(table, names)

    def tie(self) -> None:
        """With `config.tied`, one tensor for the table of the tokens and for `lm_head`."""
        if self.config.tied and self.lm_head is not None:
            self.lm_head.weight = cast(nn.Parameter, self.tokens.weight)

    def initialise(self, seed: int = 0) -> None:
        """As all families, and the queries divided by sqrt(D), as nothing else does it."""
        ends = ("attention.out.weight", "cross.out.weight", "mlp.down.weight")
        draw(self, seed, ends, branches=max(2 * self.config.num_layers, 3 * self.config.num_decoder_layers))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith(".q.weight"):
                    parameter.mul_(self.config.head_dim**-0.5)
