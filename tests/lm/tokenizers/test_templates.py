"""Our own templates write the formats of the models that they are named after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lm.tokenizers.chats import CHATS, ENDS, TOOLS, chat_tokenizer
from openbook.core.errors import UsageError
from openbook.lm.tokenizers.templates import NAMES, chat_template

GOLDEN = json.loads(Path(__file__).with_name("data").joinpath("chat_formats.json").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_those_of_the_original_templates(tmp_path: Path, name: str) -> None:
    tokenizer = chat_tokenizer(tmp_path, chat_template(name), *ENDS[name])
    seen = 0
    for key, text in GOLDEN[name].items():
        chat, _, tools = key.partition(", ")
        given = {"tools": TOOLS if tools else None, "add_generation_prompt": bool(tools), "date_string": "1 Jan 2026"}
        assert tokenizer.render(CHATS[chat], **given).text == text, key
        seen += 1
    assert seen >= 10


def test_chatml_tells_what_was_thought(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(tmp_path, chat_template("chatml"), *ENDS["chatml"])
    chat = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "reasoning_content": "I add.\n"}]
    rendered = tokenizer.render(chat)
    assert [rendered.text[span.start : span.end] for span in rendered.spans] == [
        "<think>\nI add.\n</think>\n\n4<|im_end|>"
    ]


def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="known are chatml, qwen3, llama3, mistral"):
        chat_template("vicuna")
