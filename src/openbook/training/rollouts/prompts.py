"""What a model is asked that learns from its own answers: rows with a prompt, and whatever a reward wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData
from openbook.lm.reward import prompt_ids
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.records import records
from openbook.training.data.row import Message
from openbook.training.data.samples import Prompts
from openbook.training.generate.prompts import asked_of


class Prompt(NamedTuple):
    """`row`: as the file has it, for rewards. `ids`: what the model reads before it writes."""

    row: Mapping[str, Any]
    messages: tuple[Message, ...]
    ids: list[int]


@dataclass(frozen=True)
class PromptSet:
    """`left_out`: reason -> how many, of which `places` names the first."""

    prompts: tuple[Prompt, ...]
    left_out: Mapping[str, int]
    places: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.prompts)

    def __str__(self) -> str:
        return f"{len(self):,} prompts"

    def lines(self) -> Iterator[str]:
        """For a person: what was left out and why."""
        for reason, count in self.left_out.items():
            yield f"left out: {count:,} rows, {reason} (first: {self.places[reason]})"


def read_prompts(
    paths: Sequence[Path], tokenizer: Tokenizer, *, prompts: Prompts, max_tokens: int, max_broken: float
) -> PromptSet:
    """`max_tokens`: of a prompt; a longer one is left out, since a cut question is another one. BadData where nothing is left,
    or more than a share of `max_broken` is no row with a prompt.
    """
    found: list[Prompt] = []
    left_out, places, broken, count = Counter[str](), dict[str, str](), 0, 0
    for path in paths:
        for record in records(path):
            count += 1
            try:
                if record.reason:
                    raise ValueError(record.reason)
                messages = asked_of(record.value)
                ids = prompt_ids(tokenizer, messages, prompts)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                reason, broken = f"broken: {error}", broken + 1
            else:
                if len(ids) <= max_tokens:
                    found.append(Prompt(record.value, messages, ids))
                    continue
                reason = f"longer than {max_tokens:,} tokens"
            left_out[reason] += 1
            places.setdefault(reason, record.place)
    if broken > max_broken * count:
        worst = next(reason for reason in left_out if reason.startswith("broken"))
        raise BadData(f"{broken:,} of {count:,} rows are broken, the first at {places[worst]}: {worst}", "mend them")
    if not found:
        raise BadData(
            f"no prompt is left of {count:,} rows", "give prompts that fit: max_seq_len less rollout.max_tokens"
        )
    return PromptSet(tuple(found), dict(left_out), places)
