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
    if [role for role, _ in said] != ["user", "assistant"] or chat.tools:
        raise BadData(f"{place}: a chat of several turns is no text that goes on", "use data.prompts=chat")
    return Completion(said[0][1], said[1][1])


def alpaca_prompt(chat: Chat, place: str = "") -> Completion:
    """BadData for a chat that is more than a question and an answer."""
    said = [(one["role"], text_of(one)) for one in chat.messages]
    system = [said.pop(0)[1]] if said and said[0][0] == "system" else []
    if [role for role, _ in said] != ["user", "assistant"] or chat.tools:
        raise BadData(f"{place}: a chat of several turns has no Alpaca prompt", "use data.prompts=chat")
    return Completion(ALPACA.format("\n\n".join([*system, said[0][1]])), said[1][1])
