"""The formats in which models call tools: which one a chat template speaks, and a grammar for calls in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from openbook.core.messages import ToolDefinition
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.calls import CallSyntax
from openbook.serving.chat.grammar import Named, quoted, schema_part

HERMES = CallSyntax(begin="<tool_call>", end="</tool_call>")
"""Qwen 2.5 and 3, Hermes: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, again for the next."""
LLAMA = CallSyntax(begin="<|python_tag|>", joiner=";", is_bare=True)
"""Llama 3.1 and later: `{"name": ..., "parameters": {...}}` as the whole answer, or behind <|python_tag|>."""
MISTRAL = CallSyntax(begin="[TOOL_CALLS]", joiner=",", is_list=True)
"""Mistral up to Nemo: `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]`."""

Mark = Callable[[str], str]
"""Writes a mark of the format into a grammar: the special token where it is one, else its text."""

TEXT = "/(.|\\n)*/"


def call_syntax(tokenizer: Tokenizer) -> CallSyntax | None:
    """The format that the template for tools teaches; None where it is none of these."""
    source = tokenizer.templates.get("tool_use") or tokenizer.chat_template or ""
    if "<function=" in source or "[ARGS]" in source:  # Qwen3-Coder and Mistral's later formats, which are others
        return None
    if HERMES.begin in source:
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


def tool_part(tool: ToolDefinition, name: str, is_enforced: bool = True) -> Named:
    """The arguments of `tool`: an object by its schema, or any object where it is not enforced."""
    return schema_part({**tool.parameters, "type": "object"} if is_enforced else {"type": "object"}, name)


def call_rules(syntax: CallSyntax, names: Sequence[str], allows_many: bool, mark: Mark) -> str:
    """Lark rules; `calls` is one call or more of the tools `names`, whose arguments are the parts @tool_0, @tool_1, ..."""
    key = "parameters" if syntax is LLAMA else "arguments"
    heads = [f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{key}": ' for name in names]
    bodies = " | ".join(f"{quoted(head)} @tool_{place}" for place, head in enumerate(heads))
    many = allows_many and syntax is not LLAMA  # its template shows one call a turn
    rules = [f"call: ({bodies}) {quoted('}')}"]
    if syntax is HERMES:
        rules.append(f"marked: {mark(HERMES.begin)} {quoted(chr(10))} call {quoted(chr(10))} {mark(HERMES.end)}")
        rules.append(f"calls: marked ({quoted(chr(10))} marked)*" if many else "calls: marked")
    elif syntax is MISTRAL:
        more = f"({quoted(', ')} call)*" if many else ""
        rules.append(f"calls: {mark(MISTRAL.begin)} listed")
        rules.append(f"listed: {quoted(' ')}? {quoted('[')} call {more} {quoted(']')}")
    else:
        rules.append("calls: call")
    return "\n".join(rules)


def free_rules(syntax: CallSyntax, mark: Mark) -> str:
    """Lark rules beside those of `call_rules`; `free` is text in which every call that is begun is a call by the rules."""
    begin = mark(syntax.begin)
    if begin.startswith("<["):
        head = f"head: {TEXT} {begin}"
    else:
        head = f"head[lazy]: /(.|\\n)*{_escaped(syntax.begin)}/"
    if syntax is LLAMA:
        return "\n".join([head, "free: call | head call | plain", r"plain: /([^{ \t\r\n](.|\n)*)?/"])
    body = f"{quoted(chr(10))} call {quoted(chr(10))} {mark(HERMES.end)}" if syntax is HERMES else "listed"
    return "\n".join([head, f"tagged: head {body}", f"free: tagged* {TEXT}"])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "[]|/().*+?{}^$\\" else char for char in text)
