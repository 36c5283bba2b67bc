"""Items of a conversation become the messages of a chat; nothing of them is left out."""

from __future__ import annotations

from openbook.app.server.items import chat_body
from openbook.app.server.shapes.responses import ResponseBody


def thought(text: str) -> dict[str, object]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def test_thoughts_in_a_row_are_all_kept() -> None:
    said = {"role": "assistant", "content": "Yes."}
    asked = {"role": "user", "content": "Why?"}
    body = ResponseBody.model_validate({"input": [thought("First."), thought("Second."), said, asked]})
    first, second = chat_body(body).messages
    assert first.reasoning_content == "First.\nSecond." and first.content == "Yes."
    assert (second.role, second.content) == ("user", "Why?")
