"""What a judge says of a pair that it sees in both orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from openbook.training.judge.ask import Question
from openbook.training.judge.pairs import JudgedPair
from openbook.training.judge.rubric import Language, Rubric, language_of

Outcome = Literal["first", "second", "tie", "inconsistent", "unread"]
A, B, TIE = "A", "B", "C"


@dataclass(frozen=True)
class Verdict:
    """`said`: of each order the place of the better answer, 0 or 1, after the order is undone, or "tie"; "" where nothing could
    be read. `first_shown`: of each order the answer that stood first.
    """

    pair: str
    said: tuple[int | Literal["tie", ""], ...]
    first_shown: tuple[int, ...]
    tokens: int
    requests: int
    nonsense: int

    @property
    def outcome(self) -> Outcome:
        if "" in self.said:
            return "unread"
        if len(set(self.said)) > 1:
            return "inconsistent"
        return "tie" if self.said[0] == "tie" else "first" if self.said[0] == 0 else "second"

    @property
    def winner(self) -> int | None:
        """0 or 1; None where neither is better."""
        return {"first": 0, "second": 1}.get(self.outcome)

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"said": list(self.said), "first_shown": list(self.first_shown)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Verdict:
        return cls(**(value | {"said": tuple(value["said"]), "first_shown": tuple(value["first_shown"])}))


def orders(pair: JudgedPair, is_swapped: bool) -> tuple[int, ...]:
    """Which answer stands first, of each question. The first one depends on the content alone, so that a known better answer is
    not always shown first.
    """
    first = int(pair.id[-1], 16) % 2
    return (first, 1 - first) if is_swapped else (first,)


def question(pair: JudgedPair, first: int, rubric: Rubric, language: Language | None, has_ties: bool) -> Question:
    """With the answer `first` shown as A."""
    spoken = language or language_of(pair.prompt_text)
    text = rubric.text(
        spoken,
        prompt=pair.prompt_text,
        answer_a=pair.answer_text(first),
        answer_b=pair.answer_text(1 - first),
    )
    if has_ties:
        text += {"en": f"\n{TIE} means that both are equally good.", "zh": f"\n{TIE} 表示两者一样好。"}[spoken]
    return Question(text, (A, B, TIE) if has_ties else (A, B), spoken)


def undone(choices: Sequence[str | None], shown: Sequence[int]) -> tuple[int | Literal["tie", ""], ...]:
    """What was said, as places of the pair's answers."""
    said: list[int | Literal["tie", ""]] = []
    for choice, first in zip(choices, shown, strict=True):
        said.append("" if choice is None else "tie" if choice == TIE else first if choice == A else 1 - first)
    return tuple(said)
