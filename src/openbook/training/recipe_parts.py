"""The parts of a recipe: its model, its data, its adapter, and the settings that only one objective has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from openbook.training.data.documents import Documents
from openbook.training.data.formats import Format
from openbook.training.data.samples import Prompts, TooLong
from openbook.training.objectives.distill_names import Divergence
from openbook.training.objectives.policy_names import (
    VARIANTS,
    Aggregation,
    Baseline,
    KlEstimate,
    Level,
    PolicyKnobs,
    Variant,
)
from openbook.training.objectives.preference_names import DEFAULTS, Knobs, PreferenceLoss

Layout = Literal["auto", "windows", "packed", "single"]
_REDRAWS = 3
AdapterKind = Literal["lora", "qlora", "dora", "prefix", "p-tuning", "prompt", "houlsby"]


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Paths = Annotated[tuple[Name, ...], BeforeValidator(_several)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelPart(Part):
    """A checkpoint to go on from (`path`), or a fresh model: `family` and `size` of `openbook model new`, `shape` over it."""

    path: str | None = Field(default=None, description="directory of a checkpoint, or the name of a local model")
    family: str = Field(default="llama", description="of a fresh model: llama, mistral, qwen2, qwen3, gpt2, bert or t5")
    size: str | None = Field(default=None, description="of a fresh model: 1m, 5m, 30m, 125m, ...")
    shape: dict[str, float | int | bool | str] = Field(
        default_factory=dict, description="entries of config.json over those of the size"
    )
    tokenizer: str | None = Field(
        default=None, description="of a fresh model: default, characters (of the training text), or a directory"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> ModelPart:
        if (self.path is None) == (self.size is None):
            raise ValueError("give model.path (a checkpoint) or model.size (a fresh model), one of the two")
        if self.path is not None and (self.shape or self.tokenizer):
            raise ValueError("a checkpoint has its shape and its tokenizer: leave out model.shape and model.tokenizer")
        return self


class DataPart(Part):
    """Files, and how their samples become rows. `$NAME` and `~` in paths are replaced."""

    train: Paths = Field(description="files or folders to learn from")
    eval: Paths = Field(default=(), description="files or folders that are only evaluated on")
    eval_share: float = Field(default=0.0, ge=0, lt=1, description="or the last share of `train` in their place")
    eval_rows: int | None = Field(default=None, ge=1, description="rows that an evaluation reads; none: all")
    layout: Layout = Field(
        default="auto",
        description="windows of one long text, rows packed with whole samples, or a single sample a row; "
        "auto: windows for text, packed for all else",
    )
    cache: str | None = Field(default=None, description="where tokenised data is kept; none: beside the run")
    format: Format | None = Field(default=None, description="form of the rows; none: told by their keys")
    documents: Documents = Field(default="file", description="what parts the documents of plain text")
    too_long: TooLong = Field(
        default="auto",
        description="samples longer than max_seq_len: text is cut into pieces, of a chat the first turns stay that fit "
        "(truncate), drop, error; auto: cut for text, truncate for chats, drop for completions",
    )
    prompts: Prompts = Field(
        default="chat", description="questions are put by the chat template, as Alpaca did, or as they are (text)"
    )
    max_broken: float = Field(default=0.01, ge=0, le=1, description="share of rows that may be broken")
    weights: tuple[float, ...] = Field(default=(), description="of each name in train: its share of the rows")
    replay: Paths = Field(default=(), description="older data that is learned again, so that it is not forgotten")
    replay_share: float = Field(default=0.1, gt=0, lt=1, description="of the rows, that are of replay")

    @model_validator(mode="after")
    def _is_sound(self) -> DataPart:
        if not self.train:
            raise ValueError("name at least one file in data.train")
        if self.weights and (len(self.weights) != len(self.train) or min(self.weights) <= 0):
            raise ValueError("give data.weights one number above 0 for each name in data.train")
        if self.eval and self.eval_share:
            raise ValueError("give data.eval or data.eval_share, not both")
        return self


class AdapterPart(Part):
    """What is trained beside a frozen base. Settings of other kinds are refused."""

    kind: AdapterKind
    r: int | None = Field(default=None, ge=1, description="rank of LoRA, QLoRA and DoRA (8)")
    alpha: float | None = Field(default=None, description="its scale is alpha / r (2 r)")
    dropout: float | None = Field(default=None, ge=0, lt=1)
    target_modules: Paths | None = Field(default=None, description="attention, all-linear, or ends of module names")
    trained_modules: Paths | None = Field(default=None, description="modules that are trained whole beside it")
    is_rank_stabilized: bool | None = Field(default=None, description="alpha / sqrt(r) in place of alpha / r")
    size: int | None = Field(default=None, ge=1, description="width of a bottleneck (32)")
    num_virtual_tokens: int | None = Field(default=None, ge=1, description="of prefix, p-tuning and prompt (20)")
    projection_size: int | None = Field(
        default=None, ge=0, description="width of the network of a prefix (p-tuning: 512)"
    )
    initial_text: str | None = Field(default=None, description="what the virtual tokens of a prompt begin as")


class MeshPart(Part):
    """`data` copies of the model, each in `tensor` or in `pipeline` processes."""

    data: int = Field(default=1, ge=1)
    tensor: int = Field(default=1, ge=1)
    pipeline: int = Field(default=1, ge=1)


class RerankPart(Part):
    """Of objective `rerank`. A row of a batch is a group: a query, its positive, and negatives, which are never parted."""

    loss: Literal["listwise", "pointwise"] = Field(
        default="listwise", description="the positive against its negatives, or each pair on its own"
    )
    negatives: int = Field(default=3, ge=1, description="of each query, in a step")
    strangers: int = Field(default=0, ge=0, description="positives of other queries, as easy negatives beside them")


class RewardPart(Part):
    """Of objective `reward`. A row of a batch is a pair, or a solution whose steps have labels, by the form of the data."""

    center: float = Field(
        default=0.0, ge=0, description="of (r_c + r_r)^2, which holds the scores around 0; 0.01 is common"
    )


class PreferencePart(Part):
    """Of objective `preference`. A row of a batch is a pair; of kto an answer. Settings that a loss does not have are refused."""

    loss: PreferenceLoss = "sigmoid"
    beta: float | None = Field(default=None, gt=0, description="how little the model may leave its reference (0.1)")
    label_smoothing: float | None = Field(
        default=None, ge=0, lt=0.5, description="of cdpo: share of wrong labels (0.1)"
    )
    gamma: float | None = Field(default=None, ge=0, description="of simpo: the margin that is aimed at (1)")
    weight: float | None = Field(
        default=None, ge=0, description="of orpo: of the odds (0.1); cpo: of the likelihood (1)"
    )
    desirable: float | None = Field(default=None, gt=0, description="of kto: weight of answers that were liked (1)")
    undesirable: float | None = Field(default=None, gt=0, description="of kto: weight of the others (1)")

    @model_validator(mode="after")
    def _has_its_settings(self) -> PreferencePart:
        given = {name for name, value in self.model_dump(exclude={"loss"}).items() if value is not None}
        if unknown := sorted(given - DEFAULTS[self.loss].keys()):
            known = ", ".join(DEFAULTS[self.loss])
            raise ValueError(f"preference.{unknown[0]} is no setting of {self.loss}, which has {known}")
        return self

    @property
    def knobs(self) -> Knobs:
        """What is given, over the defaults of the loss."""
        given = {name: value for name, value in self.model_dump(exclude={"loss"}).items() if value is not None}
        return Knobs(**(DEFAULTS[self.loss] | given))


class GrpoPart(Part):
    """Of objective `grpo`: a variant, and what is said over what its paper recommends."""

    variant: Variant = "dapo"
    baseline: Baseline | None = Field(
        default=None, description="what is taken from a reward, and what it is divided by"
    )
    clip_low: float | None = Field(default=None, gt=0, lt=1, description="how far below 1 a ratio has an effect")
    clip_high: float | None = Field(default=None, gt=0, description="how far above")
    dual_clip: float | None = Field(
        default=None, gt=1, description="the largest ratio that counts against a bad answer"
    )
    level: Level | None = Field(default=None, description="whose ratio it is: a token's or a sequence's")
    aggregation: Aggregation | None = Field(default=None, description="what a unit of the loss is")
    beta: float | None = Field(
        default=None, ge=0, description="of the divergence from the model that the run began with"
    )
    kl: KlEstimate | None = None
    redraws: int | None = Field(
        default=None,
        ge=0,
        description="times that other prompts are drawn for groups without signal (dapo 3, others 0)",
    )

    @property
    def knobs(self) -> PolicyKnobs:
        """What is given, over what the variant recommends."""
        names = ("clip_low", "clip_high", "dual_clip", "level", "aggregation", "beta", "kl")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return VARIANTS[self.variant].knobs._replace(**given)

    @property
    def chosen_baseline(self) -> Baseline:
        return self.baseline or VARIANTS[self.variant].baseline

    @property
    def most_redraws(self) -> int:
        if self.redraws is not None:
            return self.redraws
        return _REDRAWS if VARIANTS[self.variant].is_dynamic else 0


class DistillPart(Part):
    """Of objective `distill`: loss = (1 - weight) cross-entropy + weight temperature^2 divergence from the teacher."""

    teacher: str | None = Field(default=None, description="directory of a model with the student's tokens")
    divergence: Divergence = "forward"
    temperature: float = Field(default=1.0, gt=0, description="divides the logits of both")
    weight: float = Field(default=0.5, gt=0, le=1)
    mixture: float = Field(default=0.5, gt=0, lt=1, description="of jsd: share of the teacher in the middle")
    on_policy: float = Field(
        default=0.0, ge=0, le=1, description="share of the steps that learn from what the student itself writes"
    )


class MaskedPart(Part):
    """Of objective `masked`. Of the hidden tokens `mask_share` become the mask, `random_share` any token; the rest stay."""

    share: float = Field(default=0.15, gt=0, lt=1, description="of the tokens, hidden")
    mask_share: float = Field(default=0.8, ge=0, le=1)
    random_share: float = Field(default=0.1, ge=0, le=1)
    whole_words: bool = Field(default=False, description="all tokens of a word are hidden, or none")

    @model_validator(mode="after")
    def _at_most_all(self) -> MaskedPart:
        if self.mask_share + self.random_share > 1:
            raise ValueError("mask_share and random_share are more than 1 together")
        return self


class SpansPart(Part):
    """Of objective `spans`."""

    share: float = Field(default=0.15, gt=0, lt=1, description="of the tokens, in spans that are to be restored")
    mean_length: float = Field(default=3.0, ge=1, description="tokens of a span")


class ReaderPart(Part):
    """Of objective `reader`: how often a question is shown where it has no answer, by how that is built (`data.unanswerable`)."""

    neighbour: float = Field(default=0.08, ge=0, le=1, description="another passage of the article")
    other: float = Field(default=0.03, ge=0, le=1, description="a passage of another article")
    without: float = Field(default=0.07, ge=0, le=1, description="its passage without the sentences that answer")
    changed: float = Field(default=0.17, ge=0, le=1, description="its passage, with one thing in the question changed")
    stride: int = Field(default=128, ge=1, description="tokens between two windows of a long passage")

    @model_validator(mode="after")
    def _some_are_left(self) -> ReaderPart:
        if self.neighbour + self.other + self.without + self.changed >= 1:
            raise ValueError("reader: the shares without an answer leave nothing that has one")
        return self


class EwcPart(Part):
    """Elastic weight consolidation: what older data needs is held. `weight` 1 counts its tokens as much as new ones."""

    weight: float = Field(gt=0)
    data: Paths = Field(description="files that the model has learned from, or that are like them")
    samples: int = Field(default=256, ge=1, description="rows of them that say which weights matter")


class ContinualPart(Part):
    """What keeps a fine-tune from forgetting; for replay of older data see `data.replay`."""

    ewc: EwcPart | None = None
    l2sp: float = Field(default=0.0, ge=0, description="strength that draws all weights to where they began")
    freeze: tuple[int | str, ...] = Field(
        default=(), description="what stays as it is: numbers of layers, 0-3, embeddings, or names of modules"
    )

    @property
    def is_on(self) -> bool:
        return bool(self.ewc or self.l2sp or self.freeze)


class ForgettingPart(Part):
    """What is measured before and after a fine-tune; the built-in texts and probes where none are given."""

    texts: Paths = Field(default=(), description="general text that is not learned from")
    probes: str | None = Field(default=None, description='JSON lines {"prompt": ..., "answer": ...}')


class ContrastivePart(Part):
    """Of objective `contrastive`. A row of a batch is a group; passages of all groups of a step are negatives of each query."""

    negatives: int = Field(default=1, ge=0, description="of each query, beside the passages of others")
    temperature: float = Field(default=0.05, gt=0, description="divides the cosines")
    symmetric: bool = Field(default=False, description="queries are told apart for each positive too")
    dims: tuple[int, ...] = Field(default=(), description="beginnings of the vectors that are to be useful alone")
    pooling: Literal["mean", "cls", "max", "mean_sqrt_len"] | None = Field(
        default=None, description="of a model that says none: mean"
    )
    query_prompt: str | None = Field(default=None, description="before each query; none: as the model has it")
    passage_prompt: str | None = Field(default=None, description="before each passage; none: as the model has it")
    languages: tuple[str, ...] = Field(default=(), description="that it knows, en or zh; none: judged by its word list")

    @model_validator(mode="after")
    def _has_lengths(self) -> ContrastivePart:
        if any(size < 1 for size in self.dims):
            raise ValueError("contrastive.dims are lengths of vectors: 1 and more")
        return self


class NextSentencePart(Part):
    """Of objective `next_sentence`. A held-out choice is between two passages of one document."""

    others: int = Field(default=3, ge=1, description="passages of the same document that do not follow, of each choice")
    strangers: float = Field(
        default=0.5, ge=0, le=1, description="share of the choices that have one of another document too"
    )


class ClassifierPart(Part):
    """Of objective `classifier`."""

    labels: Paths = Field(default=(), description="as the rows say them; the order is that of the numbers")

    @model_validator(mode="after")
    def _are_different(self) -> ClassifierPart:
        if twice := sorted({one for one in self.labels if self.labels.count(one) > 1}):
            raise ValueError(f"classifier.labels names {twice[0]!r} more than once")
        return self
