"""The functions and calls of the Berkeley function-calling leaderboard, as each format writes them, read back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import UsageError
from openbook.core.messages import ToolDefinition
from openbook.serving.chat.constraint import GrammarCompiler
from openbook.serving.chat.prepare import prepare_chat
from serving.chat.talk import asked, tokenizer, told

TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "any": ["object", "array", "string", "number", "boolean", "null"],
}
WRITTEN = {
    "chatml": lambda calls: "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls),
    "mistral": lambda calls: f"[TOOL_CALLS][{', '.join(calls)}]",
}


def schema(said: Any) -> Any:
    """The leaderboard names types as Python does."""
    if isinstance(said, list):
        return [schema(one) for one in said]
    if not isinstance(said, dict):
        return said
    kept = {key: schema(one) for key, one in said.items() if key not in ("default", "optional", "format")}
    if isinstance(kept.get("type"), str):
        kept["type"] = TYPES.get(kept["type"].lower(), kept["type"].lower())
    return kept


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    packed = folder / f"{name}.gz"
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else (folder / name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def cases(data: Path, name: str) -> Iterator[tuple[tuple[ToolDefinition, ...], list[tuple[str, dict[str, Any]]]]]:
    folder = data / "bfcl"
    if not folder.is_dir():
        pytest.skip("needs the data set bfcl")
    right = {row["id"]: row["ground_truth"] for row in rows(folder / "possible_answer", name)}
    for row in rows(folder, name):
        tools = {
            one["name"]: ToolDefinition(one["name"], one["description"], schema(one["parameters"]))
            for one in row["function"]
        }
        calls = []
        for call in right[row["id"]]:
            for called, accepted in call.items():
                arguments = {key: values[0] for key, values in accepted.items() if values[0] not in ("", None)}
                calls.append((called, {key: _plain(one) for key, one in arguments.items()}))
        yield tuple(tools.values()), calls


def _plain(value: Any) -> Any:
    """Inner values are lists of what is accepted too."""
    return {key: _plain(one[0]) for key, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("form", sorted(WRITTEN))
@pytest.mark.parametrize("name", ["BFCL_v4_simple_python.json", "BFCL_v4_parallel_multiple.json"])
def test_calls_are_read_as_they_were_meant(data: Path, name: str, form: str) -> None:
    one = tokenizer(form)
    for tools, calls in cases(data, name):
        text = WRITTEN[form](
            [json.dumps({"name": called, "arguments": said}, ensure_ascii=False) for called, said in calls]
        )
        reply, _ = told(one, prepare_chat(one, asked(tools=tools)), one.encode(text, False), end=one.eos_id)
        assert [(call.name, json.loads(call.arguments)) for call in reply.whole.tool_calls] == calls
        assert reply.whole.text == ""


def test_every_function_can_be_enforced(data: Path) -> None:
    one = tokenizer("chatml")
    compiler = GrammarCompiler(lambda: one, one.vocab_size, one.eos_ids)
    refused = []
    for name in ("BFCL_v4_simple_python.json", "BFCL_v4_multiple.json"):
        for tools, _ in cases(data, name):
            try:
                grammar = prepare_chat(one, asked(tools=tools, tool_choice="required")).params.constraint
                assert grammar is not None
                compiler(grammar)
            except UsageError as error:
                refused.append(str(error))
    assert refused == []
