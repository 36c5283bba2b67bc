"""What the tasks over rollouts share: prompts, a writer, rewards, and what a recipe may not ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from openbook.core.errors import BadData, UsageError
from openbook.lm.local import model_directory
from openbook.serving.engine.ends import end_tokens_of
from openbook.training.begin import Begun, os_path
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.rewards.open import open_rewards
from openbook.training.rollouts.environment import open_environment
from openbook.training.rollouts.prompts import PromptSet, read_prompts
from openbook.training.rollouts.rolling import Roller
from openbook.training.rollouts.samples import SampleLog
from openbook.training.rollouts.written import Writer
from openbook.training.sources.rollouts import Judged, Learner, RolloutSource, Schedule
from openbook.training.tasks.writers import open_writers

M = TypeVar("M")


@dataclass(frozen=True)
class Rolling:
    """`held_out`: prompts that are only evaluated on. `roller` writes what is learned from, `judge` what is evaluated."""

    prompts: PromptSet
    held_out: PromptSet | None
    roller: Roller
    judge: Roller
    schedule: Schedule
    about_writers: tuple[str, ...] = ()

    def close(self) -> None:
        """Ends the processes of rewards, and what the writers hold."""
        self.roller.rest()
        self.judge.rest()
        if self.roller.rewards is not None:
            self.roller.rewards.close()

    def notes(self) -> Iterator[str]:
        yield f"{self.prompts} to answer" + (f", {self.held_out} held out" if self.held_out else "")
        yield from self.prompts.lines()
        if self.held_out is not None:
            yield from self.held_out.lines()
        yield from self.about_writers


def open_rolling(
    recipe: Recipe, begun: Begun, ranks: Ranks, redraws: int = 0, *, needs_rewards: bool = True
) -> Rolling:
    """UsageError for what rollouts cannot be with, BadData where there are no prompts."""
    check_rolling(recipe, begun)
    part, tokenizer, data = recipe.rollout, begun.tokenizer, recipe.data
    most = recipe.max_seq_len - part.max_tokens
    if most < 1:
        raise UsageError(
            f"max_seq_len {recipe.max_seq_len} has no room for a prompt beside {part.max_tokens} tokens of completion",
            "raise max_seq_len, or lower rollout.max_tokens",
        )

    def read(names: tuple[str, ...]) -> PromptSet:
        paths = data_paths(names)
        return read_prompts(paths, tokenizer, prompts=data.prompts, max_tokens=most, max_broken=data.max_broken)

    prompts, held_out = read(data.train), read(data.eval) if data.eval else None
    if data.eval_share:
        count = round(len(prompts) * data.eval_share)
        if not 0 < count < len(prompts):
            raise BadData(f"{data.eval_share} of {prompts} is no part of them", "give data.eval=FILE")
        held_out = PromptSet(prompts.prompts[-count:], {}, {})
        prompts = PromptSet(prompts.prompts[:-count], prompts.left_out, prompts.places)
    writers = open_writers(recipe, begun, _ends(recipe, begun), ranks)
    if not recipe.rewards and needs_rewards:
        raise UsageError("there is no reward", "name one under rewards: function, builtin, program, model or judge")
    schedule = _schedule(recipe, ranks, redraws)
    environment = None if part.environment is None else open_environment(part.environment)
    rewards = open_rewards(recipe.rewards) if recipe.rewards else None  # last: functions have processes of their own

    def roller(writer: Writer, seed: int) -> Roller:
        return Roller(
            writer,
            tokenizer,
            rewards,
            seed=seed,
            max_tokens=part.max_tokens,
            environment=environment,
            max_turns=part.max_turns,
            turn_s=part.turn_s,
            prompts=data.prompts,
        )

    return Rolling(
        prompts,
        held_out,
        roller(writers.learned, recipe.seed),
        roller(writers.evaluated, recipe.seed + 1),
        schedule,
        writers.notes,
    )


def source_of(
    recipe: Recipe,
    begun: Begun,
    ranks: Ranks,
    rolling: Rolling,
    learner: Learner[M],
    samples: SampleLog,
    *,
    needs_rewards: bool = True,
) -> RolloutSource[M]:
    """The steps of rollouts that `learner` makes micro-batches of."""
    roll = recipe.rollout
    return RolloutSource(
        rolling.prompts.prompts,
        rolling.roller,
        learner,
        rolling.schedule,
        ranks,
        seed=recipe.seed,
        limits=roll.limits,
        samples=samples,
        vocab_size=begun.model.config.vocab_size,
        leaves_out_truncated=roll.truncated == "leave out",
        needs_rewards=needs_rewards,
    )


def evaluated(recipe: Recipe, rolling: Rolling, source: RolloutSource[M]) -> Iterator[Judged]:
    """What the model as it is answers to prompts that are held out."""
    if rolling.held_out is not None:
        most, completions = recipe.data.eval_rows, recipe.rollout.eval_completions
        yield from source.evaluated(rolling.judge, rolling.held_out.prompts, completions, most)


def check_rolling(recipe: Recipe, begun: Begun) -> None:
    name = recipe.objective
    if begun.is_fresh:
        raise UsageError(f"{name} begins with a model that writes", "give model.path=DIR")
    if not begun.model.causal or begun.model.head_over != "tokens":
        kind = begun.model.config.model_type
        raise UsageError(f"{name} learns on a decoder that writes, not on this {kind}", "give another model.path")
    if recipe.way != "ddp":
        raise UsageError(f"{name} needs the whole model in each process to write", "use parallel=ddp")
    if recipe.adapter is not None and recipe.adapter.dropout:
        raise UsageError("dropout makes another policy of each step than the one that wrote", "set adapter.dropout=0")


def _schedule(recipe: Recipe, ranks: Ranks, redraws: int) -> Schedule:
    part, size = recipe.rollout, recipe.batch_size
    if size * part.minibatches % part.completions:
        raise UsageError(
            f"batch_size {size} times {part.minibatches} minibatches is no multiple of {part.completions} completions",
            "completions of a prompt are learned together: change batch_size or rollout.completions",
        )
    prompts = size * part.minibatches // part.completions
    if prompts % ranks.world_size:
        raise UsageError(
            f"{prompts} prompts of a rollout cannot be parted among {ranks.world_size} processes", "raise batch_size"
        )
    micro = recipe.micro_batch_size or -(-size // ranks.world_size)
    return Schedule(size, micro, part.completions, part.minibatches, part.epochs, redraws)


def _ends(recipe: Recipe, begun: Begun) -> list[int]:
    """Tokens that end an answer. UsageError where there are none."""
    assert recipe.model.path is not None, "fresh models were refused"
    directory: Path = model_directory(os_path(recipe.model.path))
    eos = begun.tokenizer.eos_id
    ends = end_tokens_of(directory, begun.model) | ({eos} if eos is not None else set())
    if not ends:
        raise UsageError("no token ends an answer of this model", "write eos_token_id into its config.json")
    return sorted(ends)
