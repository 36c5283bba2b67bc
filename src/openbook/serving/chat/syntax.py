"""The formats in which models call tools: which one a chat template speaks, and a grammar for calls in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from openbook.core.messages import ToolDefinition
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.calls import CallSyntax
from openbook.serving.chat.grammar import Named, check_schema, quoted, schema_part

HERMES = CallSyntax(begin="<tool_call>", end="</tool_call>")
"""Qwen 2.5 and 3, Hermes: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, again for the next."""
LLAMA = CallSyntax(begin="<|python_tag|>", joiner=";", is_bare=True)
"""Llama 3.1 and later: `{"name": ..., "parameters": {...}}` as the whole answer, or behind <|python_tag|>."""
MISTRAL = CallSyntax(begin="[TOOL_CALLS]", joiner=",", is_list=True)
"""Mistral up to Nemo: `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]`."""

_OTHERS = ("<function=", "<arg_key>", "[ARGS]")
"""Marks of formats that look like these and are others: Qwen3-Coder, GLM, Mistral's later models."""

Mark = Callable[[str], str]
"""Writes a mark of the format into a grammar: the special token where it is one, else its text."""

_DATA = ("const", "enum", "default", "examples")
_NAMES = ("properties", "patternProperties", "$defs", "definitions")
"""Keywords whose keys are names, not keywords."""
TEXT = "/(.|\\n)*/"


def call_syntax(tokenizer: Tokenizer) -> CallSyntax | None:
    """The format that the template for tools teaches; None where it is none of these."""
    source = tokenizer.templates.get("tool_use") or tokenizer.chat_template or ""
    if any(mark in source for mark in _OTHERS):
        return None
    if HERMES.begin in source and '"arguments"' in source:
        return HERMES
    if MISTRAL.begin in source:
        return MISTRAL
    if LLAMA.begin in source or ("ipython" in source and '"parameters"' in source):
        return LLAMA
    return None


def mark_of(tokenizer: Tokenizer) -> Mark:
    def mark(text: str) -> str:
        number = tokenizer.backend.token_to_id(text)
        return f"<[{number}]>" if number in tokenizer.special_ids else quoted(text)

    return mark


def tool_part(syntax: CallSyntax, tool: ToolDefinition, name: str, is_enforced: bool = True) -> Named:
    """The arguments of `tool`: an object by its schema, or any object where it is not enforced.

    For a bare call it is the whole object: beside an answer in JSON the two are told apart as JSON, not by their letters.
    """
    schema: dict[str, object] = {**tool.parameters, "type": "object"} if is_enforced else {"type": "object"}
    if not syntax.is_bare:
        return schema_part(schema, name)
    check_schema(schema)
    whole = {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "parameters": _moved(schema, "#/properties/parameters")},
        "required": ["name", "parameters"],
        "additionalProperties": False,
    }
    return schema_part(whole, name)


def _moved(schema: object, to: str) -> object:
    """`schema` with its references to itself as they are when it stands at `to` of another."""
    if isinstance(schema, list):
        return [_moved(one, to) for one in schema]
    if not isinstance(schema, Mapping) or "$id" in schema:
        return schema
    moved: dict[str, object] = {}
    for key, one in schema.items():
        if key == "$ref" and isinstance(one, str) and (one == "#" or one.startswith("#/")):
            moved[key] = to + one[1:]
        elif key in _NAMES and isinstance(one, Mapping):
            moved[key] = {name: _moved(each, to) for name, each in one.items()}
        else:
            moved[key] = one if key in _DATA else _moved(one, to)
    return moved


def call_rules(syntax: CallSyntax, names: Sequence[str], allows_many: bool, mark: Mark) -> str:
    """Lark rules; `calls` is one call or more of the tools `names`, whose arguments are the parts @tool_0, @tool_1, ..."""
    if syntax is LLAMA:  # its template shows one call a turn
        return f"call: {' | '.join(f'@tool_{place}' for place in range(len(names)))}\ncalls: call"
    heads = [f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": ' for name in names]
    bodies = " | ".join(f"{quoted(head)} @tool_{place}" for place, head in enumerate(heads))
    rules = [f"call: ({bodies}) {quoted('}')}"]
    if syntax is HERMES:
        rules.append(f"marked: {mark(HERMES.begin)} {quoted(chr(10))} call {quoted(chr(10))} {mark(HERMES.end)}")
        rules.append(f"calls: marked ({quoted(chr(10))} marked)*" if allows_many else "calls: marked")
    else:
        more = f"({quoted(', ')} call)*" if allows_many else ""
        rules.append(f"calls: {mark(MISTRAL.begin)} listed")
        rules.append(f"listed: {quoted(' ')}? {quoted('[')} call {more} {quoted(']')}")
    return "\n".join(rules)


def free_rules(syntax: CallSyntax, mark: Mark) -> str:
    """Lark rules beside those of `call_rules`; `free` is text in which every call that is begun is a call by the rules."""
    begin = mark(syntax.begin)
    # What may be a call without a mark is no text: the lexer would go on with the text for ever.
    text = r"([^{ \t\r\n](.|\n)*)?" if syntax.is_bare else r"(.|\n)*"
    if begin.startswith("<["):
        head = f"head: /{text}/ {begin}"
    else:
        head = f"head[lazy]: /{text}{_escaped(syntax.begin)}/"
    if syntax.is_bare:
        return "\n".join([head, f"free: call | head call | /{text}/"])
    body = f"{quoted(chr(10))} call {quoted(chr(10))} {mark(HERMES.end)}" if syntax is HERMES else "listed"
    return "\n".join([head, f"tagged: head {body}", f"free: tagged* {TEXT}"])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "[]|/().*+?{}^$\\" else char for char in text)
