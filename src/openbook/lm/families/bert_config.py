"""The settings of a BERT, RoBERTa or XLM-R checkpoint, read without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_config
from openbook.lm.nn.activation import CHECKPOINT_NAMES, Activation, read_activation
from openbook.lm.nn.numbers import read_number, read_size


class Kind(NamedTuple):
    """What one `model_type` does differently. `prefix`: of all but the heads' names. `is_roberta`: positions count from
    `pad_token_id` + 1, and the heads are RoBERTa's."""

    architecture: str
    prefix: str
    is_roberta: bool = False
    pad_token_id: int = 0


KINDS: dict[str, Kind] = {
    "bert": Kind("Bert", "bert."),
    "roberta": Kind("Roberta", "roberta.", True, 1),
    "xlm-roberta": Kind("XLMRoberta", "roberta.", True, 1),
}

HeadName = Literal[
    "Model",
    "ForPreTraining",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
]


class HeadShape(NamedTuple):
    """What a head is made of: logits over the vocabulary, a pooled first token, a classifier over that or over each token.

    `labels`: how many; None: as the config says.
    """

    is_masked_lm: bool = False
    is_pooled: bool = False
    has_classifier: bool = False
    labels: int | None = None


HEADS: dict[HeadName, HeadShape] = {
    "Model": HeadShape(is_pooled=True),
    "ForPreTraining": HeadShape(is_masked_lm=True, is_pooled=True, has_classifier=True, labels=2),
    "ForMaskedLM": HeadShape(is_masked_lm=True),
    "ForNextSentencePrediction": HeadShape(is_pooled=True, has_classifier=True, labels=2),
    "ForSequenceClassification": HeadShape(is_pooled=True, has_classifier=True),
    "ForMultipleChoice": HeadShape(is_pooled=True, has_classifier=True, labels=1),
    "ForTokenClassification": HeadShape(has_classifier=True),
    "ForQuestionAnswering": HeadShape(has_classifier=True),
}


@dataclass(frozen=True)
class BertConfig:
    """`head`: the end of the architecture's name. `has_pooler`: a checkpoint without a head may have one all the same."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 512
    num_segments: int = 2
    norm_eps: float = 1e-12
    activation: Activation = "gelu"
    head: HeadName = "Model"
    has_pooler: bool = False
    num_labels: int = 2
    tied: bool = True
    position_offset: int = 0
    model_type: str = "bert"

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def max_seq_len(self) -> int:
        return self.max_positions - self.position_offset

    @classmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> BertConfig:
        """Raises KeyError for what is missing and ValueError for what cannot be."""
        kind = KINDS[raw["model_type"]]
        refuse_decoders(raw)
        head, has_pooler = _head(raw, kind, stored)
        labels = HEADS[head].labels
        config = cls(
            vocab_size=read_size(raw, "vocab_size"),
            hidden_size=read_size(raw, "hidden_size"),
            num_layers=read_size(raw, "num_hidden_layers"),
            num_heads=read_size(raw, "num_attention_heads"),
            intermediate_size=read_size(raw, "intermediate_size"),
            max_positions=read_size(raw, "max_position_embeddings", 512),
            num_segments=read_size(raw, "type_vocab_size", 2),
            norm_eps=read_number(raw, "layer_norm_eps", 1e-12),
            activation=read_activation(raw, "hidden_act", "gelu"),
            head=head,
            has_pooler=has_pooler,
            num_labels=_num_labels(raw) if labels is None else labels,
            tied=bool(raw.get("tie_word_embeddings", True)),
            position_offset=_pad(raw, kind) + 1 if kind.is_roberta else 0,
            model_type=raw["model_type"],
        )
        sizes = (config.vocab_size, config.hidden_size, config.num_layers, config.num_heads, config.intermediate_size)
        if min(*sizes, config.max_seq_len, config.num_segments, config.num_labels) < 1:
            raise ValueError("a size is below 1")
        if config.hidden_size % config.num_heads:
            raise ValueError(f"{config.num_heads} heads cannot divide {config.hidden_size} channels")
        return config

    @classmethod
    def read(cls, directory: Path) -> BertConfig:
        """From `config.json`. ModelUnavailable when it is another family, or a kind of BERT that is not this one."""
        raw = read_config(directory)
        if raw.get("model_type") != "bert":
            raise ModelUnavailable(
                f"{directory} holds a model of type {raw.get('model_type')!r}", "use a checkpoint of type 'bert'"
            )
        try:
            return cls.of(raw)
        except KeyError as error:
            raise ModelUnavailable(f"config.json of {directory} lacks {error}", "copy the checkpoint again") from None
        except (ValueError, TypeError) as error:
            raise ModelUnavailable(f"config.json of {directory}: {error}", "use a plain BERT encoder") from None

    def raw(self) -> dict[str, Any]:
        """The entries of a config.json that `of` reads."""
        kind = KINDS[self.model_type]
        return {
            "model_type": self.model_type,
            "architectures": [kind.architecture + self.head],
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_positions,
            "type_vocab_size": self.num_segments,
            "layer_norm_eps": self.norm_eps,
            "hidden_act": CHECKPOINT_NAMES[self.activation],
            "tie_word_embeddings": self.tied,
            **({"pad_token_id": self.position_offset - 1} if kind.is_roberta else {}),
        }


def refuse_decoders(raw: Mapping[str, Any]) -> None:
    """ValueError for a BERT that is no plain encoder with absolute positions."""
    positions = raw.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ValueError(f"position_embedding_type {positions!r}: only 'absolute' is known")
    for key in ("is_decoder", "add_cross_attention"):
        if raw.get(key):
            raise ValueError(f"{key}: only encoders are known in this family")


def _pad(raw: Mapping[str, Any], kind: Kind) -> int:
    pad = raw.get("pad_token_id", kind.pad_token_id)
    if pad is None:
        raise ValueError("pad_token_id is null, and positions count from it: copy the checkpoint again")
    return int(pad)


def _num_labels(raw: Mapping[str, Any]) -> int:
    return len(raw["id2label"]) if raw.get("id2label") else read_size(raw, "num_labels", 2)


def _head(raw: Mapping[str, Any], kind: Kind, stored: Collection[str] | None) -> tuple[HeadName, bool]:
    """The head, and whether a model without one has a pooler: what is stored says it, or else `architectures`."""
    said = (raw.get("architectures") or [""])[0].removeprefix(kind.architecture)
    named: HeadName = next((name for name in HEADS if name == said), "Model")
    if stored is None:
        return named, named == "Model"
    names = {name.removeprefix(kind.prefix) for name in stored}
    has_pooler = "pooler.dense.weight" in names
    is_masked_lm = bool(names & {"cls.predictions.transform.dense.weight", "lm_head.dense.weight"})
    if "cls.seq_relationship.weight" in names:
        return "ForPreTraining" if is_masked_lm else "ForNextSentencePrediction", False
    if is_masked_lm:
        return "ForMaskedLM", False
    if "qa_outputs.weight" in names:
        return "ForQuestionAnswering", False
    if "classifier.out_proj.weight" in names:
        return "ForSequenceClassification", False
    if "classifier.weight" in names:
        over: HeadName = "ForSequenceClassification" if has_pooler else "ForTokenClassification"
        return named if HEADS[named].has_classifier else over, False
    return "Model", has_pooler
