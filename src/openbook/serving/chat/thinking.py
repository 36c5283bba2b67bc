"""Whether a model thinks before it speaks: what its template is told, what the prompt has opened, and the grammar of it."""

from __future__ import annotations

import re
from typing import Any, Literal

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.grammar import quoted
from openbook.serving.chat.syntax import TEXT, Mark
from openbook.serving.chat.thoughts import BEGIN, END

__all__ = ["BEGIN", "END", "Thoughts", "may_precede", "rules", "state", "variables", "wanted"]

Thoughts = Literal["none", "may come", "are open"]

_SWITCHES = ("enable_thinking", "thinking")
"""What templates call it: Qwen and most others; DeepSeek and Granite."""


def wanted(tokenizer: Tokenizer, reasoning: bool | None, is_guided: bool) -> bool | None:
    """What the template is told. An answer that is guided from its first token on does not think unless it is asked to: thoughts
    have no end that a grammar could bring about.
    """
    return False if reasoning is None and is_guided and _switches(tokenizer) else reasoning


def variables(tokenizer: Tokenizer, reasoning: bool | None) -> dict[str, Any]:
    """For the template; empty where nothing is asked. UsageError for reasoning that the template does not have."""
    if reasoning is None:
        return {}
    found = _switches(tokenizer)
    if reasoning and not found and BEGIN not in _source(tokenizer):
        raise UsageError(
            f"the chat template of {tokenizer.source} has no reasoning", "ask without it, or take a model that reasons"
        )
    return dict.fromkeys(found, reasoning)


def state(tokenizer: Tokenizer, prompt: str, reasoning: bool | None) -> Thoughts:
    """What the answer to `prompt` may begin with. UsageError where thoughts are not wanted and cannot be kept out."""
    if prompt.rstrip().endswith(BEGIN):
        if reasoning is False:
            raise UsageError(
                f"the chat template of {tokenizer.source} always lets the model think", "ask without reasoning=False"
            )
        return "are open"
    return "may come" if BEGIN in _source(tokenizer) and reasoning is not False else "none"


def may_precede(tokenizer: Tokenizer, thoughts: Thoughts, reasoning: bool | None) -> bool:
    """Whether a guided answer may think first: where it has begun to, is asked to, or the template makes it a habit."""
    is_habit = reasoning is None and bool(_switches(tokenizer))
    return thoughts == "are open" or (thoughts == "may come" and (reasoning is True or is_habit))


def rules(thoughts: Thoughts, mark: Mark) -> str:
    """Lark rules; `thoughts` is what precedes the answer."""
    end = mark(END)
    if end.startswith("<["):
        text = f"thought: {TEXT} {end}"
    else:
        text = rf"thought[lazy]: /(.|\n)*{END.replace('/', chr(92) + '/')}/"
    gap = f"({quoted(chr(10))} | {quoted(chr(10) * 2)})?"
    whole = f"thought {gap}" if thoughts == "are open" else f"({mark(BEGIN)} thought {gap})?"
    return f"{text}\nthoughts: {whole}"


def _source(tokenizer: Tokenizer) -> str:
    return "\n".join(tokenizer.templates.values())


def _switches(tokenizer: Tokenizer) -> list[str]:
    source = " ".join(re.findall(r"\{[{%].*?[%}]\}", _source(tokenizer), re.DOTALL))
    return [name for name in _SWITCHES if re.search(rf"(?<![\w.\"']){name}\b(?![\"'])", source)]
