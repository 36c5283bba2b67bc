"""Preferences: pairs of answers, or answers that were liked or not, learned against the model that the run begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress
from openbook.lm.adapters.slot import find_table
from openbook.training.begin import Begun
from openbook.training.data.preferences import DISLIKED, LIKED, Preferences, preferences
from openbook.training.objectives.preference import LikedOrNot, PreferredAnswers
from openbook.training.objectives.preference_names import WITH_REFERENCE
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.reference import known_logprobs
from openbook.training.sources.answers import Answer, Answers, LikedAnswers, PreferredPairs
from openbook.training.tasks.drawn import Drawn, drawn_task, numbered
from openbook.training.tasks.preferred import cache_of, open_both, reading_of
from openbook.training.tasks.task import Task

_MOST_APART = 0.25
"""Of shares: learned and held-out answers that differ more in what was liked are told."""


def preference_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    """UsageError for a model that is not trained yet or predicts no next token, BadData for rows that the loss cannot learn
    from.
    """
    part = recipe.preference
    _check(recipe, begun)
    read = reading_of(recipe, preferences, begun.tokenizer, progress, recipe.max_seq_len)
    opened = open_both(recipe, ranks, read)
    if part.loss == "kto":
        _check_liked(opened.both, is_parted=bool(recipe.data.eval_share))
        liked = [_liked(recipe, begun, ranks, progress, one) for one in opened.both]
        return drawn_task(recipe, ranks, liked, LikedOrNot(part.knobs), (*opened.notes, *_apart(opened.both)))
    pairs = [_pairs(recipe, begun, ranks, progress, one) for one in opened.both]
    return drawn_task(recipe, ranks, pairs, PreferredAnswers(part.loss, part.knobs), opened.notes)


def _check(recipe: Recipe, begun: Begun) -> None:
    loss, batch_size = recipe.preference.loss, recipe.batch_size
    if begun.is_fresh:
        raise UsageError("a preference is learned by a trained model", "give model.path=DIR")
    if not begun.model.causal or begun.model.head_over != "tokens":
        kind = begun.model.config.model_type
        raise UsageError(
            f"objective preference learns on a decoder that writes, not on this {kind}", "give another model.path"
        )
    if loss == "kto" and batch_size < 2:
        raise UsageError("kto tells an answer from those to other prompts of its step", "raise batch_size")


def _pairs(
    recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress, data: Preferences
) -> Drawn[int, PreferredPairs]:
    loss, pairs = recipe.preference.loss, data.pairs
    alone = sum(kind in (LIKED, DISLIKED) for kind in data.kinds)
    if alone:
        raise BadData(
            f"{alone:,} answers have no other one beside them, which loss {loss} compares",
            "preference.loss=kto learns from single answers",
        )
    answers = [_answer(data, place) for place in range(len(data.kinds))]
    known = _reference(recipe, begun, ranks, progress, answers)

    def make(numbers: Sequence[int]) -> PreferredPairs:
        places = np.concatenate([pairs[list(numbers), 0], pairs[list(numbers), 1]])
        found = PreferredPairs.of([answers[place] for place in places])
        return replace(found, reference=None if known is None else torch.from_numpy(known[places]))

    return numbered(make, len(pairs))


def _liked(
    recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress, data: Preferences
) -> Drawn[int, LikedAnswers]:
    """Pairs are two single answers each."""
    is_good = data.is_good
    answers = [_answer(data, place) for place in range(len(data.kinds))]
    others = following_others([_prompt(one).tobytes() for one in answers])
    strangers = [
        _strange(own, answers[other], recipe.max_seq_len + 1) for own, other in zip(answers, others, strict=True)
    ]
    known = _reference(recipe, begun, ranks, progress, [*answers, *strangers])

    def make(numbers: Sequence[int]) -> LikedAnswers:
        places = np.array(numbers)
        found = LikedAnswers.of([answers[place] for place in places])
        both = (None, None) if known is None else (known[places], known[len(answers) + places])
        own, other = (None if one is None else torch.from_numpy(one) for one in both)
        return replace(
            found,
            is_good=torch.from_numpy(is_good[places]),
            strangers=Answers.of([strangers[place] for place in places]),
            reference=own,
            stranger_reference=other,
        )

    return numbered(make, len(answers))


def _reference(
    recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress, answers: Sequence[Answer]
) -> NDArray[np.float32] | None:
    """None where the loss has none, and where an adapter can be turned off."""
    if recipe.preference.loss not in WITH_REFERENCE or find_table(begun.model) is not None:
        return None
    return known_logprobs(begun.model, answers, cache_of(recipe), ranks, recipe.precision, progress)


def _answer(data: Preferences, place: int) -> Answer:
    return data.shards.ids(place), data.shards.learned(place)


def _strange(own: Answer, other: Answer, most: int) -> Answer:
    """The prompt of one with the answer of the other; its end is cut where both do not fit."""
    prompt, (ids, learned) = _prompt(own), other
    begin = int(learned.argmax())
    joined = np.concatenate([prompt, ids[begin:]])[:most]
    return joined, np.concatenate([np.zeros(len(prompt), np.bool_), learned[begin:]])[:most]


def following_others(prompts: Sequence[bytes]) -> list[int]:
    """For each place the next one, around the end, that has another prompt. BadData where all have the same."""
    count = len(prompts)
    if len(set(prompts)) < 2:
        raise BadData(
            f"all {count:,} answers are to one prompt: kto compares an answer with those to other prompts",
            "give answers to several prompts, also of what is held out; or pairs of answers and another preference.loss",
        )
    found, following = [0] * count, 0
    for place in reversed(range(2 * count)):
        if prompts[place % count] != prompts[(place + 1) % count]:
            following = (place + 1) % count
        found[place % count] = following
    return found


def _check_liked(both: Sequence[Preferences], *, is_parted: bool) -> None:
    """BadData where all that is learned from, or all that is held out, was liked, or none of it."""
    for data, where in zip(both, ("to learn from", "held out"), strict=False):
        is_good = data.is_good
        if is_good.all() or not is_good.any():
            side = "liked" if is_good.all() else "disliked"
            raise BadData(
                f"all {len(is_good):,} answers {where} are {side}: there is nothing to tell apart",
                "give some of both"
                + ("; rows that are sorted by label need another order, or data.eval=FILE" if is_parted else ""),
            )


def _apart(both: Sequence[Preferences]) -> Iterator[str]:
    """What to know where learned and held-out answers are not alike."""
    shares = [float(one.is_good.mean()) for one in both]
    if len(shares) > 1 and abs(shares[0] - shares[1]) > _MOST_APART:
        yield (
            f"liked are {100 * shares[0]:.0f} % of the answers to learn from, but {100 * shares[1]:.0f} % of those held out: "
            "are the rows sorted by label? Their order is drawn anew for the steps, not for what is held out"
        )


def _prompt(answer: Answer) -> NDArray[np.int64]:
    return answer[0][: int(answer[1].argmax())]
