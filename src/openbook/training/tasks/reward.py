"""Reward models over pairs of answers, or over the steps of solutions: the form of the data says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import write_json
from openbook.lm.reward import SETTINGS, Kind, pair_ids
from openbook.lm.tokenizers.pair_layout import PairLayout
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.begin import Begun
from openbook.training.data.preferences import DISLIKED, LIKED, Draw, Preferences, preferences
from openbook.training.data.reading import data_files
from openbook.training.data.row import Message
from openbook.training.data.shards import Sample
from openbook.training.data.solutions import Solutions, solutions
from openbook.training.objectives.reward import PairReward, StepReward
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.scored import ScoredPairs, ScoredSteps, laid
from openbook.training.tasks.drawn import Drawn, drawn_task, numbered
from openbook.training.tasks.preferred import open_both, reading_of
from openbook.training.tasks.task import Task

_HEADS = ("lm_head", "classifier")


def reward_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    """UsageError for steps on an encoder, BadData for rows that tell no answer from another."""
    forms = {one.form for one in data_files(data_paths(recipe.data.train), recipe.data.format)}
    make = _over_steps if "steps" in forms else _over_pairs
    kind: Kind = "steps" if "steps" in forms else "answers"
    return replace(
        make(recipe, begun, ranks, progress),
        also=partial(_say_how, recipe=recipe, kind=kind, tokenizer=begun.tokenizer),
    )


def _over_pairs(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    is_causal = begun.model.causal
    if not is_causal and recipe.data.prompts != "chat":
        raise UsageError(
            f"data.prompts={recipe.data.prompts} is for decoders: an encoder reads a question and its answer as two texts",
            "leave it out",
        )
    draw = None if is_causal else _pair_draw(begun.tokenizer)
    drawn = partial(preferences, draw=draw)
    read = reading_of(recipe, drawn, begun.tokenizer, progress, recipe.max_seq_len - 1)  # the last token is read too
    opened = open_both(recipe, ranks, read)
    for one in opened.both:
        _check_paired(one)
    second = 0 if is_causal else PairLayout.of(begun.tokenizer.backend).second
    made = [_pairs(one, is_causal=is_causal, second=second) for one in opened.both]
    return drawn_task(
        recipe, ranks, made, PairReward(recipe.reward.center, is_fresh=_has_fresh_head(begun)), opened.notes
    )


def _over_steps(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    if not begun.model.causal:
        raise UsageError("an encoder sees a solution as a whole: steps need a decoder", "give another model.path")
    if recipe.reward.center:
        raise UsageError("reward.center holds the scores of pairs, not of steps", "leave it out")
    read = reading_of(recipe, solutions, begun.tokenizer, progress, recipe.max_seq_len)
    opened = open_both(recipe, ranks, read)
    made = [_steps(one) for one in opened.both]
    return drawn_task(recipe, ranks, made, StepReward(is_fresh=_has_fresh_head(begun)), opened.notes)


def _has_fresh_head(begun: Begun) -> bool:
    return any(name in _HEADS for name in begun.model.drawn)


def _check_paired(data: Preferences) -> None:
    if alone := sum(kind in (LIKED, DISLIKED) for kind in data.kinds):
        raise BadData(f"{alone:,} answers have no other one beside them", "give rows with chosen and rejected")


def _pairs(data: Preferences, *, is_causal: bool, second: int) -> Drawn[int, ScoredPairs]:
    pairs = data.pairs
    said = np.zeros(len(pairs), np.float32) if data.margins is None else np.array(data.margins, np.float32)

    def make(numbers: Sequence[int]) -> ScoredPairs:
        places = np.concatenate([pairs[list(numbers), 0], pairs[list(numbers), 1]])
        samples = [(data.shards.ids(place), data.shards.learned(place)) for place in places.tolist()]
        margins = torch.from_numpy(said[list(numbers)])
        return ScoredPairs(**vars(laid(samples, is_causal=is_causal, second=second)), margins=margins)

    return numbered(make, len(pairs))


def _steps(data: Solutions) -> Drawn[int, ScoredSteps]:
    def make(numbers: Sequence[int]) -> ScoredSteps:
        samples = [(data.shards.ids(place), data.shards.learned(place)) for place in numbers]
        labels = torch.from_numpy(np.concatenate([data.labels_of(place) for place in numbers]))
        return ScoredSteps(**vars(laid(samples, is_causal=True, is_each_step=True)), labels=labels)

    return numbered(make, len(data))


def _pair_draw(tokenizer: Tokenizer) -> Draw:
    """As an encoder reads pairs of texts: the second one is marked."""
    layout = PairLayout.of(tokenizer.backend)

    def draw(prompt: Sequence[Message], end: Sequence[Message]) -> Sample:
        ids, _, begin = pair_ids(tokenizer, layout, prompt, end)
        return Sample(ids, [place >= begin for place in range(len(ids))])

    return draw


def _say_how(folder: Path, recipe: Recipe, kind: Kind, tokenizer: Tokenizer) -> None:
    """How texts become ids; and where an answer may end in the token of padding, that there is none: transformers takes the score
    at the last token that is not padding.
    """
    said = {"kind": kind, "prompts": recipe.data.prompts, "max_tokens": recipe.max_seq_len}
    write_json(folder / SETTINGS, said)
    path = folder / "config.json"
    if path.is_file():
        raw, ends = read_json(path), {tokenizer.eos_id, *tokenizer.eos_ids}
        if raw.get("pad_token_id") in ends:
            write_json(path, {**raw, "pad_token_id": None})
