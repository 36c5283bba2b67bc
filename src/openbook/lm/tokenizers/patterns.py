"""How byte-level tokenizers cut a text into words before they join bytes, under the names that llama.cpp gives them.

No token crosses a border that the pattern makes. Qwen2's, the default here, keeps every digit to itself, so that a number is
spelled the same way wherever it stands (with three digits a token, 1234 is 123+4 and 234 is one token); it keeps a run of
letters with the one sign before it, which in Chinese, where no spaces stand, leaves whole clauses to the merges; and it
closes a word at every end of line.

Sources: Radford et al. 2019 (GPT-2), section 2.2; OpenAI's tiktoken, `cl100k_base`, from which the other two derive; Qwen
Team 2024, https://arxiv.org/abs/2407.10671, section 2.1. On digits: Singh & Strouse 2024, https://arxiv.org/abs/2402.14903.
"""

from __future__ import annotations

from typing import NamedTuple


class Pattern(NamedTuple):
    """`regex` of the Split step; None for GPT-2's own, which the library has built in."""

    name: str
    regex: str | None


_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2 = Pattern("gpt-2", None)
QWEN2 = Pattern("qwen2", _LETTERS + r"\p{N}" + _REST)
LLAMA3 = Pattern("llama-bpe", _LETTERS + r"\p{N}{1,3}" + _REST)
PATTERNS = (GPT2, QWEN2, LLAMA3)
