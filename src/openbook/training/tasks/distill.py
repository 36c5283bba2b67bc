"""A teacher's knowledge for a student: on text, on chats, or on what the student writes itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from openbook.core.errors import UsageError
from openbook.core.progress import Progress
from openbook.lm.families.base import Family
from openbook.lm.load import load_model
from openbook.lm.local import model_directory
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.begin import Begun, os_path
from openbook.training.objectives.distill import Distilled, Knobs
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rollouts.samples import SampleLog
from openbook.training.rows import Rows, open_rows
from openbook.training.sources.distill import Own, OwnWords, SharedSource
from openbook.training.sources.rollouts import RolloutSource
from openbook.training.sources.step import Source, Tokens
from openbook.training.tasks.rolled import Rolling, open_rolling, source_of
from openbook.training.tasks.task import Task


def distill_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    """UsageError for a teacher that reads other tokens, and for shares of its own words where it is trained in parts."""
    part = recipe.distill
    if part.teacher is None:
        raise UsageError("a student needs a teacher", "give distill.teacher=DIR")
    if recipe.way != "ddp":
        raise UsageError("a student and its teacher are whole in each process", "use parallel=ddp")
    teacher = open_teacher(part.teacher, recipe, begun)
    knobs = Knobs(part.divergence, part.temperature, part.weight, part.mixture)
    size = sum(one.numel() for one in teacher.parameters())
    notes = [f"teacher: {size:,} parameters, {part.divergence} divergence, of weight {part.weight:g}"]
    rows = open_rows(recipe, begun.tokenizer, ranks, progress, is_text=False) if part.on_policy < 1 else None
    rolling = _rolling(recipe, begun, ranks) if part.on_policy else None
    if rows is not None:
        notes += rows.notes()
    if rolling is not None:
        notes += rolling.notes()
    found = rows or _held_out(recipe, begun, ranks, progress)

    samples = SampleLog(Path(recipe.out), recipe.rollout.samples)

    def held_out() -> Iterator[Tokens]:
        if found is not None:
            yield from found.evaluated(recipe.max_seq_len, recipe.data.eval_rows, ranks)

    return Task(
        _source(recipe, begun, ranks, rows, rolling, samples),
        Distilled(teacher, knobs),
        held_out,
        rows.per_epoch if rows is not None else _per_epoch(recipe, rolling),
        begins_at_guess=False,
        is_fixed=rows is not None and rows.layout == "windows" and rolling is None,
        notes=tuple(notes),
        begin=samples.begin,
        close=(lambda: None) if rolling is None else rolling.close,
    )


def _rolling(recipe: Recipe, begun: Begun, ranks: Ranks) -> Rolling:
    """What is held out is not asked: its answers are read as they are. Rewards are only logged."""
    if recipe.data.eval_share:
        raise UsageError(
            "prompts cannot be parted as their answers are, by tokens",
            "hold rows out in a file: data.eval=FILE data.eval_share=0",
        )
    asked = recipe.model_copy(update={"data": recipe.data.model_copy(update={"eval": ()})})
    return open_rolling(asked, begun, ranks, needs_rewards=False)


def _held_out(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Rows | None:
    """Where the student learns from its own words alone: prompts need no answers, only what is held out does."""
    data = recipe.data
    if not data.eval:
        return None
    only = data.model_copy(update={"train": data.eval, "eval": (), "weights": (), "replay": ()})
    rows = open_rows(recipe.model_copy(update={"data": only}), begun.tokenizer, ranks, progress, is_text=False)
    return replace(rows, held_outs=(rows.train,))


def _per_epoch(recipe: Recipe, rolling: Rolling | None) -> int:
    assert rolling is not None
    return len(rolling.prompts) * recipe.rollout.completions * recipe.rollout.epochs


def open_teacher(name: str, recipe: Recipe, begun: Begun) -> Family:
    """For inference only. UsageError where its tokens are not the student's."""
    directory: Path = model_directory(os_path(name))
    dtype = torch.bfloat16 if recipe.precision.startswith("bfloat16") else torch.float32
    teacher = load_model(directory, dtype)
    if not teacher.causal or not begun.model.causal:
        raise UsageError("teacher and student are decoders that write", "give another model")
    theirs = Tokenizer.load(directory).backend.get_vocab()
    if theirs != begun.tokenizer.backend.get_vocab():
        raise UsageError(
            "the teacher has other tokens than the student",
            "let it write instead: `openbook data generate`, and fine-tune on that",
        )
    if teacher.config.vocab_size != begun.model.config.vocab_size:
        rows = f"{teacher.config.vocab_size:,} and {begun.model.config.vocab_size:,}"
        raise UsageError(f"the tables of teacher and student have {rows} rows", "pad the smaller one's table")
    return teacher


def _source(
    recipe: Recipe, begun: Begun, ranks: Ranks, rows: Rows | None, rolling: Rolling | None, samples: SampleLog
) -> Source[Any]:
    if rolling is None:
        assert rows is not None
        return rows.source
    own: RolloutSource[Own] = source_of(recipe, begun, ranks, rolling, OwnWords(), samples, needs_rewards=False)
    return own if rows is None else SharedSource(rows.source, own, recipe.distill.on_policy, recipe.seed)
