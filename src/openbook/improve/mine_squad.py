"""From a file of questions on paragraphs, as SQuAD has it, to a library of its paragraphs and the queries for it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import NamedTuple

from openbook.assistant.desk import Library
from openbook.core.errors import UsageError
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.improve.mine import MinedQuery
from openbook.library.catalogue.catalogue import is_library
from openbook.library.split.settings import SplitSettings
from openbook.training.data import squad

CHUNK_TOKENS = 254
"""So many does the default embedder read beside its special tokens: most paragraphs are one chunk."""


class Questions(NamedTuple):
    """`passages`: each paragraph once. `unanswerable`: questions that have no answer in their paragraph, which are left out."""

    passages: list[str]
    queries: list[MinedQuery]
    unanswerable: int


def is_squad(path: Path) -> bool:
    """By its name: JSON, also packed; queries of one's own are JSONL."""
    return path.name.removesuffix(".gz").endswith(".json")


def read_squad(path: Path) -> Questions:
    """All of a file. BadData says what is not as SQuAD has it."""
    found = squad.read_squad([path])
    queries: list[MinedQuery] = []
    for asked in found.questions:
        answers = tuple(dict.fromkeys(one.text for one in asked.answers))
        if answers and asked.text:
            queries.append(
                MinedQuery(asked.text, found.passages[asked.passage], answers, found.articles[asked.passage])
            )
    return Questions(list(dict.fromkeys(found.passages)), queries, len(found.questions) - len(queries))


def thinned(queries: list[MinedQuery], most: int | None) -> list[MinedQuery]:
    """At most `most` queries of all documents alike, by a checksum of their text, in the order of the file."""
    if most is None or len(queries) <= most:
        return queries
    order = sorted(range(len(queries)), key=lambda place: (zlib.crc32(queries[place].query.encode()), place))
    return [queries[place] for place in sorted(order[:most])]


def without_last(queries: list[MinedQuery], documents: int) -> list[MinedQuery]:
    """Without the queries of the last documents: something to choose settings on that nothing was learned from."""
    titles = list(dict.fromkeys(one.title for one in queries))
    left_out = set(titles[len(titles) - documents :]) if documents else set()
    return [one for one in queries if one.title not in left_out]


def build_library(passages: list[str], directory: Path, progress: Progress = silent) -> Library:
    """The library of these passages in `directory`, opened; made, or made whole, where it is not yet. The passages stay beside it
    as records. UsageError for a directory that holds another library.
    """
    path = directory.with_name(f"{directory.name}.jsonl")
    rows = ({"id": f"p{number}", "text": text} for number, text in enumerate(passages))
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if is_library(directory) and (not path.is_file() or path.read_bytes() != content):
        raise UsageError(f"{directory} holds another library", "name a new directory with --library")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)
    library = Library.open(directory, split=SplitSettings(chunk_tokens=CHUNK_TOKENS))
    library.add(path, records=True, progress=progress)
    return library
