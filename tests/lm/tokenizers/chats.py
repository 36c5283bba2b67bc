"""Chats for tests of templates: plain, with tools, with reasoning, with what is hard; and a tokenizer that renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm.checkpoints import byte_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a place <b>now</b> & later: 天气",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "description": "where"}},
                "required": ["place"],
            },
        },
    },
    {"type": "function", "function": {"name": "clock", "description": "Time", "parameters": {"type": "object"}}},
]
CALL = {"id": "abc123def", "type": "function", "function": {"name": "weather", "arguments": {"place": "Köln 科隆"}}}
CHATS: dict[str, list[dict[str, Any]]] = {
    "one question": [{"role": "user", "content": "Hi"}],
    "two turns": [
        {"role": "user", "content": "Who wrote it?"},
        {"role": "assistant", "content": "Li Bai did. 李白🚢"},
        {"role": "user", "content": " And when?\n"},
        {"role": "assistant", "content": "\n About 750.  "},
    ],
    "system": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Again"},
    ],
    "tool": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"sky": "grey"}', "tool_call_id": "abc123def"},
        {"role": "assistant", "content": "Grey."},
        {"role": "user", "content": "Thanks"},
        {"role": "assistant", "content": "<tool_call> is no call"},
    ],
    "content is None beside a call": [
        {"role": "system", "content": "Use tools"},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "name": None},
        {"role": "tool", "content": "grey", "tool_call_id": "abc123def"},
    ],
    "reasoning": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4", "reasoning_content": "\nI add.\n"},
        {"role": "user", "content": "and 3?"},
        {"role": "assistant", "content": "<think>\nmore\n</think>\n\n7"},
    ],
}
TOKENS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"]
TOKENS += ["<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]"]
TOKENS += ["[TOOL_RESULTS]", "[/TOOL_RESULTS]"]
ENDS = {
    "chatml": (None, "<|im_end|>"),
    "qwen3": (None, "<|im_end|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "mistral": ("<s>", "</s>"),
}


def chat_tokenizer(directory: Path, template: str, bos: str | None = None, eos: str | None = None) -> Tokenizer:
    """A byte-level tokenizer with the special tokens of every format, saved in `directory` with `template`."""
    directory.mkdir(exist_ok=True)
    byte_tokenizer(directory)
    tokenizer = Tokenizer.load(directory)
    tokenizer.backend.add_special_tokens(TOKENS)
    named = {key: token for key, token in (("bos_token", bos), ("eos_token", eos)) if token}
    made = Tokenizer(tokenizer.backend, named, {"default": template})
    made.save(directory)
    return Tokenizer.load(directory)
