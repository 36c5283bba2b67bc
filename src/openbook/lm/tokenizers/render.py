"""A chat as a model reads it: the template's text, its ids, and where in both the assistant speaks.

The template owns the special tokens: its text is encoded with none added. Spans come from one rendering of the whole chat,
never from parts of it encoded again, for which byte pairs would join otherwise at the seams.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ImagePart, Message, TextPart
from openbook.lm.tokenizers.literal import encode_spelled, marked
from openbook.lm.tokenizers.spans import Chat, spans_of, unused

if TYPE_CHECKING:
    from openbook.lm.tokenizers.tokenizer import Tokenizer

_REASONING = ("reasoning_content", "thinking", "reasoning")


class Span(NamedTuple):
    """What the assistant says in one turn, its end-of-turn token included: code points [start, end) of the text, and
    tokens [first, last) of the ids. A token that reaches over a border counts.
    """

    start: int
    end: int
    first: int
    last: int


class Rendered(NamedTuple):
    """`spans`: one for each assistant turn, in order (none where they were not asked for)."""

    text: str
    ids: list[int]
    spans: list[Span]

    @property
    def mask(self) -> list[bool]:
        """Of each id, whether the assistant said it: the tokens that a loss is taken over."""
        said = [False] * len(self.ids)
        for span in self.spans:
            said[span.first : span.last] = [True] * (span.last - span.first)
        return said


def rendered(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any] | Message],
    tools: Sequence[Mapping[str, Any]] | None,
    add_generation_prompt: bool,
    template: str | None,
    wants_spans: bool,
    literal: bool,
    variables: Mapping[str, Any],
    check: Callable[[str], object] | None = None,
) -> Rendered:
    """See `Tokenizer.render`."""
    if not messages:
        raise UsageError("the chat has no messages", "give at least one")
    source = _chosen(tokenizer, template, tools is not None)
    said = {
        "messages": [plain_message(message) for message in messages],
        "tools": None if tools is None else [plain_data(tool) for tool in tools],
        "more": plain_data(variables),
    }
    specials = [tokenizer.token_of(number) for number in tokenizer.special_ids]
    mark = unused(source + json.dumps(said, ensure_ascii=False), 1) if literal else ""
    if literal:
        said = marked(said, specials, mark)
    given = {"documents": None, **tokenizer.special, **said["more"], "tools": said["tools"]}
    chat = Chat(source, tokenizer.source, said["messages"], given, add_generation_prompt)
    text, places = spans_of(chat, specials) if wants_spans else (chat.text(), [])
    if check is not None:
        check(text.replace(mark, "") if mark else text)
    if mark and mark in text:
        made = encode_spelled(tokenizer, text, places, mark)
        return Rendered(made.text, made.ids, _token_spans(made.offsets, made.places))
    encoding = tokenizer.locate(text) if places else None
    ids: list[int] = tokenizer.encode(text, False) if encoding is None else encoding.ids
    bos = tokenizer.bos_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise ModelUnavailable(f"the chat template of {tokenizer.source} writes bos twice", "take one out of it")
    return Rendered(text, ids, [] if encoding is None else _token_spans(encoding.offsets, places))


def _token_spans(offsets: Sequence[tuple[int, int]], places: Sequence[tuple[int, int]]) -> list[Span]:
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    return [Span(start, end, bisect_right(ends, start), bisect_left(starts, end)) for start, end in places]


def _chosen(tokenizer: Tokenizer, name: str | None, has_tools: bool) -> str:
    templates = tokenizer.templates
    if not templates:
        raise ModelUnavailable(
            f"{tokenizer.source} has no chat template",
            "put a chat_template.jinja beside tokenizer.json (openbook.lm.tokenizers.templates has some), or give text",
        )
    if name is None:
        name = "tool_use" if has_tools and "tool_use" in templates else "default"
    if name not in templates:
        raise UsageError(
            f"{tokenizer.source} has no chat template {name!r}", f"it has {', '.join(sorted(templates))}; name one"
        )
    return templates[name]


def plain_message(message: Mapping[str, Any] | Message) -> dict[str, Any]:
    """A message as templates read it: plain data, without keys that are None, reasoning under all its names."""
    if isinstance(message, Message):
        parts = [_part(part) for part in message.content]
        only_text = all(isinstance(part, TextPart) for part in message.content)
        return {"role": message.role, "content": message.text if only_text else parts} | _beside(message)
    plain: dict[str, Any] = plain_data({key: value for key, value in message.items() if value is not None})
    thought = next((plain[name] for name in _REASONING if name in plain), None)
    if thought is not None:
        plain = {"thinking": thought, **plain, "reasoning_content": thought}
    return plain


def _beside(message: Message) -> dict[str, Any]:
    """Tool calls, the call that a result belongs to and what was thought, as templates know them. Arguments are given as an
    object, as templates expect; what is no JSON stays a text.
    """
    plain: dict[str, Any] = {}
    if message.tool_calls:
        plain["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        plain |= {"reasoning_content": message.reasoning, "thinking": message.reasoning}
    return plain


def _object(arguments: str) -> Any:
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _part(part: TextPart | ImagePart) -> dict[str, str]:
    return {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}


def plain_data(value: Any) -> Any:
    """`value` as JSON types, whose methods the sandbox knows; UsageError for anything else."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain_data(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(one) for one in value]
    raise UsageError(f"a chat holds {type(value).__name__}", "give texts, numbers, lists and mappings")
