"""Rejection sampling: which answers to a prompt are good enough, and which of those become rows.

Source: Yuan et al. 2023 (rejection sampling fine-tuning), https://arxiv.org/abs/2308.01825; Zelikman et al. 2022 (STaR),
https://arxiv.org/abs/2203.14465.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any, Literal, NamedTuple

from openbook.core.messages import Completion
from openbook.training.data.row import Message
from openbook.training.generate.budget import count_tokens
from openbook.training.generate.settings import GenerateSettings

Fate = Literal["kept", "surplus", "rejected", "unscored", "failed", "cut", "empty", "duplicate"]
"""surplus: good, but there were enough. rejected: the verifier said so. unscored: it could not say. failed: the request went
wrong. cut: longer than was allowed. duplicate: another answer says the same."""
FATES: tuple[Fate, ...] = ("kept", "surplus", "rejected", "unscored", "failed", "cut", "empty", "duplicate")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)
_OPEN_THOUGHT = re.compile(r"\s*<think>")


class Answer(NamedTuple):
    """`text` as it was said, `reasoning` where the teacher told it apart."""

    text: str
    reasoning: str
    tokens: int


class Judged(NamedTuple):
    """`fates`: of all answers, in order. `rows`: (place among the answers, its message) of those that are kept."""

    fates: list[Fate]
    kept: list[tuple[int, Message]]


def answer_of(given: Completion | Exception) -> Answer | Fate:
    """What can be verified, or why it cannot."""
    if isinstance(given, Exception):
        return "failed"
    if given.finish_reason != "stop":
        return "cut"
    if not said_of(Answer(given.text, given.reasoning, 0))[1].strip():
        return "empty"
    return Answer(given.text, given.reasoning, given.completion_tokens or count_tokens(given.text))


def said_of(answer: Answer) -> tuple[str, str]:
    """(reasoning, what is said): some servers leave the thoughts in the text. Those without an end are nothing said."""
    if answer.reasoning:
        return answer.reasoning, answer.text
    found = _THOUGHT.fullmatch(answer.text)
    if found is not None:
        return found[1].strip(), found[2]
    return ("", "") if _OPEN_THOUGHT.match(answer.text) else ("", answer.text)


def message_of(answer: Answer) -> Message:
    """As a row of a chat says it."""
    reasoning, said = said_of(answer)
    message: dict[str, Any] = {"role": "assistant", "content": said}
    return message | ({"reasoning_content": reasoning} if reasoning else {})


def judge(
    answers: Sequence[Answer | Fate], scores: Sequence[float | None] | None, settings: GenerateSettings, key: str
) -> Judged:
    """The fate of each answer to one prompt. `scores`: None where there is no verifier: then every whole answer is good. Draws
    depend on the seed and the prompt's `key` alone.
    """
    fates: list[Fate] = []
    good: list[tuple[int, Answer]] = []
    said: set[str] = set()
    for place, answer in enumerate(answers):
        if not isinstance(answer, Answer):
            fates.append(answer)
            continue
        score = 1.0 if scores is None else scores[place]
        text = " ".join(f"{answer.reasoning}\n{answer.text}".split())
        if score is None:
            fates.append("unscored")
        elif scores is not None and not score > settings.threshold:
            fates.append("rejected")
        elif text in said:
            fates.append("duplicate")
        else:
            said.add(text)
            fates.append("surplus")
            good.append((place, answer))
    if settings.prefer == "shortest":
        good.sort(key=lambda one: (one[1].tokens, one[0]))
    else:
        Random(f"{settings.seed} {key}").shuffle(good)
    kept = sorted(good[: settings.keep], key=lambda one: one[0])
    for place, _ in kept:
        fates[place] = "kept"
    return Judged(fates, [(place, message_of(answer)) for place, answer in kept])
