"""The recipe for a model that answers by copying: its prompts are the library's, and its answers are judged by the code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from doubles import ScriptedModel
from openbook.assistant.desk import Library

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The programs of `recipes` can be imported by each other, and by nobody afterwards."""
    monkeypatch.syspath_prepend(str(RECIPES))
    yield
    for name in ("copy_facts", "copy_check", "copy_model"):
        sys.modules.pop(name, None)


def test_it_is_trained_on_the_prompts_that_the_library_asks(tmp_path: Path, minilm: Path) -> None:
    from copy_check import held_out
    from copy_facts import prompt_of, write_documents

    found, facts = held_out(6)
    write_documents(found, tmp_path / "documents")
    by_place = {document.place: document for document in found}
    with Library.open(tmp_path / "library") as library:
        library.add(tmp_path / "documents")
        for fact in facts:
            model = ScriptedModel(fact.answer(1))
            answer = library.ask(fact.question, model=model)
            hits = library.search(fact.question)
            shown = [by_place[hit.title] for hit in hits]
            assert model.requests == [prompt_of(fact.question, shown, [hit.modified for hit in hits])]
            assert fact.value in answer.answer


def test_an_answer_is_right_only_with_its_value_and_its_source(tmp_path: Path, minilm: Path) -> None:
    from copy_check import held_out, is_right
    from copy_facts import write_documents

    found, facts = held_out(3)
    fact, other = facts[:2]
    write_documents(found, tmp_path / "documents")
    with Library.open(tmp_path / "library") as library:
        library.add(tmp_path / "documents")
        written = {
            fact.answer(1): True,
            fact.answer(2): False,  # another passage
            fact.answer(1).replace(fact.value, other.value): False,  # another value
            "The passages do not answer this question.": False,
        }
        assert other.value != fact.value
        for text, right in written.items():
            assert is_right(library.ask(fact.question, model=ScriptedModel(text)), fact) is right


def test_a_place_is_for_training_or_held_out() -> None:
    from copy_facts import documents

    trained = {one.place for seed in range(20) for one in documents(Random(seed), 30)}
    held = {one.place for one in documents(Random(0), 50, held_out=True)}
    assert len(held) == 50 and not trained & held


def test_only_answers_are_learned_and_each_value_is_one_token() -> None:
    from copy_facts import VALUES
    from copy_model import STAGES, batch_of, new_tokenizer

    random = Random(1)
    tokenizer = new_tokenizer(random)
    assert all(len(tokenizer.encode(f" {value}")) == 1 for value in VALUES)
    for example in batch_of(tokenizer, random, STAGES[-1]):
        learned = [token for token, flag in zip(example.ids, example.learned, strict=True) if flag]
        answers = tokenizer.decode(learned).split("<|im_end|>")
        assert answers[-1] == "" and all(one.startswith("The ") and one.endswith("].") for one in answers[:-1])
