"""What became of every task that was proposed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class ExpandReceipt:
    """`rows` that were made, beside `seed_rows` of the seeds. `fates`: "proposed", and of those that were left out why.
    `first_error`: of a request that failed. `stopped`: why it ended before all was done; empty otherwise.
    """

    out: Path
    seeds: int
    rows: int = 0
    seed_rows: int = 0
    rounds: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_error: str = ""
    stopped: str = ""

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"out": str(self.out), "fates": dict(self.fates)}

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"{self.seeds:,} seeds, {self.rounds:,} rounds, {self.fates['proposed']:,} tasks proposed"
        for reason, count in self.fates.most_common():
            if count and reason != "proposed":
                yield f"left out: {count:,}, {reason}"
        if self.first_error:
            yield f"the first request that failed: {self.first_error}"
        yield (
            f"{self.requests:,} requests, {self.prompt_tokens:,} tokens of prompts, {self.completion_tokens:,} of answers"
        )
        beside = f", and {self.seed_rows:,} seeds among them" if self.seed_rows else ""
        yield f"wrote {self.out}: {self.rows:,} new rows{beside}"
        if self.stopped:
            yield f"stopped: {self.stopped}"
