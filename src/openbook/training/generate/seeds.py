"""Tasks as the expansion of seeds knows them: what is asked, what was answered, and where it is from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from openbook.core.errors import BadData
from openbook.training.data.formats import format_of, rows_of
from openbook.training.data.records import records
from openbook.training.data.row import Chat, Completion, text_of
from openbook.training.generate.language import Language, language_of
from openbook.training.generate.prompts import asked_of

Origin = Literal["seed", "self-instruct", "evol"]


class Task(NamedTuple):
    """`answer` empty: a seed that has none. `how`: the operation of evol; `parent`: the task that it was made of."""

    text: str
    answer: str
    language: Language
    origin: Origin = "seed"
    how: str = ""
    parent: str = ""

    def row(self) -> dict[str, Any]:
        """Of training data."""
        messages = [{"role": "user", "content": self.text}, {"role": "assistant", "content": self.answer}]
        extra = {name: value for name, value in (("how", self.how), ("parent", self.parent)) if value}
        return {"messages": messages, "origin": self.origin} | extra


def read_seeds(paths: Sequence[Path]) -> list[Task]:
    """The tasks of files of rows (alpaca, messages, completion, questions and answers, or prompts alone), each once. Of a chat
    the first question and its answer. BadData where a row is no task.
    """
    found: dict[str, Task] = {}
    for record in (one for path in paths for one in records(path)):
        try:
            if record.reason:
                raise ValueError(record.reason)
            task = _task(record.value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadData(
                f"{record.place} is no task: {error}", "give rows with prompt, or instruction and output"
            ) from None
        found.setdefault(task.text, task)
    if not found:
        raise BadData("there are no seeds", "give rows with prompt, or instruction and output")
    return list(found.values())


def _task(record: Any) -> Task:
    form = format_of(record)
    if form in ("alpaca", "messages", "sharegpt", "completion"):
        (row,) = rows_of(record, form)
        if isinstance(row, Completion):
            return _made(row.prompt, row.completion)
        assert isinstance(row, Chat), "all other forms are refused above"
        said = [one for one in row.messages if one["role"] in ("user", "assistant")]
        if not said or said[0]["role"] != "user":
            raise ValueError("a chat that does not begin with a question")
        return _made(text_of(said[0]), text_of(said[1]) if len(said) > 1 else "")
    messages = asked_of(record)
    return _made(text_of(messages[-1]), "")


def _made(text: str, answer: str) -> Task:
    if not text.strip():
        raise ValueError("it asks nothing")
    return Task(text.strip(), answer.strip(), language_of(text))
