"""How questions are put where a row is no chat of itself, or the model has no chat template."""

from __future__ import annotations

from openbook.core.errors import BadData
from openbook.lm.tokenizers.instructions import ALPACA
from openbook.training.data.row import Chat, Completion, Question, text_of

NO_ANSWER = "The text does not say."


def question_chat(row: Question) -> Chat:
    """A passage, then the question, answered by the first answer."""
    asked = f"{row.context}\n\n{row.question}"
    answer = row.answers[0][1] if row.answers else NO_ANSWER
    return Chat(({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


def plain_prompt(chat: Chat, place: str = "") -> Completion:
    """A question and its answer as a text that goes on. BadData for a chat that is more."""
    said = [(one["role"], text_of(one)) for one in chat.messages]
    if more := _more([role for role, _ in said], chat):
        raise _refused(place, more, "text")
    return Completion(said[0][1], said[1][1])


def alpaca_prompt(chat: Chat, place: str = "") -> Completion:
    """BadData for a chat that is more than a question and an answer, with a system message before it."""
    said = [(one["role"], text_of(one)) for one in chat.messages]
    system = [said.pop(0)[1]] if said and said[0][0] == "system" else []
    if more := _more([role for role, _ in said], chat):
        raise _refused(place, more, "alpaca")
    return Completion(ALPACA.format("\n\n".join([*system, said[0][1]])), said[1][1])


def _more(roles: list[str], chat: Chat) -> str:
    """What it has beside a question and its answer; empty where there is nothing."""
    if chat.tools:
        return "tools"
    if roles == ["user", "assistant"]:
        return ""
    return "several turns" if roles.count("user") > 1 else f"the messages {', '.join(roles)}"


def _refused(place: str, more: str, prompts: str) -> BadData:
    return BadData(
        f"{place}: a chat with {more} cannot be put by data.prompts={prompts}, which knows one question and its answer",
        "use data.prompts=chat with a tokenizer that has a chat template, or take such rows out",
    )
