"""A stream is the whole in pieces; log-probabilities are of what is shown; stop strings and special tokens never are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.tokenizers.vocabularies import FORMATS
from openbook.core.messages import SamplingParams, ToolCall
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import (
    ChatEvent,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallBegun,
    Usage,
)
from openbook.serving.chat.prepare import Prepared, prepare_chat, prepare_completion
from openbook.serving.chat.reading import Reading
from openbook.serving.chat.reply import Reply
from openbook.serving.engine.events import NO_TOKEN, Chosen, Event
from serving.chat.talk import TOOLS, asked, events, tokenizer, told

CALL = '{"name": "weather", "arguments": {"place": "Köln"}}'
PIECES = ["<tool_call>", "</tool_call>", CALL, "<think>", "</think>", " ", "\n", "Hello 天气", "<|im_end|>", "abc", "b"]
FORMS = ("chatml", "qwen3", "llama3", "mistral")


def text_of(said: list[ChatEvent]) -> str:
    return "".join(event.text for event in said if isinstance(event, TextDelta))


@pytest.mark.parametrize("form", FORMS)
@given(
    tokens=st.lists(st.integers(0, 280), max_size=30),
    text=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    stop=st.lists(st.sampled_from(["b", "abc", "Hello", "\n", "天"]), max_size=2),
    wants_tools=st.booleans(),
)
def test_pieces_are_the_whole_and_logprobs_its_bytes(
    form: str, tokens: list[int], text: str, stop: list[str], wants_tools: bool
) -> None:
    one = tokenizer(form)
    request = asked(sampling=SamplingParams(stop=tuple(stop), logprobs=1), tools=TOOLS if wants_tools else ())
    prepared = prepare_chat(one, request)
    ids = [*one.encode(text, False), *tokens]
    reply, said = told(one, prepared, ids, end=one.eos_id)
    assert text_of(said) == reply.whole.text
    assert [isinstance(event, Finished) for event in said] == [False] * (len(said) - 1) + [True]
    raw = b"".join(logprob.raw for event in said if isinstance(event, TextDelta) for logprob in event.logprobs)
    assert raw.decode("utf-8", "replace") == reply.whole.text
    assert not any(each in reply.whole.text for each in stop)
    if "�" not in reply.whole.text:
        assert not any(one.token_of(special) in text_of(said) for special in one.special_ids)
    # Nothing depends on whether log-probabilities are wanted.
    plain, _ = told(
        one, replace(prepared, reading=replace(prepared.reading, wants_logprobs=False)), ids, end=one.eos_id
    )
    assert plain.whole == replace(reply.whole, logprobs=[])


def test_a_call_with_text_and_thoughts() -> None:
    one = tokenizer("qwen3")
    text = f"<think>\nWhere?\n</think>\n\nI look.\n<tool_call>\n{CALL}\n</tool_call>"
    reply, said = told(one, prepare_chat(one, asked(tools=TOOLS)), one.encode(text, False), end=one.eos_id)
    assert "".join(event.text for event in said if isinstance(event, ReasoningDelta)) == "Where?"
    assert text_of(said) == "I look."
    (begun,) = [event for event in said if isinstance(event, ToolCallBegun)]
    pieces = [event.text for event in said if isinstance(event, ToolCallArguments)]
    assert len(pieces) > 5  # streamed as they come
    assert reply.whole.tool_calls == (ToolCall(begun.id, "weather", '{"place": "Köln"}'),)
    assert said[-1] == Finished("tool_calls", reply.usage)
    assert 0 < reply.usage.reasoning < reply.usage.completion
    completion = reply.whole.completion()
    assert (completion.finish_reason, completion.reasoning) == ("tool_calls", "Where?")


def test_one_call_is_enough_where_no_more_are_allowed() -> None:
    one = tokenizer("mistral")
    ids = [one.id_of("[TOOL_CALLS]"), *one.encode(f"[{CALL}, {CALL}]", False)]
    many, _ = told(one, prepare_chat(one, asked(tools=TOOLS)), ids, end=one.eos_id)
    assert len(many.whole.tool_calls) == 2
    assert len({call.id for call in many.whole.tool_calls}) == 2
    assert all(len(call.id) == 9 and call.id.isalnum() for call in many.whole.tool_calls)
    reply = Reply(one, prepare_chat(one, asked(tools=TOOLS, allows_parallel_calls=False)), "r1")
    said = []
    for event in events(ids, end=one.eos_id):
        said += reply.push(event)
        if reply.is_done:
            break
    assert len(reply.whole.tool_calls) == 1
    assert reply.usage.completion < len(ids)  # told before the second began
    assert said[-1].reason == "tool_calls"  # type: ignore[union-attr]
    assert reply.push(event) == reply.fail("late") == []


def test_a_special_mark_of_a_call_that_is_none_is_not_shown() -> None:
    one = tokenizer("mistral")
    ids = [*one.encode("So: ", False), one.id_of("[TOOL_CALLS]"), *one.encode("no list", False)]
    _, said = told(one, prepare_chat(one, asked(tools=TOOLS)), ids, end=one.eos_id)
    assert text_of(said) == "So: no list"
    _, said = told(one, prepare_chat(one, asked()), ids, end=one.eos_id)
    assert text_of(said) == "So: no list"


def test_thoughts_that_the_prompt_has_opened() -> None:
    one = default_tokenizer(600)
    prepared = Prepared([1], SamplingParams(), Reading(thoughts="are open"))
    reply, _ = told(one, prepared, one.encode("Hm.\n</think>\n\nYes.", False), end=one.eos_id)
    assert (reply.whole.reasoning, reply.whole.text) == ("Hm.", "Yes.")


def test_a_stop_string_ends_the_answer_before_the_engine_does() -> None:
    one = default_tokenizer(600)
    prepared = prepare_completion(one, "x", SamplingParams(stop=("END",)))
    reply = Reply(one, prepared)
    for event in events(one.encode("One EN or two END three", False)):
        reply.push(event)
        if reply.is_done:
            break
    assert reply.whole.text == "One EN or two "
    assert reply.whole.finished == Finished("stop", reply.usage)


def test_a_token_that_ends_in_a_stop_string_is_told_as_far_as_it_is_shown() -> None:
    one = default_tokenizer()
    ids = one.encode(" answer", False)
    assert len(ids) == 1
    reply, _ = told(one, prepare_completion(one, "x", SamplingParams(stop=("swer",), logprobs=0)), ids)
    assert [logprob.raw for logprob in reply.whole.logprobs] == [b" an"]


def test_echo_gives_the_prompt_first() -> None:
    one = default_tokenizer(600)
    prepared = prepare_completion(one, "Once upon", SamplingParams(), echo=True)
    _, said = told(one, prepared, one.encode(" a time", False), reason="length")
    assert text_of(said) == "Once upon a time"
    assert said[0] == TextDelta("Once upon")
    assert prepare_completion(one, one.encode("Once upon"), SamplingParams(), echo=True) == prepared


def test_what_goes_wrong_is_the_last_event() -> None:
    one = default_tokenizer(600)
    prepared = prepare_completion(one, "x", SamplingParams())
    reply = Reply(one, prepared)
    (text,) = reply.push(Event(0, Chosen(one.encode("a", False)[0]), num_cached=3))
    assert text == TextDelta("a")
    assert reply.fail("the engine was closed") == [Finished("error", Usage(1, 1, 3), "the engine was closed")]
    broken = Reply(one, prepared)
    (end,) = broken.push(Event(0, Chosen(NO_TOKEN), "error", True))
    assert isinstance(end, Finished)
    assert (end.reason, end.usage.completion) == ("error", 0)


def test_an_answer_of_no_token_is_its_echo() -> None:
    one = default_tokenizer(600)
    reply = Reply(one, prepare_completion(one, "Once", SamplingParams(), echo=True))
    text, end = reply.push(Event(0, Chosen(NO_TOKEN), "length", True))
    assert text == TextDelta("Once")
    assert end == Finished("length", Usage(len(one.encode("Once")), 0))


def test_ids_that_no_token_has_are_no_text() -> None:
    one = default_tokenizer(600)
    reply, _ = told(
        one, prepare_completion(one, "x", SamplingParams(logprobs=0)), [one.vocab_size + 5, *one.encode("a", False)]
    )
    assert reply.whole.text == "a"
    assert [logprob.raw for logprob in reply.whole.logprobs] == [b"a"]


def test_an_answer_that_breaks_its_schema_is_told_as_an_error_and_one_that_was_cut_as_length() -> None:
    one = default_tokenizer(600)
    prepared = Prepared([1], SamplingParams(), Reading(schema={"type": "object", "required": ["a"]}))
    for text, reason, found in [
        ('{"a": 1}', "stop", "stop"),
        ('{"b": 1}', "stop", "error"),
        ("no", "stop", "error"),
        ('{"a', "length", "length"),
    ]:
        _, said = told(one, prepared, one.encode(text, False), reason=reason)
        assert said[-1].reason == found  # type: ignore[union-attr]


def test_sentencepiece_goes_on_with_the_space_between_words(tmp_path: Path) -> None:
    one = Tokenizer.load(FORMATS["llama"](tmp_path))
    prepared = prepare_completion(one, "The", SamplingParams(logprobs=0))
    ids = one.encode("ferry at 渡轮🚢", False)
    reply, _ = told(one, prepared, ids)
    assert reply.whole.text == " ferry at 渡轮🚢"
    assert b"".join(logprob.raw for logprob in reply.whole.logprobs).decode() == reply.whole.text


@pytest.mark.parametrize("constraint", [None, "{}"])
def test_a_grammar_that_leaves_no_token_is_the_request_s_fault(constraint: str | None) -> None:
    one = tokenizer("chatml")
    prepared = prepare_completion(one, "a", SamplingParams(constraint=constraint))
    said = Reply(one, prepared).push(Event(0, Chosen(NO_TOKEN), "error", is_end=True))
    assert isinstance(said[-1], Finished) and said[-1].reason == "error"
    assert said[-1].by_request is (constraint is not None)
    assert ("grammar left no token" in said[-1].message) is (constraint is not None)
