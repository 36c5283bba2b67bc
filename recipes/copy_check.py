"""How often the copying model is right: 50 questions about names that it has not seen, asked of a library as anybody asks it.

`python recipes/copy_check.py MODEL [--draws N] [--json FILE]`: documents are made up and written to a folder, a library is built
of them, and `Library.ask(question, model=MODEL)` answers. Right is an answer that has the value that was asked for, whose every
sentence the library found supported, and whose only citation is the sentence of the right file. The library finds the right
passage first and its likes after it, so the model is asked a second time with passages drawn at random, in any order.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from copy_facts import Document, Fact, documents, file_name, prompt_of, some_days, write_documents

from openbook.assistant.answer.answer import Answer
from openbook.assistant.desk import Library
from openbook.serving.models import open_chat_model

PASSAGES = 4


class Score(NamedTuple):
    """`right` of `asked` through the library; `right_anywhere`: with the passage at any place of the prompt."""

    asked: int
    right: int
    abstained: int
    right_anywhere: int


def held_out(cases: int, seed: int = 0) -> tuple[list[Document], list[Fact]]:
    """Documents, and a question about each."""
    random = Random(seed)
    found = documents(random, cases, held_out=True)
    return found, [random.choice(document.facts) for document in found]


def check(model: Path, cases: int = 50, seed: int = 0) -> Score:
    found, facts = held_out(cases, seed)
    with TemporaryDirectory() as folder:
        write_documents(found, Path(folder) / "documents")
        with Library.open(Path(folder) / "library") as library:
            library.add(Path(folder) / "documents")
            answers = [library.ask(fact.question, model=str(model)) for fact in facts]
    right = sum(is_right(answer, fact) for answer, fact in zip(answers, facts, strict=True))
    abstained = sum(answer.abstained for answer in answers)
    return Score(cases, right, abstained, anywhere(model, found, facts, seed))


def is_right(answer: Answer, fact: Fact) -> bool:
    if answer.abstained or fact.value not in answer.answer or not all(one.supported for one in answer.sentences):
        return False
    cited = {(Path(one.path).name, one.quote) for one in answer.citations}
    return cited == {(file_name(fact.place), fact.sentence)}


def anywhere(model: Path, found: list[Document], facts: list[Fact], seed: int = 0) -> int:
    """How many of the answers are the sentence and its passage's number, word for word."""
    random, chat, right = Random(seed), open_chat_model(str(model)), 0
    for fact in facts:
        others = [document for document in found if document.place != fact.place]
        shown = random.sample(others, PASSAGES - 1)
        place = random.randrange(PASSAGES)
        shown.insert(place, next(document for document in found if document.place == fact.place))
        request = prompt_of(fact.question, shown, some_days(random, PASSAGES))
        right += chat.complete(request).text == fact.answer(place + 1)
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder that copy_model.py wrote")
    parser.add_argument("--cases", type=int, default=50, help="of each draw")
    parser.add_argument("--draws", type=int, default=1, help="so many times, with documents and questions of their own")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    scores = [check(options.model, options.cases, seed) for seed in range(options.draws)]
    for score in scores:
        print(
            f"{score.right} of {score.asked} right, {score.abstained} abstained; "
            f"{score.right_anywhere} with passages in any order"
        )
    if options.json is not None:
        total = Score(*(sum(column) for column in zip(*scores, strict=True)))
        figures = total._asdict() | {"draws": [score._asdict() for score in scores]}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
