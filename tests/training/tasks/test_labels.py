"""Classifiers and next-sentence models by a recipe: they learn, go on to the bit, and load where they are used."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

import small_groups
from openbook.core.errors import BadData, UsageError
from openbook.library.embed.pairs import NextSentence
from openbook.lm.checkpoint import read_config
from openbook.lm.tokenizers.pair_layout import around
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.log import read_log
from openbook.training.recipe import Recipe, recipe_of
from openbook.training.run import train
from openbook.training.tasks.classifier import _drawing


def rows(path: Path, count: int = 160, *, pairs: bool = False) -> Path:
    """A text is "good" where it speaks of cats; a pair where both speak of the same."""
    random, said = Random(1), []
    for _ in range(count):
        one, other = random.choice(["cat", "dog"]), random.choice(["cat", "dog"])
        fill = " ".join(random.choices("of and to in that for".split(), k=3))
        if pairs:
            said.append({"first": f"the {one} {fill}", "second": f"the {other}", "label": int(one == other)})
        else:
            said.append({"text": f"the {one} {fill}", "label": "good" if one == "cat" else "bad"})
    path.write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    return path


def recipe(folder: Path, **changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "objective": "classifier",
        "classifier": {"labels": ["bad", "good"]},
        "model": {"path": str(small_groups.base(folder))},
        "data": {"train": str(rows(folder / "rows.jsonl")), "eval_share": 0.2},
        "steps": 40,
        "batch_size": 16,
        "max_seq_len": 24,
        "lr": 1e-3,
        "eval_every": 40,
        "save_every": 4,
        "seed": 5,
        "out": str(folder / "run"),
    } | changes
    return recipe_of({name: value for name, value in values.items() if value is not None})


def _log(folder: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / "run" / "log.jsonl")]


def test_a_classifier_learns_and_names_its_labels(tmp_path: Path) -> None:
    done = train(recipe(tmp_path))
    assert _log(tmp_path)[-1]["eval_accuracy"] > 0.9
    assert done.model is not None
    assert read_config(done.model)["id2label"] == {"0": "bad", "1": "good"}


def test_a_classifier_of_pairs(tmp_path: Path) -> None:
    data = {"train": str(rows(tmp_path / "pairs.jsonl", 300, pairs=True)), "eval_share": 0.2}
    train(recipe(tmp_path, data=data, classifier={"labels": ["0", "1"]}, steps=120, eval_every=120, lr=2e-3))
    assert _log(tmp_path)[-1]["eval_accuracy"] > 0.8


def test_labels_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two labels or more"):
        train(recipe(tmp_path, classifier={"labels": ["good"]}))
    with pytest.raises(BadData, match="'good', which"):
        train(recipe(tmp_path, classifier={"labels": ["bad", "fine"]}))


def test_broken_rows_are_counted(tmp_path: Path) -> None:
    path = rows(tmp_path / "broken.jsonl", 400)
    path.write_text(path.read_text("utf-8") + '{"text": "no label"}\n', "utf-8")
    said: list[str] = []
    train(recipe(tmp_path, steps=1, data={"train": str(path), "eval_share": 0.2}), say=said.append)
    assert any("401 rows, 1 broken" in line for line in said), said


def test_long_texts_keep_what_stands_around_them(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(small_groups.base(tmp_path))
    path = rows(tmp_path / "rows.jsonl", 2)
    from openbook.training.data.labelled import LabelledRow

    said = recipe(tmp_path, max_seq_len=6, data={"train": str(path)}, eval_every=None)
    ids = _drawing(said, [LabelledRow("the cat is of and to in", None, "good")], tokenizer)(0, 0).ids
    whole = tokenizer.encode("the cat is of and to in")
    assert ids == [*whole[:5], whole[-1]]


@pytest.mark.parametrize(("first", "second", "kept"), [(3, 3, (3, 3)), (9, 2, (6, 2)), (2, 9, (2, 6)), (9, 9, (4, 4))])
def test_the_longer_side_is_cut_away_from_the_border(first: int, second: int, kept: tuple[int, int]) -> None:
    one, other = around(list(range(first)), list(range(second)), 8)
    assert (len(one), len(other)) == kept
    assert one == list(range(first))[first - kept[0] :] and other == list(range(kept[1]))


def documents(path: Path, count: int = 12, seed: int = 0) -> Path:
    """Each paragraph says of what the next one speaks."""
    words = "cat dog mat days people time word use".split()
    said = []
    for number in range(count):
        order = Random(seed * 1_000 + number).sample(words, 8)
        paragraphs = [f"The {one} to {other}." for one, other in pairwise(order)]
        said.append({"text": "\n\n".join(paragraphs)})
    path.write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    return path


def test_a_next_sentence_model_learns_and_scores(tmp_path: Path) -> None:
    data = {"train": str(documents(tmp_path / "a.jsonl", 80)), "eval": str(documents(tmp_path / "b.jsonl", 10, 1))}
    done = train(
        recipe(tmp_path, objective="next_sentence", classifier=None, data=data, steps=100, eval_every=100, lr=3e-3)
    )
    assert _log(tmp_path)[0]["loss"] == pytest.approx(2.2, abs=0.3)  # ln 4 or ln 5, and ln 2
    assert _log(tmp_path)[-1]["eval_choice"] > 0.8  # a guess: 0.5
    assert done.model is not None
    scores = NextSentence(done.model).score(
        [("The cat to dog.", "The dog to days."), ("The cat to dog.", "The use to days.")]
    )
    assert scores[0] > scores[1]


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    data = {"train": str(documents(tmp_path / "a.jsonl"))}
    whole = recipe(
        tmp_path, objective="next_sentence", classifier=None, data=data, steps=10, eval_every=None, micro_batch_size=5
    )
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("run", "halves"))
    assert one == other
