"""Pairs of answers that are to be judged, from preference rows (whose better answer is known) or prompts with completions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from openbook.core.errors import BadData
from openbook.training.data.dialogues import ends_of
from openbook.training.data.formats import rows_of
from openbook.training.data.records import Record, records
from openbook.training.data.row import Message, Preference, text_of

COMPLETIONS = ("completions", "responses", "answers", "outputs")
AGAIN = "the same pair again"


@dataclass(frozen=True)
class JudgedPair:
    """`id`: of its content. `ends`: in an order that is theirs, not the file's. `gold`: which of the two is better, 0 or 1, where
    the data says. `place`: "file:line".
    """

    id: str
    prompt: tuple[Message, ...]
    ends: tuple[tuple[Message, ...], tuple[Message, ...]]
    gold: int | None
    place: str

    @property
    def prompt_text(self) -> str:
        return _told(self.prompt)

    def answer_text(self, which: int) -> str:
        return _told(self.ends[which])

    def as_row(self, winner: int) -> dict[str, Any]:
        """A preference row; texts where a text says it all."""
        asked: Any = list(self.prompt)
        if len(self.prompt) == 1 and _is_text(self.prompt[0], "user"):
            asked = self.prompt[0]["content"]
        return {"prompt": asked, "chosen": _plain(self.ends[winner]), "rejected": _plain(self.ends[1 - winner])}


@dataclass
class Pairs:
    """`left_out`: why -> how many, with the first place of each in `places`."""

    pairs: list[JudgedPair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, place: str) -> None:
        self.left_out[reason] += 1
        self.places.setdefault(reason, place)


def read_pairs(path: Path) -> Pairs:
    """All pairs of a file."""
    return pairs_of(records(path), str(path))


def pairs_of(found_records: Iterable[Record], source: str) -> Pairs:
    """Identical answers, empty ones, broken rows and pairs that stand there twice are counted and left out. BadData where none is
    left, with the reasons.
    """
    found, seen = Pairs(), set[str]()
    for record in found_records:
        if record.reason:
            found.leave_out(record.reason, record.place)
            continue
        try:
            made = [_pair(row, gold, record.place) for row, gold in _rows(record.value)]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            found.leave_out(f"broken: {error}", record.place)
            continue
        for pair in made:
            if isinstance(pair, str):
                found.leave_out(pair, record.place)
            elif pair.id in seen:
                found.leave_out(AGAIN, record.place)
            else:
                seen.add(pair.id)
                found.pairs.append(pair)
    if not found.pairs:
        reasons = "; ".join(f"{reason} (first: {found.places[reason]})" for reason in found.left_out)
        raise BadData(
            f"{source} holds no pair to judge: {reasons or 'it is empty'}",
            'write rows {"prompt", "completions": [TEXT, TEXT]}, or preference rows; --answers MODEL makes pairs of prompts',
        )
    return found


def _rows(value: Any) -> Iterator[tuple[Preference, int | None]]:
    """The pairs of a record, with the better one where it says so."""
    if not isinstance(value, dict):
        raise ValueError(f"a row is {type(value).__name__}, no object")
    if "chosen" in value and "rejected" in value:
        yield from ((row, 0) for row in rows_of(value, "preference") if isinstance(row, Preference))
        return
    key = next((one for one in COMPLETIONS if isinstance(value.get(one), list)), None)
    if key is None:
        raise ValueError("a row has no chosen and rejected, and no list of completions")
    if len(value[key]) < 2:
        raise ValueError(f"{key} has {len(value[key])} answers, two are needed")
    for first, second in combinations(value[key], 2):
        record = {name: one for name, one in value.items() if name not in COMPLETIONS} | {
            "chosen": first,
            "rejected": second,
        }
        yield from ((row, None) for row in rows_of(record, "preference") if isinstance(row, Preference))


def _pair(row: Preference, gold: int | None, place: str) -> JudgedPair | str:
    """The pair of a row; or why there is none. ValueError for text that no file can hold (half a surrogate pair)."""
    ends = ends_of(row)
    if isinstance(ends, str):
        return ends
    first, second = ends.ends
    if is_turned := _written(first) > _written(second):
        first, second = second, first
    said = _written((ends.prompt, first, second))
    better = gold if gold is None else gold ^ is_turned
    return JudgedPair(hashlib.sha256(said.encode()).hexdigest()[:16], ends.prompt, (first, second), better, place)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _told(messages: Sequence[Message]) -> str:
    """One message as it is, several with their speakers."""
    if len(messages) == 1:
        return text_of(messages[0]).strip()
    return "\n\n".join(f"{one['role']}: {text_of(one)}" for one in messages).strip()


def _is_text(message: Message, role: str) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == role and isinstance(message["content"], str)


def _plain(end: Sequence[Message]) -> Any:
    return end[0]["content"] if len(end) == 1 and _is_text(end[0], "assistant") else list(end)
