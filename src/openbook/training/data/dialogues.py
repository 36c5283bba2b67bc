"""Preferences as a prompt and two ends: what two dialogues share is the prompt, whatever form they came in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from openbook.training.data.row import Completion, Message, Preference, text_of

DIFFER = "prompts that differ"
SAME = "chosen and rejected are the same"
EMPTY = "empty completion"
UNANSWERED = "the dialogue does not end with the assistant"
_SPEAKS_FIRST = ("system", "user")


class Ends(NamedTuple):
    """`ends`: one or two, each what the assistant says after `prompt`. `is_good`: of each."""

    prompt: tuple[Message, ...]
    ends: tuple[tuple[Message, ...], ...]
    is_good: tuple[bool, ...]


def ends_of(row: Preference) -> Ends | str:
    """The prompt that both dialogues of a row share, and their ends; or why there are none.

    An end may be the whole dialogue again (HH-RLHF, UltraFeedback): then what both begin with is the prompt.
    """
    sides = [(end, good) for end, good in ((row.chosen, True), (row.rejected, False)) if end]
    if not sides:
        return EMPTY
    dialogues = []
    for end, _ in sides:
        is_whole = end[0]["role"] in _SPEAKS_FIRST
        if is_whole and row.prompt and not _begins(end, row.prompt):
            return DIFFER
        dialogues.append(end if is_whole else (*row.prompt, *end))
    if any(one[-1]["role"] != "assistant" for one in dialogues):
        return UNANSWERED
    if len(dialogues) == 2 and dialogues[0] == dialogues[1]:
        return SAME
    shared = _shared(dialogues)
    ends = tuple(tuple(one[shared:]) for one in dialogues)
    if not shared or any(message["role"] in _SPEAKS_FIRST for end in ends for message in end):
        return DIFFER
    if any(not any(_says(message) for message in end) for end in ends):
        return EMPTY
    return Ends(tuple(dialogues[0][:shared]), ends, tuple(good for _, good in sides))


def without_first_turn(prompt: tuple[Message, ...]) -> tuple[Message, ...] | None:
    """The prompt from its second question on, its system message kept; None where one question is left."""
    system = tuple(takewhile(lambda one: one["role"] == "system", prompt))
    asked = [place for place, one in enumerate(prompt) if one["role"] == "user"]
    return None if len(asked) < 2 else (*system, *prompt[asked[1] :])


def texts_of(prompt: Sequence[Message], end: Sequence[Message]) -> Completion:
    """Both as plain texts, for a model that reads pairs of texts."""
    return Completion(*("\n\n".join(text_of(one) for one in part) for part in (prompt, end)))


def _shared(dialogues: Sequence[Sequence[Message]]) -> int:
    """Messages that all begin with; the last one of each is its own."""
    if len(dialogues) == 1:
        return len(dialogues[0]) - 1
    first, second = dialogues
    same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(first[:-1], second[:-1], strict=False)))
    return min(same, len(first) - 1, len(second) - 1)


def _begins(dialogue: Sequence[Message], prompt: Sequence[Message]) -> bool:
    """Whether it begins with what was asked; a system message may stand in one of the two only."""
    said = [text_of(one) for one in dialogue if one["role"] != "system"]
    asked = [text_of(one) for one in prompt if one["role"] != "system"]
    return said[: len(asked)] == asked


def _says(message: Message) -> bool:
    return bool(text_of(message).strip())
