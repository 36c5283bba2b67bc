"""A recipe: everything that a run is made of, as one frozen model. YAML in, `key.path=value` over it, the effective values out.

Its parts are in `recipe_parts`. In reading order: the recipe, how it is read and written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from openbook.core.config import set_key, split_override, validated
from openbook.core.errors import UsageError
from openbook.training.recipe_parts import (
    AdapterPart,
    ClassifierPart,
    ContinualPart,
    ContrastivePart,
    DataPart,
    DistillPart,
    ForgettingPart,
    GrpoPart,
    MaskedPart,
    MeshPart,
    ModelPart,
    Name,
    NextSentencePart,
    Part,
    PreferencePart,
    ReaderPart,
    RerankPart,
    RewardPart,
    SpansPart,
)
from openbook.training.recipe_ppo import PpoPart
from openbook.training.recipe_reads import check_read
from openbook.training.rewards.settings import RewardTerm
from openbook.training.rollouts.settings import RolloutPart
from openbook.training.schedule import Shape

ObjectiveName = Literal[
    "next_token",
    "masked",
    "spans",
    "rerank",
    "reader",
    "contrastive",
    "next_sentence",
    "classifier",
    "reward",
    "preference",
    "grpo",
    "distill",
    "ppo",
]
Precision = Literal["float32", "bfloat16", "bfloat16-pure", "float16"]
OptimizerName = Literal["adamw", "adamw8bit", "muon"]
Way = Literal["ddp", "fsdp", "tensor", "pipeline"]
Momentum = Annotated[float, Field(ge=0, lt=1)]


_LENGTHS = ("steps", "epochs")
"""Of which a recipe says one."""


class Recipe(Part):
    """All of a run. Sizes of batches are sequences, or rows of `max_seq_len` tokens where samples are packed."""

    objective: ObjectiveName = "next_token"
    model: ModelPart
    data: DataPart
    adapter: AdapterPart | None = None
    masked: MaskedPart = MaskedPart()
    spans: SpansPart = SpansPart()
    rerank: RerankPart = RerankPart()
    contrastive: ContrastivePart = ContrastivePart()
    reader: ReaderPart = ReaderPart()
    next_sentence: NextSentencePart = NextSentencePart()
    classifier: ClassifierPart = ClassifierPart()
    reward: RewardPart = RewardPart()
    preference: PreferencePart = PreferencePart()
    grpo: GrpoPart = GrpoPart()
    distill: DistillPart = DistillPart()
    ppo: PpoPart = PpoPart()
    rollout: RolloutPart = RolloutPart()
    rewards: tuple[RewardTerm, ...] = Field(default=(), description="what completions are worth: a weighted sum")
    continual: ContinualPart = ContinualPart()
    forgetting: ForgettingPart | bool = Field(
        default=True, description="what a model that is given by its path forgets; false: it is not measured"
    )
    steps: int | None = Field(default=None, ge=1, description="optimizer steps; or epochs")
    epochs: float | None = Field(default=None, gt=0, description="times that all rows are seen; or steps")
    batch_size: int = Field(default=8, ge=1, description="rows of an optimizer step, over all ranks")
    micro_batch_size: int | None = Field(default=None, ge=1, description="rows of a forward pass; none: all of a rank")
    max_seq_len: int = Field(default=512, ge=2, description="tokens of a row")
    lr: float = Field(default=3e-4, gt=0)
    schedule: Shape = "cosine"
    warmup: float = Field(default=0.0, ge=0, description="steps; below 1 a share of all")
    decay: float = Field(default=0.0, ge=0, description="steps of wsd's way down; below 1 a share of all")
    least_rate: float = Field(default=0.1, ge=0, le=1, description="share of lr at the end of linear, cosine and wsd")
    optimizer: OptimizerName = "adamw"
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    muon_lr: float | None = Field(default=None, gt=0)
    max_norm: float = Field(default=1.0, ge=0, description="gradients are clipped to this norm; 0: they are not")
    precision: Precision = "float32"
    parallel: Way | MeshPart = Field(
        default="ddp",
        description="with torchrun: each process has the whole model (ddp), a part of each parameter (fsdp), of each layer "
        "(tensor), or some of the layers (pipeline); or how many of which, as {data: 2, tensor: 2}",
    )
    pipeline_schedule: Literal["1f1b", "gpipe"] = "1f1b"
    gradient_checkpointing: bool = False
    compile: bool = False
    eval_every: int | None = Field(default=None, ge=1, description="steps; none: at the end")
    save_every: int | None = Field(default=None, ge=1, description="steps; none: at the end")
    checkpoint: Literal["whole", "sharded"] = Field(
        default="whole",
        description="sharded: with fsdp and tensor, each process writes its part; the last model is whole",
    )
    keep: int = Field(default=2, ge=1, description="checkpoints that stay, beside the best")
    early_stopping: int | None = Field(default=None, ge=1, description="evaluations without a better one that end it")
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of an average of the weights")
    log_every: int = Field(default=10, ge=1, description="steps between lines on the screen")
    tensorboard: bool = Field(default=False, description="event files for TensorBoard beside the log")
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    out: Name = Field(description="directory of the run")

    @model_validator(mode="after")
    def _is_whole(self) -> Recipe:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of the two")
        if self.early_stopping is not None and not self.has_evaluation:
            raise ValueError("early_stopping needs data.eval or data.eval_share")
        if self.adapter is not None and self.model.path is None:
            raise ValueError("an adapter needs a trained base: give model.path")
        if isinstance(self.parallel, MeshPart) and self.parallel.tensor > 1 and self.parallel.pipeline > 1:
            raise ValueError("parallel is tensor or pipeline, not both; each goes with data")
        if self.continual.is_on and (self.model.path is None or self.adapter is not None):
            raise ValueError(
                "continual holds weights of a trained model (model.path); an adapter leaves them as they are"
            )
        check_read(self)
        return self

    @property
    def way(self) -> Way:
        """How the model is spread over processes."""
        if isinstance(self.parallel, str):
            return self.parallel
        return "tensor" if self.parallel.tensor > 1 else "pipeline" if self.parallel.pipeline > 1 else "ddp"

    @property
    def has_evaluation(self) -> bool:
        return bool(self.data.eval or self.data.eval_share)


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file with "key.path=value" over it. UsageError names the key, and the nearest known one."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "see `openbook train --list`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", "mend it") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no recipe", "write KEY: VALUE lines")
    said: set[str] = set()
    for text in overrides:
        key, value = split_override(text)
        if key in _LENGTHS and value is not None:  # the recipe's other one is not meant any more
            values = {name: held for name, held in values.items() if name not in _LENGTHS or name in said}
        said.add(key)
        set_key(values, key, value)
    return recipe_of(values)


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """UsageError names the key, and the nearest known one."""
    return validated(Recipe, values, "recipe key")


def as_yaml(recipe: Recipe) -> str:
    """All settings in force, which make the same run again."""
    said: str = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return said


def data_paths(names: Sequence[str]) -> list[Path]:
    """UsageError for a path that is not there, or in which a variable is left that nobody has set."""
    paths = [Path(os.path.expandvars(name)).expanduser() for name in names]
    for name, path in zip(names, paths, strict=True):
        if "$" in str(path):
            raise UsageError(f"{name}: its variable is not set", "set it in the environment, or give data.train=FILE")
        if not path.exists():
            raise UsageError(f"{path} is not there", "give data.train=FILE (or data.eval=FILE)")
    return paths
