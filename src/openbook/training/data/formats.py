"""The forms that rows of training data have, told apart by their keys, and each turned into a `Row`.

In reading order: the names; which one a record is; one function for each; the way in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from openbook.training.data.chats import checked, message_of, spoken, tools_of, transcript
from openbook.training.data.row import Chat, Completion, Message, Pair, Preference, Question, Row, Solution, Text

Format = Literal["text", "alpaca", "sharegpt", "messages", "completion", "pairs", "preference", "steps", "squad"]
FORMATS: tuple[str, ...] = get_args(Format)
_POSITIVE = ("positives", "positive", "pos")
_NEGATIVE = ("negatives", "negative", "neg")
_TEXT = ("text", "content")
_MEDIA = ("images", "videos", "audios", "image")
_STEPS = ("steps", "completions")
_TEXTS = ("prompt", "completion")
_QUESTIONS = (_TEXTS, ("prompt", "response"), ("question", "answer"))


def format_of(record: Any) -> Format | None:
    """The form of a record; None for one that is not known."""
    if not isinstance(record, dict):
        return None
    keys = record.keys()
    if isinstance(record.get("data"), list) or ("paragraphs" in keys and "title" in keys):
        return "squad"
    if {"chosen", "rejected"} <= keys or (keys & {"messages", "conversations"} and keys & {"label", "kto_tag"}):
        return "preference"
    if {"prompt", "completion"} <= keys and isinstance(record.get("label"), bool):
        return "preference"
    if keys & set(_STEPS) and isinstance(record.get("labels"), list):
        return "steps"
    if isinstance(record.get("messages"), list):
        return "messages"
    if isinstance(record.get("conversations", record.get("conversation")), list):
        return "sharegpt"
    if "instruction" in keys and "output" in keys:
        return "alpaca"
    if "query" in keys and keys & set(_POSITIVE):
        return "pairs"
    if any({asked, answered} <= keys for asked, answered in _QUESTIONS):
        return "completion"
    return "text" if any(isinstance(record.get(name), str) for name in _TEXT) else None


def rows_of(record: Any, form: Format) -> Iterator[Row]:
    """The rows of a record, several where it is a file of SQuAD. ValueError, TypeError or KeyError say what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError(f"a row is {type(record).__name__}, no object")
    if any(record.get(name) for name in _MEDIA):
        raise ValueError("a row with images or sounds cannot be learned from")
    if form == "squad":
        yield from _squad(record)
    else:
        yield _READERS[form](record)


def _text(record: dict[str, Any]) -> Text:
    return Text(_first(record, _TEXT))


def _alpaca(record: dict[str, Any]) -> Chat:
    """History first, then instruction and input as one question."""
    messages = _system(record)
    for asked, answered in record.get("history") or ():
        messages += [_user(asked), _assistant(answered)]
    asked = _string(record, "instruction")
    if given := record.get("input"):
        asked = f"{asked}\n{given}" if asked else str(given)
    return Chat((*messages, _user(asked), _assistant(_string(record, "output"))))


def _sharegpt(record: dict[str, Any]) -> Chat:
    turns = record.get("conversations", record.get("conversation"))
    if not isinstance(turns, list):
        raise ValueError("conversations is no list")
    return Chat((*_system(record), *checked([spoken(turn) for turn in turns])), tools_of(record.get("tools")))


def _messages(record: dict[str, Any]) -> Chat:
    given = record.get("messages")
    if not isinstance(given, list):
        raise ValueError("messages is no list")
    return Chat(checked([message_of(one) for one in given]), tools_of(record.get("tools", record.get("functions"))))


def _completion(record: dict[str, Any]) -> Row:
    """A prompt and a completion are text that goes on, or, as lists of messages, a chat. Questions and answers are a chat."""
    for asked, answered in _QUESTIONS:
        if asked in record and answered in record:
            if isinstance(record[asked], list):
                return Chat(checked([message_of(one) for one in (*record[asked], *record[answered])]))
            prompt, answer = _string(record, asked), _string(record, answered)
            is_text = (asked, answered) == _TEXTS
            return Completion(prompt, answer) if is_text else Chat((_user(prompt), _assistant(answer)))
    raise ValueError(f"a row has none of {', '.join(' and '.join(pair) for pair in _QUESTIONS)}")


def _pairs(record: dict[str, Any]) -> Pair:
    positives = _strings(record, _POSITIVE)
    if not positives:
        raise ValueError("a query has no positive text")
    return Pair(_string(record, "query"), positives, _strings(record, _NEGATIVE))


def _preference(record: dict[str, Any]) -> Preference:
    """Of all common forms: ends of a chat, answers to a prompt, two transcripts, or a chat that was liked or not."""
    if "chosen" not in record:
        if "completion" in record:
            prompt, end = _prompt(record), _end(record["completion"])
        else:
            whole = (_messages(record) if "messages" in record else _sharegpt(record)).messages
            prompt, end = whole[:-1], whole[-1:]
        is_good = record.get("label", record.get("kto_tag"))
        if is_good not in (True, False):
            raise ValueError(f"label is {is_good!r}; of an answer by itself it is true or false")
        return Preference(prompt, end if is_good else (), () if is_good else end)
    chosen, rejected, prompt = record["chosen"], record["rejected"], _prompt(record)
    if not prompt and isinstance(chosen, str) and isinstance(rejected, str):
        return Preference((), transcript(chosen), transcript(rejected), _margin(record))
    return Preference(prompt, _end(chosen), _end(rejected), _margin(record))


def _prompt(record: dict[str, Any]) -> tuple[Message, ...]:
    """What is answered; nothing where the answers hold it."""
    if "conversations" in record:
        return _sharegpt(record).messages
    if "messages" in record:
        return _messages(record).messages
    asked = record.get("prompt", record.get("instruction", record.get("question")))
    if isinstance(asked, str):
        return (*_system(record), _user("\n".join(filter(None, (asked, record.get("input"))))))
    return tuple(message_of(one) for one in asked) if isinstance(asked, list) else ()


def _margin(record: dict[str, Any]) -> float | None:
    said = record.get("margin")
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise ValueError(f"margin is {said!r}, no number")
    return float(said)


def _steps(record: dict[str, Any]) -> Solution:
    """Labels are true and false, or from 0 to 1: how often a step led to a right answer."""
    steps, labels = _strings(record, _STEPS), record.get("labels")
    if not isinstance(labels, list) or len(labels) != len(steps) or not steps:
        raise ValueError(f"{len(steps)} steps have the labels {labels!r}: one is needed for each")
    if not all(isinstance(one, bool | int | float) and 0 <= one <= 1 for one in labels):
        raise ValueError(f"labels are {labels!r}; a label is true, false, or a number from 0 to 1")
    if not (prompt := _prompt(record)):
        raise ValueError("there is no prompt")
    return Solution(prompt, steps, tuple(map(float, labels)))


def _end(given: Any) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (_assistant(given),)
    turns = given if isinstance(given, list) else [given]
    return tuple(message_of(one) if "role" in one else spoken(one) for one in turns)


def _squad(record: dict[str, Any]) -> Iterator[Question]:
    """All questions, of v1 and v2, in the order of the file."""
    for article in record.get("data", [record]):
        for paragraph in article["paragraphs"]:
            context = _string(paragraph, "context")
            for asked in paragraph["qas"]:
                given = () if asked.get("is_impossible") else asked.get("answers") or ()
                answers = tuple((int(one["answer_start"]), _string(one, "text")) for one in given)
                title = str(article.get("title", ""))
                yield Question(str(asked.get("id", "")), title, context, _string(asked, "question"), answers)


_READERS: dict[Format, Callable[[dict[str, Any]], Row]] = {
    "text": _text,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "messages": _messages,
    "completion": _completion,
    "pairs": _pairs,
    "preference": _preference,
    "steps": _steps,
}


def _system(record: dict[str, Any]) -> list[Message]:
    given = record.get("system")
    return [{"role": "system", "content": given}] if isinstance(given, str) and given else []


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _string(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is {type(value).__name__}, no text")
    return value


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in record:
            return _string(record, name)
    raise ValueError(f"a row has none of {', '.join(names)}")


def _strings(record: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    given: Any = next((record[name] for name in names if record.get(name)), [])
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{names[0]} are no texts")
    return tuple(found)
