"""Readers of the retrieval data sets: passages, queries and judgements under one shape.

Each reader takes the data folder and gives a `RetrievalSet`. Ids are unique within a set and stable, so that a split
by id parity (`part`) means the same everywhere: what is fitted uses one half, what is reported the other.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

csv.field_size_limit(10_000_000)


class Passage(NamedTuple):
    id: str
    title: str
    text: str

    @property
    def searchable(self) -> str:
        """Title and text, as both are indexed."""
        return f"{self.title}\n{self.text}" if self.title else self.text


class Query(NamedTuple):
    """`relevant`: passage id -> grade. `answers`: accepted answer texts where the set has them."""

    id: str
    text: str
    relevant: dict[str, int]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetrievalSet:
    name: str
    language: str
    passages: list[Passage]
    queries: list[Query]

    def part(self, which: Literal["fit", "report"]) -> RetrievalSet:
        """All passages with half of the queries, by the parity of a checksum of the query's id."""
        wanted = 0 if which == "fit" else 1
        chosen = [query for query in self.queries if zlib.crc32(query.id.encode()) % 2 == wanted]
        return RetrievalSet(f"{self.name} ({which} half)", self.language, self.passages, chosen)


def data_folder() -> Path:
    """`$OPENBOOK_DATA`, else `../shared/data` beside the repository."""
    return Path(os.environ.get("OPENBOOK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def read_json(path: Path) -> Any:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def squad(folder: Path) -> RetrievalSet:
    """SQuAD v1.1, the part of its development set that is there: 1,011 paragraphs."""
    return _squad_like("squad", "en", folder / "squad" / "squad_v1.1_dev_part.json.gz")


def squad_train(folder: Path) -> RetrievalSet:
    return _squad_like("squad_train", "en", folder / "squad" / "squad_v1.1_train.json.gz")


def cmrc(folder: Path) -> RetrievalSet:
    return _squad_like("cmrc", "zh", folder / "cmrc2018" / "cmrc2018_dev.json.gz")


def drcd(folder: Path) -> RetrievalSet:
    """DRCD development set: traditional Chinese."""
    return _squad_like("drcd", "zh", folder / "drcd" / "DRCD_dev.json.gz")


def xquad(folder: Path, language: str = "zh") -> RetrievalSet:
    path = folder / "xquad" / f"xquad.{language}.json"
    return _squad_like("xquad", language, path if path.exists() else path.with_suffix(".json.gz"))


def _squad_like(name: str, language: str, path: Path) -> RetrievalSet:
    """A paragraph is a passage without its article's title; each question's paragraph is its one relevant passage."""
    identities: dict[str, str] = {}
    queries = []
    for article in read_json(path)["data"]:
        for paragraph in article["paragraphs"]:
            identity = identities.setdefault(paragraph["context"], f"{name}-p{len(identities)}")
            for question in paragraph["qas"]:
                answers = tuple(dict.fromkeys(answer["text"] for answer in question["answers"]))
                queries.append(Query(f"{name}-{question['id']}", question["question"].strip(), {identity: 1}, answers))
    return RetrievalSet(name, language, [Passage(i, "", text) for text, i in identities.items()], queries)


def cranfield(folder: Path) -> RetrievalSet:
    """Cranfield: 1,400 abstracts, 225 queries in the order of the file, a judgement of 1 and more is relevant (gain 1).

    The abstract repeats its title, as it does in the collection.
    """
    documents = _cranfield_records((folder / "cranfield" / "cran.all.1400").read_text("utf-8"))
    passages = [
        Passage(f"cranfield-{i}", fields.get("T", ""), fields.get("W", "")) for i, fields in enumerate(documents, 1)
    ]
    relevant: dict[int, dict[str, int]] = {}
    for line in (folder / "cranfield" / "cranqrel").read_text("utf-8").splitlines():
        query, document, grade = (int(field) for field in line.split()[:3])
        if grade >= 1:
            relevant.setdefault(query, {})[f"cranfield-{document}"] = 1
    texts = [fields["W"] for fields in _cranfield_records((folder / "cranfield" / "cran.qry").read_text("utf-8"))]
    queries = [Query(f"cranfield-q{i}", text, relevant[i]) for i, text in enumerate(texts, 1) if i in relevant]
    return RetrievalSet("cranfield", "en", passages, queries)


def _cranfield_records(text: str) -> Iterable[dict[str, str]]:
    for record in re.split(r"^\.I \d+\s*$", text, flags=re.MULTILINE)[1:]:
        pieces = re.split(r"^\.([TABW])\s*$", record, flags=re.MULTILINE)[1:]
        yield {key: " ".join(value.split()) for key, value in zip(pieces[::2], pieces[1::2], strict=True)}


def scifact(folder: Path) -> RetrievalSet:
    """SciFact: 5,183 abstracts; the claims that have evidence, each with its evidence documents."""
    with gzip.open(folder / "scifact" / "corpus_train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        passages = [Passage(row["doc_id"], row["title"], _sentences(row["abstract"])) for row in csv.DictReader(file)]
    claims: dict[str, Query] = {}
    with open(folder / "scifact" / "claims_train.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["evidence_doc_id"]:
                claim = claims.setdefault(row["id"], Query(f"scifact-{row['id']}", row["claim"], {}))
                claim.relevant[str(int(float(row["evidence_doc_id"])))] = 1
    return RetrievalSet("scifact", "en", passages, list(claims.values()))


def scifact_cited(folder: Path) -> RetrievalSet:
    """SciFact's other claims, those without evidence, each with the abstracts it cites: for fitting, never reported."""
    claims: dict[str, Query] = {}
    with open(folder / "scifact" / "claims_train.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["evidence_doc_id"]:
                cited = dict.fromkeys(re.findall(r"\d+", row["cited_doc_ids"]), 1)
                claims[row["id"]] = Query(f"scifact-{row['id']}", row["claim"], cited)
    passages = scifact(folder).passages
    known = {passage.id for passage in passages}
    chosen = [claim for claim in claims.values() if known.issuperset(claim.relevant) and claim.relevant]
    return RetrievalSet("scifact_cited", "en", passages, chosen)


def squad_fit(folder: Path) -> RetrievalSet:
    """An eighth of SQuAD's training paragraphs with a seventh of their questions, by checksum: for fitting."""
    whole = squad_train(folder)
    passages = [passage for passage in whole.passages if zlib.crc32(passage.id.encode()) % 8 == 0]
    known = {passage.id for passage in passages}
    queries = [q for q in whole.queries if known.issuperset(q.relevant) and zlib.crc32(q.id.encode()) % 7 == 0]
    return RetrievalSet("squad_fit", "en", passages, queries)


_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)


def _sentences(array: str) -> str:
    """The strings of a printed numpy array, joined."""
    found = (single or double for single, double in _QUOTED.findall(array))
    return " ".join(re.sub(r"\\(.)", r"\1", sentence.replace("\\n", " ")).strip() for sentence in found)


def rgb(folder: Path, language: str = "en") -> RetrievalSet:
    """RGB: a passage is a web snippet; relevant are the positive ones of a question."""
    name = {"en": "en_fact", "zh": "zh_refine"}[language]
    identities: dict[str, str] = {}
    queries = []
    with gzip.open(folder / "rgb" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            for text in (*_flat(row["positive"]), *_flat(row["negative"])):
                identities.setdefault(text, f"rgb-{language}-p{len(identities)}")
            relevant = {identities[text]: 1 for text in _flat(row["positive"])}
            answers = tuple(_flat([row["answer"]]))
            queries.append(Query(f"rgb-{language}-{row['id']}", row["query"], relevant, answers))
    return RetrievalSet(f"rgb_{language}", language, [Passage(i, "", text) for text, i in identities.items()], queries)


def _flat(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield str(value)


READERS: dict[str, Callable[[Path], RetrievalSet]] = {
    "squad": squad,
    "cranfield": cranfield,
    "scifact": scifact,
    "cmrc": cmrc,
    "drcd": drcd,
}
