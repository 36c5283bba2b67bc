"""What a parser finds does not depend on how the answer was cut, and nothing that a model wrote is lost."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openbook.serving.chat.calls import CallParser
from openbook.serving.chat.parts import Arguments, Begun, Ended, Part, Said, Thought, merged
from openbook.serving.chat.syntax import HERMES, LLAMA, MISTRAL
from openbook.serving.chat.thoughts import ThoughtParser

NAMES = frozenset({"weather", "clock"})
PARSERS = {
    "hermes": lambda: CallParser(HERMES, NAMES),
    "llama": lambda: CallParser(LLAMA, NAMES),
    "llama, hidden": lambda: CallParser(LLAMA, NAMES, hides_marks=True),
    "mistral": lambda: CallParser(MISTRAL, NAMES),
    "mistral, hidden": lambda: CallParser(MISTRAL, NAMES, hides_marks=True),
    "thoughts": ThoughtParser,
    "open thoughts": lambda: ThoughtParser(is_open=True),
}
PIECES = [
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<think>", "</think>"),
    *("[", "]", "{", "}", ";", ",", " ", "\n", '"', ":", "\\", "Hello", "天气", "<", "a", "1", "<tool", "_call>"),
    '{"name": "weather", "arguments": {"place": "Köln 科隆"}}',
    '{"name":"clock","parameters":{}}',
    '{"arguments": {"a": [1, -2.5e3, "\\u00e9\\n"]}, ',
    '"name": "weather"}',
    '{"name": "nobody", "arguments": {}}',
    '{"name": "clock"}',
    '{"name": "clock", "arguments": "{\\"a\\": 1}"}',
    '{"name": "clock", "arguments": null}',
    '{"name": "clock", "arguments": 3}',
    '{"name": "clock", "arguments": {"a": tru',
    '"a\nb"',
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join)


def read(name: str, pieces: list[str]) -> list[Part]:
    parser = PARSERS[name]()
    parts = [part for piece in pieces for part in parser.push(piece)]
    return merged([*parts, *parser.finish()])


def cut(text: str, places: list[int]) -> list[str]:
    cuts = sorted({0, *(place % (len(text) + 1) for place in places), len(text)})
    return [text[start:end] for start, end in pairwise(cuts)]


@pytest.mark.parametrize("name", PARSERS)
@given(text=TEXTS, places=st.lists(st.integers(0, 200), max_size=6))
@example(text='<tool_call>\n{"name": "weather", "arguments": {"place": "a"}}\n</tool_call>', places=[])
@example(text='[TOOL_CALLS][{"name": "clock", "arguments": {}}, {"name": "clock", "arguments": {}}]', places=[])
@example(text="[TOOL_CALLS][[{", places=[12])
def test_every_chunking_gives_the_same(name: str, text: str, places: list[int]) -> None:
    whole = read(name, [text])
    assert read(name, list(text)) == whole
    assert read(name, cut(text, places)) == whole


@pytest.mark.parametrize("name", PARSERS)
@given(text=TEXTS)
def test_text_keeps_its_place_and_nothing_is_invented(name: str, text: str) -> None:
    parts = read(name, [text])
    for part in parts:
        if isinstance(part, Said):
            assert text[part.start : part.start + len(part.text)] == part.text
    if not any(isinstance(part, Begun | Thought) for part in parts) and "hidden" not in name and "open" not in name:
        said = "".join(part.text for part in parts if isinstance(part, Said))
        assert said == text or name == "thoughts"


@pytest.mark.parametrize("name", PARSERS)
@given(text=TEXTS)
def test_complete_calls_have_arguments_that_are_objects(name: str, text: str) -> None:
    arguments: dict[int, str] = {}
    for part in read(name, [text]):
        match part:
            case Begun(index, called):
                assert index == len(arguments)
                assert called
                arguments[index] = ""
            case Arguments(index, piece):
                arguments[index] += piece
            case Ended(index):
                assert isinstance(json.loads(arguments[index]), dict)


WEATHER = [Begun(0, "weather"), Arguments(0, '{"place": "Köln"}'), Ended(0)]
ONE = '{"name": "weather", "arguments": {"place": "Köln"}}'
TWO = [*WEATHER, Begun(1, "clock"), Arguments(1, "{}"), Ended(1)]


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("hermes", f"Let me see.\n<tool_call>\n{ONE}\n</tool_call>", [Said("Let me see.", 0), *WEATHER]),
        (
            "hermes",
            f'<tool_call>{ONE}</tool_call>\n<tool_call>{{"name": "clock", "arguments": {{}}}}</tool_call>\n',
            TWO,
        ),
        ("hermes", f"<tool_call>\n{ONE}", WEATHER),
        ("hermes", f"<tool_call>\n{ONE}\n</tool_c", WEATHER),
        ("hermes", "<tool_call> is no call", [Said("<tool_call> is no call", 0)]),
        ("hermes", '<tool_call>{"name": 3}', [Said('<tool_call>{"name": 3}', 0)]),
        ("hermes", f"<tool_call>{{bad <tool_call>{ONE}</tool_call>", [Said("<tool_call>{bad", 0), *WEATHER]),
        ("hermes", '<tool_call>{"name": "weather", "argu', [Said('<tool_call>{"name": "weather", "argu', 0)]),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"pl', [Begun(0, "weather"), Arguments(0, '{"pl')]),
        ("llama", ONE.replace("arguments", "parameters"), WEATHER),
        ("llama", f' <|python_tag|>{ONE}; {{"name": "clock", "parameters": {{}}}}', TWO),
        ("llama", '{"type": "function", "name": "weather", "parameters": {"place": "Köln"}}', WEATHER),
        ("llama", '{"title": {"name"', [Said('{"title": {"name"', 0)]),
        ("llama", '{"name": "Bob", "parameters": {}}', [Said('{"name": "Bob", "parameters": {}}', 0)]),
        ("llama", f"Yes: {ONE}", [Said(f"Yes: {ONE}", 0)]),
        ("llama, hidden", "<|python_tag|>brave.call()", [Said("brave.call()", 14)]),
        ("mistral", f'[TOOL_CALLS] [{ONE}, {{"name": "clock", "arguments": {{}}, "id": "abc"}}]', TWO),
        ("mistral", f"[TOOL_CALLS]{ONE}", WEATHER),
        ("mistral", "[1, 2]", [Said("[1, 2]", 0)]),
        ("thoughts", "<think>\nI add.\n</think>\n\n4", [Thought("I add."), Said("4", 25)]),
        ("thoughts", "\n<think></think>\n\n4", [Said("4", 18)]),
        ("thoughts", "<thin air> <think>", [Said("<thin air> <think>", 0)]),
        ("open thoughts", "I add.</thin\n</think>\n", [Thought("I add.</thin")]),
        ("open thoughts", "I add. ", [Thought("I add.")]),
    ],
)
def test_formats(name: str, text: str, parts: list[Part]) -> None:
    assert read(name, [text]) == parts


def test_json_that_is_no_call_is_told_as_it_comes() -> None:
    parser = CallParser(LLAMA, NAMES)
    assert merged(parser.push('{"title":')) == [Said('{"title":', 0)]
