"""Where the assistant speaks in a rendered chat.

A template that marks it with {% generation %} is believed. For any other the places are found by rendering the chat again
with a change at one place and looking at what stays: each answer is checked against the whole text, and where the template
behaves so that nothing can be told, that is an error, not a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

from openbook.core.errors import ModelUnavailable, OpenbookError
from openbook.lm.tokenizers.jinja_sandbox import BEGIN, END, rendered_text

_MARKED = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_CAPTURES = re.compile(r"\{%[-+]?\s*(?:macro|call|filter|set\s+[\w.]+\s*(?:\||[-+]?%\}))")
"""What takes in the text of a block before it is written, and so could change the marks in it."""
_PRIVATE = range(0xE000, 0xF8FF)
_REMEDY = "mark the assistant's part in its chat template: {% generation %} ... {% endgeneration %}"
Place = tuple[int, int]


@dataclass(frozen=True)
class Chat:
    """A template and all that it is given."""

    source: str
    name: str
    messages: list[dict[str, Any]]
    variables: Mapping[str, Any]
    add_generation_prompt: bool

    def text(self, **more: Any) -> str:
        given = {"messages": self.messages, "add_generation_prompt": self.add_generation_prompt}
        return rendered_text(self.source, {**self.variables, **given, **more}, self.name)

    def up_to(self, count: int, add_generation_prompt: bool) -> Chat:
        return replace(self, messages=self.messages[:count], add_generation_prompt=add_generation_prompt)

    def thinking(self) -> Chat:
        """The chat as it is where nobody asks the model not to think: what then stands for a thought is its own."""
        return replace(self, variables={key: one for key, one in self.variables.items() if key != "enable_thinking"})

    def saying(self, place: int, content: str) -> Chat:
        """The chat with another content at `place`, and nothing else said there."""
        message = {"role": self.messages[place]["role"], "content": content}
        message |= {key: self.messages[place][key] for key in ("tool_call_id", "name") if key in self.messages[place]}
        return replace(self, messages=[*self.messages[:place], message, *self.messages[place + 1 :]])


def spans_of(chat: Chat, specials: Sequence[str]) -> tuple[str, list[Place]]:
    """The text, and [start, end) of each assistant turn with its end-of-turn token; `specials`: tokens that can be one.

    Raises ModelUnavailable where the template does not let the places be told.
    """
    if _MARKED.search(chat.source):
        return _marked(chat)
    text = chat.text()
    turns = [place for place, message in enumerate(chat.messages) if message.get("role") == "assistant"]
    if not turns:
        return text, []
    ending = _ending(chat, turns[0], specials)
    starts = [_start(chat, text, turn) for turn in turns]
    places = []
    for number, turn in enumerate(turns):
        is_next = number + 1 < len(turns) and turns[number + 1] == turn + 1
        following = starts[number + 1] if number + 1 < len(turns) else len(text)
        limit = following if is_next else _limit(chat, text, turn, bool(ending))
        if limit is None and ending and text.count(ending, starts[number], following) == 1:
            limit = following  # whatever stands behind, the turn ends at the only ending that there is
        places.append((starts[number], _end(chat, text, turn, starts[number], limit, ending)))
    if any(end < start for start, end in places) or any(one[1] > two[0] for one, two in pairwise(places)):
        raise _unclear(chat, "its turns overlap")
    return text, places


def _marked(chat: Chat) -> tuple[str, list[Place]]:
    marks = unused(chat.source + json.dumps([chat.messages, chat.variables], ensure_ascii=False), 2)
    begin, end = marks[0], marks[1]
    places: list[Place] = []
    at, opened = 0, -1
    plain: list[str] = []
    for part in re.split(f"([{begin}{end}])", chat.text(**{BEGIN: begin, END: end})):
        if part == begin and opened < 0:
            opened = at
        elif part == end and opened >= 0:
            places.append((opened, at))
            opened = -1
        elif part in (begin, end):
            raise _unclear(chat, "its {% generation %} blocks are nested or open")
        else:
            plain.append(part)
            at += len(part)
    text = "".join(plain)
    if _CAPTURES.search(chat.source) and text != chat.text():
        raise _unclear(chat, "it changes what {% generation %} encloses")
    return text, places


def _start(chat: Chat, text: str, turn: int) -> int:
    """Where the turn begins: behind what the template writes to make a model answer."""
    for asked in (chat.thinking(), chat):
        prompt = _try(asked.up_to(turn, True))
        if prompt and text.startswith(prompt):
            return len(prompt)
    # What stands before this turn depends on what follows. Find the previous message instead, and what is written behind it.
    if turn > 0:
        mark = unused(text, 1)
        answered = _try(chat.thinking().saying(turn - 1, mark).up_to(turn, True))
        whole = _try(chat.saying(turn - 1, mark))
        if answered and whole and answered.count(mark) == whole.count(mark) == 1:
            behind = answered[answered.index(mark) + 1 :]
            rest = whole[whole.index(mark) + 1 :]
            if rest.startswith(behind) and text.endswith(rest):
                return len(text) - len(rest) + len(behind)
    raise _unclear(chat, f"the beginning of message {turn} is not to be found")


def _limit(chat: Chat, text: str, turn: int, has_ending: bool) -> int | None:
    """A place behind the turn and before what the next message says; None where none is to be found."""
    if turn + 1 == len(chat.messages):
        return len(chat.up_to(turn + 1, False).text()) if chat.add_generation_prompt else len(text)
    alone = _try(chat.up_to(turn + 1, False))
    if alone and text.startswith(alone):
        return len(alone)
    mark = unused(text, 1)
    changed = _try(chat.saying(turn + 1, mark))
    # Without an ending to look for, the next message's head would be taken for the assistant's.
    if has_ending and changed and changed.count(mark) == 1 and text.startswith(changed[: changed.index(mark)]):
        return changed.index(mark)
    return None


def _end(chat: Chat, text: str, turn: int, start: int, limit: int | None, ending: str) -> int:
    """Behind the last `ending` before `limit`."""
    if limit is None:
        raise _unclear(chat, f"the end of message {turn} is not to be found")
    at = text.rfind(ending, start, limit) if ending else limit
    if at < 0:
        raise _unclear(chat, f"message {turn} does not end with {ending!r}")
    return at + len(ending)


def _ending(chat: Chat, turn: int, specials: Sequence[str]) -> str:
    """What the template writes behind a turn, up to its first special token: what a model must say to stop."""
    mark = unused(chat.text(), 1)
    last = _try(chat.saying(turn, mark).up_to(turn + 1, False))
    if not last or last.count(mark) != 1:
        raise _unclear(chat, "what it writes behind a turn is not to be found")
    behind = last[last.index(mark) + 1 :]
    found = [(behind.index(token) + len(token), token) for token in specials if token in behind]
    return behind[: min(found)[0]] if found else behind


def _try(chat: Chat) -> str | None:
    try:
        return chat.text()
    except OpenbookError:
        return None


def unused(text: str, count: int) -> str:
    """Characters of the private area that are not in `text`."""
    free = (chr(code) for code in _PRIVATE if chr(code) not in text)
    return "".join(islice(free, count))


def _unclear(chat: Chat, cause: str) -> ModelUnavailable:
    return ModelUnavailable(f"the assistant's turns cannot be told in a chat of {chat.name}: {cause}", _REMEDY)
