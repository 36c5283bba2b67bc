"""Follow-up questions made to stand alone, by rules: what "it", "the first one", "And in Hamburg?", "那上海呢" refer to.

The history is replayed: each earlier question is made to stand alone by those before it, so that a subject is carried
over several turns. A question that names its subject itself is left as it is: the talk has moved on.
"""

from __future__ import annotations

from collections.abc import Sequence

from openbook.assistant.answer.courtesy import without_courtesies
from openbook.assistant.answer.follow_up import Turn
from openbook.assistant.answer.follow_up_en import resolve_english
from openbook.assistant.answer.follow_up_zh import resolve_chinese
from openbook.assistant.answer.mentions import is_chinese

MOST_TURNS = 12
"""Earlier turns that are looked at."""
_NOT_ANSWERS = ("The library has no answer", "The passages do not answer", "文库中没有", "这些资料没有回答")


def standalone(question: str, history: Sequence[tuple[str, str]]) -> str:
    """The question as it would be asked without the `history` of (question, answer) pairs, oldest first.

    Deterministic; the same question comes back when it needs nothing from before. A turn that only thanks or greets is
    passed over, and such words before a question are left out.
    """
    turns: list[Turn] = []
    for asked, answer in history[-MOST_TURNS:]:
        said = "" if answer.startswith(_NOT_ANSWERS) else answer.strip()
        if asks := without_courtesies(asked):
            turns.append(Turn(_resolved(asks, turns), said))
    return _resolved(without_courtesies(question) if turns else question.strip(), turns) or question.strip()


def _resolved(question: str, turns: Sequence[Turn]) -> str:
    if not turns or not question:
        return question
    return resolve_chinese(question, turns) if is_chinese(question) else resolve_english(question, turns)
