"""Questions to a judge whose answer is one of a few words. Freely first; what cannot be read is asked again under a grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from openbook.core.messages import ChatModel, ChatRequest, ChoiceFormat, Completion, Message, SamplingParams
from openbook.lm.tokenizers.approximate import ApproximateTokens
from openbook.training.judge.rubric import Language

_MARKED = re.compile(r"\[\[\s*(\w+)\s*\]\]")
_BEFORE = re.compile(r"^\W*(?:(?:the )?(?:better )?(?:answer|verdict|points|score)(?: is)?|答案是?|结论|回答|得分)?\W*")
_BEHIND = re.compile(r"(?:\s*(?:/\s*10|points|分))?\W*$")
_WORDS = {
    "en": ("Say only {choices}.", "Give your reasons in a few sentences, then the verdict in double brackets: {choices}."),
    "zh": ("只回答 {choices}。", "先用几句话说明理由，最后用双方括号给出结论：{choices}。"),
}  # fmt: skip
_OR = {"en": " or ", "zh": " 或 "}
_VERDICT_TOKENS = 16
_COUNTER = ApproximateTokens()


@dataclass(frozen=True)
class Question:
    """`choices`: of which the answer is one."""

    text: str
    choices: tuple[str, ...]
    language: Language = "en"


class Reply(NamedTuple):
    """`choice` None: none could be read, even under a grammar; or `error`, what the model raised. `tokens`: prompts and answers
    of all that was asked, counted here where the model does not count. `nonsense`: answers that could not be read.
    """

    choice: str | None
    text: str
    tokens: int
    requests: int = 1
    nonsense: int = 0
    error: Exception | None = None


@dataclass(frozen=True)
class Asking:
    """`reasons`: tokens that the judge may write before its verdict. `is_constrained`: the grammar holds from the first, and
    there are no reasons then.
    """

    reasons: int = 0
    is_constrained: bool = False
    temperature: float = 0.0


def ask(model: ChatModel, questions: Sequence[Question], asking: Asking) -> Iterator[tuple[int, Reply]]:
    """(place, reply) as they come, together through `complete_many`. What was nonsense is asked once more, at the end, and may
    say nothing but one of the choices. Closing the iterator drops what has not begun.
    """
    again: dict[int, Reply] = {}
    for place, reply in _asked(model, questions, asking, is_constrained=asking.is_constrained):
        if reply.choice is None and reply.error is None and not asking.is_constrained:
            again[place] = reply
        else:
            yield place, reply
    places = list(again)
    for at, reply in _asked(model, [questions[place] for place in places], asking, is_constrained=True):
        first = again[places[at]]
        yield (
            places[at],
            reply._replace(
                tokens=first.tokens + reply.tokens,
                requests=2,
                nonsense=1 + reply.nonsense,
                text=reply.text or first.text,
            ),
        )


def request_of(question: Question, asking: Asking, is_constrained: bool = False) -> ChatRequest:
    """As it is sent."""
    reasons = 0 if is_constrained else asking.reasons
    shown = [f"[[{one}]]" if reasons else one for one in question.choices]
    how = _WORDS[question.language][bool(reasons)].format(choices=_OR[question.language].join(shown))
    form = ChoiceFormat(question.choices) if is_constrained else None
    sampling = SamplingParams(temperature=asking.temperature, max_tokens=reasons + _VERDICT_TOKENS)
    return ChatRequest(
        (Message.of("user", f"{question.text}\n{how}"),), sampling, response_format=form,
        reasoning=None if reasons else False,
    )  # fmt: skip


def counted(request: ChatRequest) -> int:
    """About how many tokens the prompt has."""
    return sum(len(_COUNTER.spans(message.text)) for message in request.messages)


def read_choice(text: str, choices: Sequence[str], has_reasons: bool = False) -> str | None:
    """The choice that an answer names: the last one in double brackets, or the whole answer, or its first or last line's. None
    for one that names none, or several. Of reasons the first line is no verdict: "Answer A:" may be a heading.
    """
    known = {one.casefold(): one for one in choices}
    marked = [known[one.casefold()] for one in _MARKED.findall(text) if one.casefold() in known]
    if marked:
        return marked[-1]
    lines = [line for line in text.strip().splitlines() if line.strip()]
    parts = lines[-1:] if has_reasons else [text, *lines[:1], *lines[-1:]]
    bare = [_BEHIND.sub("", _BEFORE.sub("", part.casefold())) for part in parts]
    named = {known[one] for one in bare if one in known}
    return named.pop() if len(named) == 1 else None


def _asked(
    model: ChatModel, questions: Sequence[Question], asking: Asking, is_constrained: bool
) -> Iterator[tuple[int, Reply]]:
    if not questions:
        return
    requests = [request_of(one, asking, is_constrained) for one in questions]
    for place, got in model.complete_many(requests):
        if isinstance(got, Completion):
            has_reasons = bool(asking.reasons) and not is_constrained
            choice = read_choice(got.text, questions[place].choices, has_reasons)
            yield place, Reply(choice, got.text, _tokens(requests[place], got), nonsense=int(choice is None))
        else:
            yield place, Reply(None, "", 0, error=got)


def _tokens(request: ChatRequest, completion: Completion) -> int:
    if completion.prompt_tokens:
        return completion.prompt_tokens + completion.completion_tokens
    return counted(request) + len(_COUNTER.spans(completion.text))
