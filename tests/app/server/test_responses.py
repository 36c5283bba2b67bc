"""/v1/responses, asked by the official client: whole, streamed in order, and what a server without a memory refuses."""

from __future__ import annotations

from typing import Any

import openai
import pytest

ASKED: dict[str, Any] = {
    "model": "tiny",
    "input": "Hello?",
    "instructions": "Be brief.",
    "max_output_tokens": 12,
    "extra_body": {"ignore_eos": True, "seed": 5},
}


def test_the_whole_is_what_the_stream_ends_with(client: openai.OpenAI) -> None:
    whole = client.responses.create(**ASKED)
    events = list(client.responses.create(**ASKED, stream=True))
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text != ""
    assert whole.status == "incomplete" and whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert whole.usage is not None and whole.usage.output_tokens == 12


def test_events_come_in_order(client: openai.OpenAI) -> None:
    events = list(client.responses.create(**ASKED, stream=True))
    names = [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = ["response.output_text.delta"] * names.count("response.output_text.delta")
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]


def test_a_conversation_is_that_of_a_chat(client: openai.OpenAI) -> None:
    said = [
        {"role": "user", "content": "Hello?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}]},
    ]
    one = client.responses.create(**ASKED | {"input": said})
    chat = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "What is it?"},
        ],
        max_completion_tokens=12,
        seed=5,
        extra_body={"ignore_eos": True},
    )
    assert one.output_text == chat.choices[0].message.content
    assert one.usage is not None and chat.usage is not None and one.usage.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize(
    ("field", "value"), [("previous_response_id", "resp_1"), ("background", True), ("conversation", "conv_1")]
)
def test_what_would_need_a_memory_is_refused_by_name(client: openai.OpenAI, field: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError, match=f"{field} is"):
        client.responses.create(**ASKED, **{field: value})


def test_items_that_are_not_served_are_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"input\[0\]"):
        client.responses.create(**ASKED | {"input": [{"type": "web_search_call", "id": "a", "status": "completed"}]})
    with pytest.raises(openai.BadRequestError, match=r"tools\[0\]"):
        client.responses.create(**ASKED, tools=[{"type": "web_search"}])


def test_a_thought_without_words_behind_it_is_refused(client: openai.OpenAI) -> None:
    thought: Any = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    for items in ([thought], [thought, {"role": "user", "content": "Hello?"}], [{"type": "reasoning", "summary": []}]):
        with pytest.raises(openai.BadRequestError, match="reasoning item"):
            client.responses.create(**ASKED | {"input": items})
