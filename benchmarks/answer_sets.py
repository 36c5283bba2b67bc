"""Question sets for `answers.py` and `fit_answers.py`: paragraphs with their articles, questions with answer spans.

What is fitted and what is reported never share an article: SQuAD is fitted on articles of its training part and
reported on its development part; CMRC2018 and DRCD have a development set only, so half of their articles (by a
checksum of the title) is for fitting and the other half for the report.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from datasets import data_folder, read_json, rgb
from openbook.assistant.desk import Library

Half = Literal["fit", "report"]


class Paragraph(NamedTuple):
    id: str
    article: str
    text: str


class Question(NamedTuple):
    """`spans`: (start, end) of the annotated answers in the paragraph's text; empty when it has no answer."""

    id: str
    text: str
    paragraph: str
    spans: tuple[tuple[int, int], ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class QuestionSet:
    name: str
    paragraphs: list[Paragraph]
    questions: list[Question]

    def of_articles(self, chosen: Iterable[str], name: str) -> QuestionSet:
        wanted = set(chosen)
        paragraphs = [one for one in self.paragraphs if one.article in wanted]
        known = {one.id for one in paragraphs}
        return QuestionSet(name, paragraphs, [one for one in self.questions if one.paragraph in known])

    def articles(self) -> list[str]:
        """Every title once, in the order of a checksum: any prefix is a random sample that stays the same."""
        return sorted({one.article for one in self.paragraphs}, key=lambda title: zlib.crc32(title.encode()))

    def sample(self, count: int) -> list[Question]:
        return sorted(self.questions, key=lambda one: zlib.crc32(one.id.encode()))[:count]

    def asked_in(self, half: Half) -> list[Question]:
        """The questions of half of the articles."""
        titles = {one.id: one.article for one in self.paragraphs}
        wanted = 0 if half == "fit" else 1
        return [one for one in self.questions if zlib.crc32(titles[one.paragraph].encode()) % 2 == wanted]

    def half(self, half: Half) -> QuestionSet:
        """The articles of one half with their paragraphs."""
        wanted = 0 if half == "fit" else 1
        chosen = (title for title in self.articles() if zlib.crc32(title.encode()) % 2 == wanted)
        return self.of_articles(chosen, f"{self.name}-{half}")


def squad_dev() -> QuestionSet:
    return read_squad("squad-dev", data_folder() / "squad" / "squad_v1.1_dev_part.json.gz")


def squad_train() -> QuestionSet:
    return read_squad("squad-train", data_folder() / "squad" / "squad_v1.1_train.json.gz")


def squad_two() -> QuestionSet:
    """SQuAD 2.0, whose unanswerable questions were written to look answerable."""
    [path] = (data_folder() / "squad").glob("squad_v2*dev*")
    return read_squad("squad2-dev", path)


def cmrc() -> QuestionSet:
    return read_squad("cmrc", data_folder() / "cmrc2018" / "cmrc2018_dev.json.gz")


def drcd() -> QuestionSet:
    return read_squad("drcd", data_folder() / "drcd" / "DRCD_dev.json.gz")


def read_squad(name: str, path: Path) -> QuestionSet:
    """Equal paragraphs count once. An annotated start that does not fit its text is looked up."""
    known: dict[str, Paragraph] = {}
    questions = []
    for article in read_json(path)["data"]:
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            place = known.setdefault(text, Paragraph(f"{name}-p{len(known)}", article.get("title", ""), text))
            for row in paragraph["qas"]:
                given = () if row.get("is_impossible") else row["answers"]
                answers = tuple(dict.fromkeys(answer["text"] for answer in given if answer["text"]))
                spans = {_span(text, answer["text"], answer["answer_start"]) for answer in given if answer["text"]}
                found = tuple(sorted(span for span in spans if span is not None))
                questions.append(Question(f"{name}-{row['id']}", row["question"].strip(), place.id, found, answers))
    return QuestionSet(name, list(known.values()), questions)


def _span(text: str, answer: str, start: int) -> tuple[int, int] | None:
    if text[start : start + len(answer)] != answer:
        start = text.find(answer)
    return (start, start + len(answer)) if start >= 0 else None


class Snippets(NamedTuple):
    """RGB: `positive` of a question are the ids of the snippets that answer it."""

    paragraphs: list[Paragraph]
    questions: list[tuple[Question, frozenset[str]]]


def rgb_snippets(language: str) -> Snippets:
    one = rgb(data_folder(), language)
    paragraphs = [Paragraph(p.id, p.id, p.text) for p in one.passages]
    questions = [(Question(q.id, q.text, "", (), q.answers), frozenset(q.relevant)) for q in one.queries]
    return Snippets(paragraphs, questions)


def other_questions(folder: Path | None = None) -> list[str]:
    """Cranfield's queries: of another subject than any encyclopedia article here."""
    from datasets import cranfield

    return [query.text for query in cranfield(folder or data_folder()).queries]


def library_of(paragraphs: Sequence[Paragraph], directory: Path) -> Library:
    """The library of these paragraphs, each a document of its own; what is there from an earlier run is used again."""
    whole = directory.with_suffix(".complete")
    if not whole.exists():
        directory.mkdir(parents=True, exist_ok=True)
        records = directory.with_suffix(".jsonl")
        with records.open("w", encoding="utf-8") as file:
            for one in paragraphs:
                file.write(json.dumps({"id": one.id, "title": "", "text": one.text}, ensure_ascii=False) + "\n")
        with Library.open(directory) as library:
            library.add(records, records=True)
        whole.write_text(str(len(paragraphs)))
    return Library.open(directory)


def read_lines(path: Path) -> Iterable[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from file
