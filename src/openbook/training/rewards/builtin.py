"""Rewards that are built in: the right number, the right choice, a form, a length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from openbook.training.rewards.final_answer import final_answer, marked_answer
from openbook.training.rewards.same_answer import same_answer
from openbook.training.rewards.sampled import Fault, Sampled, Score
from openbook.training.rewards.settings import Place


@dataclass(frozen=True)
class NumberReward:
    """1 where the completion's answer is that of its row, 0 otherwise. The row's may be a number, a short text, or a solution
    that marks its answer, as in GSM8K.
    """

    name: str = "number"
    key: str = "answer"
    place: Place = "any"

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return [self._score(one) for one in samples]

    def _score(self, sample: Sampled) -> Score:
        wanted = answer_of(sample, self.key)
        if isinstance(wanted, Fault):
            return wanted
        found = final_answer(sample.completion, self.place)
        if found is None and self.place == "any":
            found = sample.completion.strip()  # a short answer in words
        return float(found is not None and same_answer(found, wanted))


@dataclass(frozen=True)
class ChoiceReward:
    """1 where the completion names the choice of its row. A choice stands alone: "B", "(B)", "B. Paris"."""

    name: str = "choice"
    key: str = "answer"
    place: Place = "any"
    choices: tuple[str, ...] = ("A", "B", "C", "D")

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return [self._score(one) for one in samples]

    def _score(self, sample: Sampled) -> Score:
        wanted = answer_of(sample, self.key)
        if isinstance(wanted, Fault):
            return wanted
        chosen = self._choice(wanted)
        if chosen is None:
            return Fault("row", f"its {self.key!r} is {wanted!r}, none of {', '.join(self.choices)}")
        return float(self._said(sample.completion) == chosen)

    def _said(self, completion: str) -> str | None:
        if self.place == "last":
            return self._choice(completion, is_last=True)
        marked = final_answer(completion, self.place)
        if marked is not None and (found := self._choice(marked)) is not None:
            return found
        if self.place != "any":
            return None
        return self._choice(completion, is_start=True) or self._choice(completion, is_last=True)

    def _choice(self, text: str, is_last: bool = False, is_start: bool = False) -> str | None:
        known = "|".join(map(re.escape, sorted(self.choices, key=len, reverse=True)))
        if is_start:
            match = re.match(rf"\W*({known})(?=[^\w\s]|\s*$)", text)
            return match[1] if match else None
        found = re.findall(rf"(?<![\w'])({known})(?![\w'])", text)
        return (found[-1] if is_last else found[0]) if found else None


@dataclass(frozen=True)
class FormatReward:
    """1 where the completion is <think>...</think><answer>...</answer> (or other `tags`) and nothing else, each once, none empty.
    `is_opened`: the prompt ends with the first tag.
    """

    name: str = "format"
    tags: tuple[str, ...] = ("think", "answer")
    is_opened: bool = False

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return [float(self._has_form(one.completion)) for one in samples]

    def _has_form(self, text: str) -> bool:
        text = f"<{self.tags[0]}>{text}" if self.is_opened else text
        for tag in self.tags:
            text = text.strip()
            inside, closed, rest = text.removeprefix(f"<{tag}>").partition(f"</{tag}>")
            if not text.startswith(f"<{tag}>") or not closed or not inside.strip():
                return False
            if any(f"<{one}>" in inside or f"</{one}>" in inside for one in self.tags):
                return False
            text = rest
        return not text.strip()


@dataclass(frozen=True)
class LengthReward:
    """1 at `target` tokens, less on both sides in a straight line, 0 from twice as many."""

    name: str
    target: int

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return [max(0.0, 1.0 - abs(one.tokens - self.target) / self.target) for one in samples]


@dataclass(frozen=True)
class OverlongReward:
    """0 up to `target` - `buffer` tokens, then falling to -1 at `target`, and -1 beyond.

    Source: Yu et al. 2025, DAPO, https://arxiv.org/abs/2503.14476, equation 13.
    """

    name: str
    target: int
    buffer: int

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return [max(-1.0, min(0.0, (self.target - self.buffer - one.tokens) / self.buffer)) for one in samples]


def answer_of(sample: Sampled, key: str) -> str | Fault:
    """The answer of a row, as text; of a solution what it marks."""
    value = sample.row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        said = f"{key!r} is {value!r}" if key in sample.row else f"it has no key {key!r}"
        return Fault("row", f"its row has no answer: {said}")
    text = str(value)
    return text if (marked := marked_answer(text)) is None else marked
