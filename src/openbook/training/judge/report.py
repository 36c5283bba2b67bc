"""What became of the pairs that a judge saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from openbook.training.judge.pairs import JudgedPair
from openbook.training.judge.verdict import Verdict


@dataclass
class JudgeReport:
    """Counts. `labelled`: pairs with a better answer. `left_out`: rows that were never asked about, by reason. `failed`: pairs
    whose questions the model did not answer, by reason; they are asked again by the next call. `stopped`: why it ended
    before all.
    """

    pairs: int = 0
    judged: int = 0
    labelled: int = 0
    ties: int = 0
    inconsistent: int = 0
    unread: int = 0
    nonsense: int = 0
    requests: int = 0
    tokens: int = 0
    both_orders: int = 0
    agreeing: int = 0
    shown_first_won: int = 0
    questions: int = 0
    gold: int = 0
    gold_agreeing: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    stopped: str = ""

    @classmethod
    def of(cls, pairs: Mapping[str, JudgedPair], verdicts: Iterable[Verdict]) -> JudgeReport:
        """Of verdicts on `pairs`, by id."""
        found = cls(pairs=len(pairs))
        for one in verdicts:
            if one.pair in pairs:
                found.add(pairs[one.pair], one)
        return found

    def add(self, pair: JudgedPair, verdict: Verdict) -> None:
        self.judged += 1
        self.labelled += verdict.winner is not None
        self.ties += verdict.outcome == "tie"
        self.inconsistent += verdict.outcome == "inconsistent"
        self.unread += verdict.outcome == "unread"
        self.nonsense += verdict.nonsense
        self.requests += verdict.requests
        self.tokens += verdict.tokens
        if len(verdict.said) == 2 and verdict.outcome != "unread":
            self.both_orders += 1
            self.agreeing += verdict.outcome != "inconsistent"
        for said, shown in zip(verdict.said, verdict.first_shown, strict=True):
            if isinstance(said, int):
                self.questions += 1
                self.shown_first_won += said == shown
        if pair.gold is not None and verdict.winner is not None:
            self.gold += 1
            self.gold_agreeing += verdict.winner == pair.gold

    def failing(self, reason: str) -> None:
        self.failed[reason] = self.failed.get(reason, 0) + 1

    @property
    def swap_consistency(self) -> float | None:
        """Share of pairs on which both orders agree; None where none was asked in both."""
        return self.agreeing / self.both_orders if self.both_orders else None

    @property
    def first_position(self) -> float | None:
        """Share of verdicts for the answer that stood first: far from a half, the judge minds the place."""
        return self.shown_first_won / self.questions if self.questions else None

    @property
    def gold_agreement(self) -> float | None:
        """Share of labelled pairs with a known better answer that were labelled so."""
        return self.gold_agreeing / self.gold if self.gold else None

    def to_json(self) -> dict[str, Any]:
        shares = {name: getattr(self, name) for name in ("swap_consistency", "first_position", "gold_agreement")}
        return asdict(self) | {name: None if one is None else round(one, 4) for name, one in shares.items()}

    def lines(self) -> list[str]:
        """For a person."""
        said = [
            f"{self.judged:,} of {self.pairs:,} pairs judged, {self.labelled:,} labelled, with {self.requests:,} requests and "
            f"about {self.tokens:,} tokens"
        ]
        if self.swap_consistency is not None:
            said.append(
                f"both orders agree on {self.agreeing:,} of {self.both_orders:,} ({100 * self.swap_consistency:.1f} %)"
            )
        if self.first_position is not None:
            said.append(f"the answer shown first won {100 * self.first_position:.1f} % of the time")
        if self.gold_agreement is not None:
            share = f"{self.gold_agreeing:,} of {self.gold:,} ({100 * self.gold_agreement:.1f} %)"
            said.append(f"agrees with the known better answer on {share}")
        counts = {
            "not consistent": self.inconsistent,
            "ties": self.ties,
            "without a verdict that can be read": self.unread,
        }
        said += [f"{count:,} {what}" for what, count in counts.items() if count]
        if self.nonsense:
            said.append(f"{self.nonsense:,} answers of the judge were nonsense")
        said += [f"{count:,} left out: {reason}" for reason, count in self.left_out.items()]
        said += [f"{count:,} failed, and are asked again next time: {reason}" for reason, count in self.failed.items()]
        return said + ([f"stopped: {self.stopped}"] if self.stopped else [])
