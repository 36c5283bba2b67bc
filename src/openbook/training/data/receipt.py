"""What became of the rows of training data: all that was left out is counted, and the first of each kind named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openbook.core.errors import BadData

NAMED = 3
MAX_BROKEN = 100
"""So many broken rows end the reading, whatever share of all they are."""


@dataclass
class Receipt:
    """`rows`: that were read. `broken`: that could not be; `dropped` and `shortened`: reason -> samples; `named`: reason ->
    the places of the first ones. `samples`, `tokens`, `learned`: what came of them.
    """

    rows: int = 0
    broken: int = 0
    samples: int = 0
    tokens: int = 0
    learned: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    shortened: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)
    formats: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Receipt:
        """From what `as_json` gave."""
        counted = {name: Counter(said[name]) for name in ("dropped", "shortened", "formats")}
        return cls(**{**said, **counted})

    def as_json(self) -> dict[str, Any]:
        counted = {name: dict(getattr(self, name)) for name in ("dropped", "shortened", "formats")}
        return {**vars(self), **counted}

    def drop(self, reason: str, place: str) -> None:
        self.dropped[reason] += 1
        self._name(reason, place)

    def shorten(self, reason: str, place: str) -> None:
        self.shortened[reason] += 1
        self._name(reason, place)

    def breaks(self, place: str, reason: str) -> None:
        """BadData for the first row after `MAX_BROKEN`."""
        self.broken += 1
        self._name("broken", f"{place}: {reason}")
        if self.broken > MAX_BROKEN:
            self._stop()

    def finish(self, share: float) -> None:
        """BadData where more than `share` of the rows were broken."""
        if self.broken > share * self.rows:
            self._stop()

    def lines(self) -> list[str]:
        """For a person: one line for all, and one for each kind of thing that is not as it was."""
        forms = ", ".join(f"{count:,} {name}" for name, count in self.formats.items())
        share = f" ({100 * self.learned / self.tokens:.1f} % learned)" if self.tokens else ""
        told = [f"{forms} rows: {self.samples:,} samples, {self.tokens:,} tokens{share}"]
        kinds = (("dropped", self.dropped), ("shortened", self.shortened), ("left out", Counter(broken=self.broken)))
        for verb, counts in kinds:
            for reason, count in counts.items():
                if count:
                    first = ", ".join(self.named.get(reason, []))
                    told.append(f"{count:,} {verb}: {reason}" + (f" (first: {first})" if first else ""))
        return told

    def _name(self, reason: str, place: str) -> None:
        places = self.named.setdefault(reason, [])
        if len(places) < NAMED:
            places.append(place)

    def _stop(self) -> None:
        raise BadData(
            f"{self.broken:,} of {self.rows:,} rows are broken; first {'; '.join(self.named['broken'])}",
            "mend the file, name its form with data.format=..., or allow more with data.max_broken=0.05",
        )
