"""From a file of questions on paragraphs, as SQuAD has it, to a library of its paragraphs and the queries for it."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import NamedTuple

from openbook.assistant.desk import Library
from openbook.core.errors import BadData, UsageError
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.improve.mine import MinedQuery
from openbook.library.catalogue.catalogue import is_library
from openbook.library.split.settings import SplitSettings

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
    """All of a file. BadData says what is not as SQuAD has it. Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            articles = json.loads(file.read())["data"]
        passages: dict[str, None] = {}
        queries = []
        unanswerable = 0
        for article in articles:
            for paragraph in article["paragraphs"]:
                text = str(paragraph["context"])
                passages[text] = None
                for question in paragraph["qas"]:
                    answers = tuple(dict.fromkeys(str(one["text"]) for one in question["answers"]))
                    if answers and str(question["question"]).strip():
                        queries.append(
                            MinedQuery(str(question["question"]).strip(), text, answers, str(article["title"]))
                        )
                    else:
                        unanswerable += 1
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise BadData(f"{path} cannot be read: {error}", "give a file as SQuAD has it, or lines of queries") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BadData(f"{path} is not as SQuAD has it: {error!r}", "see its `data`, `paragraphs` and `qas`") from None
    return Questions(list(passages), queries, unanswerable)


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
