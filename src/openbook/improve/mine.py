"""Hard negatives from a library's own index: passages that look like an answer to a query and are none.

Each query is searched for; its hits are walked best first, and those that may be an answer after all are left out and counted. In
reading order: the settings and the report, the queries, the walk. Nothing is drawn: the same library gives the same negatives.
Sources: Karpukhin et al. 2020, https://arxiv.org/abs/2004.04906, section 3.2 (BM25 hits without the answer); Moreira et al. 2024,
https://arxiv.org/abs/2407.15831, section 3 (a margin below the positive's score).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from openbook.assistant.desk import Library
from openbook.core.errors import BadData, UsageError
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.library.retrieve.hit import Hit
from openbook.library.retrieve.search import MODES, MOST_CHARACTERS, Mode

_MARKS = re.compile(r'["*]|(?<!\S)-')
"""What a search box takes for phrases, prefixes and exclusions; a question that is mined for is only words."""


@dataclass(frozen=True)
class MineSettings:
    """`per_query` negatives at most, from the first `depth` hits of each mode, in turn, without the first `skip_top`.

    `margin`: a hit counts only where its score is so far below that of the positive, in the unit of the mode (standard
    deviations, cosine, BM25); None: the score does not matter.
    """

    per_query: int = 8
    skip_top: int = 0
    margin: float | None = None
    depth: int = 50
    modes: tuple[Mode, ...] = ("hybrid",)

    def __post_init__(self) -> None:
        if self.per_query < 1 or self.skip_top < 0:
            raise UsageError("--per-query is at least 1, --skip-top at least 0", "e.g. --per-query 8 --skip-top 0")
        if not self.skip_top < self.depth <= 1_000:
            raise UsageError(f"--depth {self.depth} is out of range", "above --skip-top, at most 1000")
        if unknown := [mode for mode in self.modes if mode not in MODES]:
            raise UsageError(f"mode {unknown[0]!r} is not known", f"one of {', '.join(MODES)}")


class MinedQuery(NamedTuple):
    """`answers`: texts that no negative may contain."""

    query: str
    positive: str
    answers: tuple[str, ...] = ()
    title: str = ""


@dataclass
class MineReport:
    """`left_out`: why -> how many hits. `lost`: queries whose positive is not among their hits. `bare`: those without a negative,
    which are not written.
    """

    queries: int = 0
    negatives: int = 0
    bare: int = 0
    lost: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def saw(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def to_json(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "negatives": self.negatives,
            "without_negatives": self.bare,
            "positive_not_found": self.lost,
            "left_out": self.left_out,
        }


SAME, ANSWER, NEAR = "the positive's own passage", "holds the answer", "scores too near the positive"


def read_queries(path: Path) -> list[MinedQuery]:
    """Lines {"query", "positive", "answers"?, "title"?}. UsageError names the first line that is none."""
    found: list[MinedQuery] = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "check the path") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            found.append(_query(line, f"{path} line {number}"))
    if not found:
        raise BadData(f"{path} holds no query", 'write lines {"query": TEXT, "positive": TEXT}')
    return found


def mine(
    library: Library,
    queries: Sequence[MinedQuery],
    settings: MineSettings,
    report: MineReport,
    progress: Progress = silent,
) -> Iterator[tuple[MinedQuery, list[str]]]:
    """Each query with its negatives, hardest first; what is left out is counted in `report`. Raises what searching raises."""
    texts = _Texts(library)
    for number, query in enumerate(queries):
        progress("mine", number, len(queries), query.query)
        report.queries += 1
        found = _negatives(library, query, settings, texts, report)
        report.negatives += len(found)
        report.bare += not found
        yield query, found


def write_mined(
    library: Library,
    queries: Sequence[MinedQuery],
    out: Path,
    settings: MineSettings | None = None,
    progress: Progress = silent,
) -> MineReport:
    """Rows {"query", "positive", "negatives", "title"?} in `out`, which appears whole or not at all."""
    report = MineReport()
    with replacing(out) as file:
        for query, negatives in mine(library, queries, settings or MineSettings(), report, progress):
            if negatives:
                row = {"query": query.query, "positive": query.positive, "negatives": negatives}
                row |= {"title": query.title} if query.title else {}
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    return report


class _Texts:
    """Texts of documents, the last ones kept."""

    def __init__(self, library: Library) -> None:
        self.of = lru_cache(maxsize=512)(library.text)


def _negatives(
    library: Library, query: MinedQuery, settings: MineSettings, texts: _Texts, report: MineReport
) -> list[str]:
    typed = " ".join(_MARKS.sub(" ", query.query).split())[:MOST_CHARACTERS]
    if not typed:
        return []
    answers = [re.compile(rf"(?<!\w){re.escape(one)}(?!\w)") for one in map(folded, query.answers) if one]
    lists: list[list[str]] = []
    was_found = False
    for mode in settings.modes:
        hits = library.search(typed, settings.depth, mode=mode, rerank=False)
        own = [is_same(hit, query.positive, texts.of) for hit in hits]
        was_found |= any(own)
        best = max((hit.score for hit, same in zip(hits, own, strict=True) if same), default=None)
        kept = []
        for hit, same in list(zip(hits, own, strict=True))[settings.skip_top :]:
            why = _why_not(hit, same, answers, best, settings.margin)
            if why is None:
                kept.append(hit.text)
            else:
                report.saw(why)
        lists.append(kept)
    report.lost += not was_found
    return list(dict.fromkeys(_in_turn(lists)))[: settings.per_query]


def _why_not(
    hit: Hit, is_positive: bool, answers: Sequence[re.Pattern[str]], best: float | None, margin: float | None
) -> str | None:
    """Why a hit may be an answer after all."""
    if is_positive:
        return SAME
    if answers and any(one.search(folded(hit.text)) for one in answers):
        return ANSWER
    if margin is not None and best is not None and hit.score > best - margin:
        return NEAR
    return None


def is_same(hit: Hit, positive: str, text_of: Any) -> bool:
    """Whether a hit is of the positive: one contains the other, or they overlap in the hit's document."""
    mine, theirs = folded(hit.text), folded(positive)
    if mine in theirs or theirs in mine:
        return True
    begin = text_of(hit.document_id).find(positive)
    return bool(begin >= 0 and hit.start < begin + len(positive) and begin < hit.end)


def folded(text: str) -> str:
    """Without differences of case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _in_turn(lists: Sequence[Iterable[str]]) -> Iterator[str]:
    """The first of each, the second of each, ..."""
    left = [iter(one) for one in lists]
    while left:
        for one in list(left):
            try:
                yield next(one)
            except StopIteration:
                left.remove(one)


def _query(line: str, where: str) -> MinedQuery:
    try:
        row = json.loads(line)
        query, positive = row["query"], row["positive"]
        answers = row.get("answers") or ([row["answer"]] if row.get("answer") else [])
        if not all(isinstance(one, str) for one in (query, positive, *answers)) or not (
            query.strip() and positive.strip()
        ):
            raise TypeError("no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(
            f"{where} is no query with its passage",
            'write {"query": TEXT, "positive": TEXT, "answers": [TEXT, ...]}; answers may be missing',
        ) from None
    return MinedQuery(query.strip(), positive, tuple(answers), str(row.get("title") or ""))
