"""The special tokens of each chat format, and what they are to the model. Padding is never the end of a turn: a mask made of
one would hide the other, and a model would not learn to stop.
"""

from __future__ import annotations

from typing import NamedTuple


class ChatFormat(NamedTuple):
    """`special`: tokens without text. `plain`: tokens that are text (marks of thoughts and tool calls). `named`: roles."""

    special: tuple[str, ...]
    plain: tuple[str, ...]
    named: dict[str, str]


_QWEN = ChatFormat(
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
    {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
)
FORMATS: dict[str, ChatFormat] = {
    "chatml": _QWEN,
    "qwen3": _QWEN,
    "llama3": ChatFormat(
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|finetune_right_pad_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
            "<|python_tag|>",
        ),
        (),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>"},
    ),
    "mistral": ChatFormat(
        (
            "<s>",
            "</s>",
            "<pad>",
            "[INST]",
            "[/INST]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
            "[TOOL_CALLS]",
        ),
        (),
        {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    ),
}
