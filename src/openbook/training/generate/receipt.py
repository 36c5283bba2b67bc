"""What became of every prompt and every answer: the counts add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED = 3


@dataclass
class GenerateReceipt:
    """`prompts` that are asked, of which `done` have their answers and `answered` a row. `fates`: of all answers (see
    `select.FATES`). `left_out`: reason -> prompts or rows that are not there. `first_error`: of a request that failed,
    `first_fault` of a verifier. `stopped`: why it ended before all was done; empty otherwise.
    """

    out: Path
    prompts: int = 0
    done: int = 0
    answered: int = 0
    rows: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    named: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_error: str = ""
    first_fault: str = ""
    stopped: str = ""

    def leave_out(self, reason: str, place: str, count: int = 1) -> None:
        self.left_out[reason] += count
        self.named.setdefault(reason, place)

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"out": str(self.out), "fates": dict(self.fates), "left_out": dict(self.left_out)}

    def lines(self) -> Iterator[str]:
        """For a person."""
        told = ", ".join(f"{count:,} {fate}" for fate, count in self.fates.most_common() if count)
        yield f"{self.done:,} of {self.prompts:,} prompts asked, {self.answered:,} of them have rows"
        if told:
            yield f"{sum(self.fates.values()):,} answers: {told}"
        if self.first_error:
            yield f"the first that failed: {self.first_error}"
        if self.first_fault:
            yield f"the first that could not be scored: {self.first_fault}"
        for reason, count in self.left_out.items():
            yield f"left out: {count:,}, {reason} (first: {self.named[reason]})"
        yield (
            f"{self.requests:,} requests, {self.prompt_tokens:,} tokens of prompts, {self.completion_tokens:,} of answers"
        )
        yield f"wrote {self.out}: {self.rows:,} rows"
        if self.stopped:
            yield f"stopped: {self.stopped}"
