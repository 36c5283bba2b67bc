"""Pairs labelled by a judge: asked in batches, each verdict kept as it comes, preference rows at the end.

In reading order: labelling a file; a look at some pairs first (`--dry-run`); a batch; what a batch may cost; the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from openbook.core.errors import BadData, UsageError
from openbook.core.messages import ChatModel
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.training.generate.identity import identity_of
from openbook.training.generate.journal import Journal
from openbook.training.judge.ask import Reply, ask, counted, request_of
from openbook.training.judge.pairs import JudgedPair, Pairs
from openbook.training.judge.report import JudgeReport
from openbook.training.judge.settings import JudgeSettings, Ties
from openbook.training.judge.verdict import Verdict, orders, question, undone

DRY_PAIRS = 16
Item = TypeVar("Item")
_MARGIN = 1.3
"""Tokens of a prompt are estimated; so much more are reckoned with."""


def label(
    found: Pairs, judge: ChatModel, out: Path, settings: JudgeSettings, progress: Progress = silent
) -> JudgeReport:
    """Preference rows of `found` in `out`, in its order; the verdicts beside it, in OUT.verdicts; both grow row by row. A call
    after one that was broken off goes on where it stopped, with the same pairs or more. Ctrl-C keeps all verdicts that have come.

    UsageError where `out` is there and was not made by the same judge; BadData where the disk is full; what the
    judge raised where it answers nothing.
    """
    path = out.with_name(out.name + ".verdicts")
    if out.exists() and not path.exists():
        raise UsageError(f"{out} is there already", "name another --out, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with Journal(path, settings.identity(identity_of(judge))) as journal:
            return _labelled(found, judge, out, settings, journal, progress)
    except OSError as error:
        raise BadData(f"{out} could not be written: {error}", "make room, and give the same command again") from None


def _labelled(
    found: Pairs, judge: ChatModel, out: Path, settings: JudgeSettings, journal: Journal, progress: Progress
) -> JudgeReport:
    known = _verdicts(journal)
    report = JudgeReport.of({pair.id: pair for pair in found.pairs}, known.values())
    report.left_out = dict(found.left_out)
    write_rows(found.pairs, known, out, settings.ties)
    try:
        with out.open("ab", buffering=0) as file:
            left = [pair for pair in found.pairs if pair.id not in known]
            for pair, verdict in _judge_all(left, judge, settings, report, progress):
                journal.add(verdict.as_json())
                known[pair.id] = verdict
                report.add(pair, verdict)
                for row in rows_of_verdict(pair, verdict, settings.ties):
                    file.write(_line(row))
    except KeyboardInterrupt:
        report.stopped = "interrupted; the same command goes on"
    write_rows(found.pairs, known, out, settings.ties)  # in the order of the pairs
    return report


def _verdicts(journal: Journal) -> dict[str, Verdict]:
    """Of all pairs that were judged before. BadData for a journal that holds something else."""
    try:
        return {one.pair: one for one in map(Verdict.from_json, journal.entries)}
    except (KeyError, TypeError) as error:
        raise BadData(f"{journal.path} holds a line that is no verdict: {error}", "name another --out") from None


@dataclass(frozen=True)
class Look:
    """Some pairs that were judged, and what all would cost. `requests`: at least, without repeated ones."""

    seen: tuple[tuple[JudgedPair, str, Verdict], ...]
    report: JudgeReport
    requests: int
    tokens: int


def everywhere(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, evenly spread, in their order."""
    count = min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def look(found: Pairs, judge: ChatModel, settings: JudgeSettings, count: int = DRY_PAIRS) -> Look:
    """`count` pairs from everywhere in the file, judged, or as many as may be paid for; nothing is written. `seen`: each with its
    first question. UsageError where not even one may be.
    """
    chosen = everywhere(found.pairs, count)
    whole = replace(settings, batch=max(1, count))
    while (affordable := _affordable(chosen, whole, JudgeReport())) < len(chosen):
        chosen = everywhere(found.pairs, affordable)  # others, which may cost more
    if found.pairs and not chosen:
        raise UsageError("what may be spent is too little for one pair", "raise --max-requests or --max-tokens-total")
    report = JudgeReport(pairs=len(chosen), left_out=dict(found.left_out))
    seen = []
    for pair, verdict in _batch(chosen, judge, settings, report):
        report.add(pair, verdict)
        first = question(pair, verdict.first_shown[0], settings.rubric, settings.language, settings.has_ties)
        shown = request_of(first, settings.asking, settings.asking.is_constrained).messages[0].text
        seen.append((pair, shown, verdict))
    share = len(found.pairs) / max(1, len(seen))
    return Look(tuple(seen), report, round(report.requests * share), round(report.tokens * share))


def _judge_all(
    left: Sequence[JudgedPair], judge: ChatModel, settings: JudgeSettings, report: JudgeReport, progress: Progress
) -> Iterator[tuple[JudgedPair, Verdict]]:
    while left:
        progress("judge", report.judged, report.pairs, "")
        count = _affordable(left, settings, report)
        if not count:
            report.stopped = "the next question could pass what may be spent (--max-requests, --max-tokens-total)"
            return
        yield from _batch(left[:count], judge, settings, report)
        left = [] if report.stopped else left[count:]
    progress("judge", report.judged, report.pairs, "")


def _batch(
    pairs: Sequence[JudgedPair], judge: ChatModel, settings: JudgeSettings, report: JudgeReport
) -> Iterator[tuple[JudgedPair, Verdict]]:
    """Each pair with its verdict, as soon as all of its questions are answered. Those that failed are counted in `report`; when
    all do, it stops, or raises the first reason where nothing was judged before.
    """
    shown = [(place, first) for place, pair in enumerate(pairs) for first in orders(pair, settings.is_swapped)]
    questions = [
        question(pairs[at], first, settings.rubric, settings.language, settings.has_ties) for at, first in shown
    ]
    waiting: dict[int, dict[int, Reply]] = {place: {} for place in range(len(pairs))}
    errors: list[Exception] = []
    for number, reply in ask(judge, questions, settings.asking):
        place, first = shown[number]
        waiting[place][first] = reply
        if reply.error is not None:
            errors.append(reply.error)
        wanted = orders(pairs[place], settings.is_swapped)
        if len(waiting[place]) == len(wanted):
            replies = [waiting[place][one] for one in wanted]
            if (failed := next((one.error for one in replies if one.error is not None), None)) is None:
                yield pairs[place], _verdict(pairs[place], replies, wanted)
            else:
                report.failing(str(failed))
                report.requests += sum(one.requests for one in replies)
                report.nonsense += sum(one.nonsense for one in replies)
                report.tokens += sum(one.tokens for one in replies)
    if len(errors) == len(questions) > 0:
        if not report.judged:
            raise errors[0]
        report.stopped = f"the judge answers nothing any more ({errors[0]})"


def _verdict(pair: JudgedPair, replies: Sequence[Reply], shown: tuple[int, ...]) -> Verdict:
    return Verdict(
        pair.id,
        undone([one.choice for one in replies], shown),
        shown,
        tokens=sum(one.tokens for one in replies),
        requests=sum(one.requests for one in replies),
        nonsense=sum(one.nonsense for one in replies),
    )


def _affordable(left: Sequence[JudgedPair], settings: JudgeSettings, report: JudgeReport) -> int:
    """How many pairs may be asked about next, should each question be asked twice."""
    count, requests, tokens = 0, report.requests, float(report.tokens)
    repeats = 1 if settings.asking.is_constrained else 2
    for pair in left[: settings.batch]:
        for first in orders(pair, settings.is_swapped):
            request = request_of(
                question(pair, first, settings.rubric, settings.language, settings.has_ties), settings.asking
            )
            requests += repeats
            tokens += repeats * (counted(request) * _MARGIN + request.sampling.max_tokens)
        if (settings.max_requests is not None and requests > settings.max_requests) or (
            settings.max_tokens is not None and tokens > settings.max_tokens
        ):
            break
        count += 1
    return count


def write_rows(pairs: Sequence[JudgedPair], verdicts: dict[str, Verdict], out: Path, ties: Ties) -> None:
    """The file appears whole."""
    with replacing(out) as file:
        for pair in pairs:
            if (verdict := verdicts.get(pair.id)) is not None:
                for row in rows_of_verdict(pair, verdict, ties):
                    file.write(_line(row))


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n"


def rows_of_verdict(pair: JudgedPair, verdict: Verdict, ties: Ties) -> list[dict[str, Any]]:
    """One for a better answer; of a tie, or of verdicts that differ, none or both orders."""
    if verdict.winner is not None:
        return [pair.as_row(verdict.winner)]
    if verdict.outcome == "unread" or ties == "drop":
        return []
    return [pair.as_row(0), pair.as_row(1)]
