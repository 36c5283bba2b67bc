"""Seeds become tasks that are new, of use and answered; the same however often the job was interrupted."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from openbook.core.errors import BadData, ModelUnavailable, UsageError
from openbook.core.messages import ChatRequest
from openbook.training.data.contamination import TestSet, contamination
from openbook.training.data.reading import Placed, data_files, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Chat
from openbook.training.generate.ask_tasks import OPERATIONS, harder_request, more_request, read_harder, read_tasks
from openbook.training.generate.budget import Budget
from openbook.training.generate.expand import expand, spread
from openbook.training.generate.expand_settings import ExpandSettings
from openbook.training.generate.journal import journal_of
from openbook.training.generate.language import language_of
from openbook.training.generate.pool import Pool
from openbook.training.generate.rouge import KeptTexts, rouge_l
from openbook.training.generate.seeds import Task, read_seeds
from openbook.training.generate.validate import fault_of_answer, fault_of_task
from training.generate.teachers import RuleTeacher

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The scripted model, and its seeds, of the benchmark."""
    spec = importlib.util.spec_from_file_location("self_instruct", ROOT / "benchmarks" / "self_instruct.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["self_instruct"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["self_instruct"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("method", ["self-instruct", "evol"])
def test_two_hundred_seeds_become_a_thousand_rows(script: ModuleType, tmp_path: Path, method: Any) -> None:
    seeds, tests, out = script.seeds(200), script.test_rows(), tmp_path / "rows.jsonl"
    settings = ExpandSettings(method=method, rows=1_000, patience=20)
    receipt = expand(seeds, script.TaskWriter(), settings, out, tests=TestSet(tests))
    rows = rows_of(out)
    texts = [row["messages"][0]["content"] for row in rows]
    assert len(rows) == receipt.rows == 1_000 and not receipt.stopped
    kept = KeptTexts([one.text for one in seeds])
    for text in texts:
        assert kept.most_alike(text).score < 0.7
        kept.add(text)
    some = Random(0).sample(texts, 60)
    assert max(rouge_l(one, other) for one, other in combinations(some, 2)) < 0.7, "by the table too"
    for row in rows:
        asked, answer = (one["content"] for one in row["messages"])
        assert not fault_of_task(asked, language_of(asked)) and not fault_of_answer(asked, answer)
        assert row["origin"] == method
    placed = [Placed(str(at), Chat(tuple(row["messages"]))) for at, row in enumerate(rows)]
    overlap = contamination(placed, tests)
    assert (overlap.overlapping, overlap.questions) == (0, 0)
    left_out = {name for name, count in receipt.fates.items() if count} - {"proposed"}
    planted = {"task: like another", "task: too short", "task: a refusal", "task: another language", "in the test set"}
    assert planted | {"answer: a refusal", "answer: empty", "answer: the task again"} <= left_out
    assert 150 < sum(language_of(text) == "zh" for text in texts) < 400, "about as many as of the seeds"


@pytest.mark.parametrize("stop", [3, 40, 131])
def test_an_interrupted_expansion_goes_on_and_ends_as_one_that_was_not(
    script: ModuleType, tmp_path: Path, stop: int
) -> None:
    seeds, settings = script.seeds(30), ExpandSettings(rows=120, at_once=4)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    first = expand(seeds, RuleTeacher(script.TaskWriter().complete), settings, whole)
    with pytest.raises(KeyboardInterrupt):
        expand(seeds, RuleTeacher(script.TaskWriter().complete, fails_after=stop), settings, out)
    assert journal_of(out).exists() and not out.exists()
    second = expand(seeds, RuleTeacher(script.TaskWriter().complete), settings, out)
    assert out.read_bytes() == whole.read_bytes() and not journal_of(out).exists()
    assert second.as_json() | {"out": ""} == first.as_json() | {"out": ""}


def test_a_budget_ends_it_and_more_of_it_goes_on(script: ModuleType, tmp_path: Path) -> None:
    seeds, settings = script.seeds(30), ExpandSettings(rows=120, at_once=4)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    expand(seeds, RuleTeacher(script.TaskWriter().complete), settings, whole)
    receipt = expand(seeds, RuleTeacher(script.TaskWriter().complete), settings, out, budget=Budget(most_requests=70))
    assert "spent" in receipt.stopped and receipt.requests <= 70
    assert 0 < len(rows_of(out)) == receipt.rows < 120
    longer = expand(seeds, RuleTeacher(script.TaskWriter().complete), settings, out)
    assert longer.rows == 120 and not longer.stopped


def test_a_model_that_repeats_itself_ends_it(script: ModuleType, tmp_path: Path) -> None:
    teacher = RuleTeacher(lambda request: "Task 9: Explain how a bridge carries its weight.\nTask 10: Sing.")
    receipt = expand(script.seeds(10), teacher, ExpandSettings(rows=50, patience=3), tmp_path / "out.jsonl")
    assert "3 rounds gave no new row" in receipt.stopped and receipt.rows <= 1
    assert receipt.fates["task: like another"] and receipt.fates["task: too short"]


def test_a_model_that_is_down_is_told(script: ModuleType, tmp_path: Path) -> None:
    def down(request: ChatRequest) -> str:
        raise ModelUnavailable("gone", "start it")

    with pytest.raises(ModelUnavailable, match="all 8 requests of a round failed"):
        expand(script.seeds(10), RuleTeacher(down), ExpandSettings(rows=50), tmp_path / "out.jsonl")


def test_seeds_with_answers_stand_evenly_among_the_rows(script: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    expand(script.seeds(40), script.TaskWriter(), ExpandSettings(rows=120, with_seeds=True), out)
    origins = [row["origin"] for row in rows_of(out)]
    assert len(origins) == 160 and origins.count("seed") == 40
    assert all(8 <= origins[at : at + 40].count("seed") <= 12 for at in range(0, 160, 40))
    assert all(isinstance(placed.row, Chat) for placed in read_rows(data_files([out]), Receipt()))


def test_examples_are_of_one_language_and_mostly_seeds() -> None:
    seeds = [Task(f"seed {at}", "", "en") for at in range(20)] + [Task(f"种子{at}", "", "zh") for at in range(20)]
    pool = Pool(seeds, 0.7)
    assert len(pool.examples(Random(1), 8, 0.75)[0]) == 8
    for at in range(20):
        pool.add(Task(f"made {at}", "", "en", "self-instruct"))
    for draw in map(Random, range(20)):
        shown, language = pool.examples(draw, 8, 0.75)
        made = [one for one in shown if one.startswith("made")]
        assert len(shown) == 8 and len(made) == (2 if language == "en" else 0)
        assert {language_of(one) for one in shown} == {language}


def test_what_a_pool_gave_up_may_come_again() -> None:
    pool = Pool([Task("Name a river in Spain.", "", "en")], 0.7)
    new = Task("Explain why bread rises.", "", "en", "self-instruct")
    assert pool.is_new(new.text) and not pool.is_new("Name one river in Spain.")
    pool.add(new)
    assert not pool.is_new(new.text)
    pool.drop_last(1)
    assert pool.is_new(new.text) and not pool.made and not pool.is_new("Name one river in Spain.")


def test_lists_of_tasks_are_read_as_models_write_them() -> None:
    text = "Sure!\nTask 9: Explain a bridge.\n\n**Task 10:** Name a\n river.\n11. Sing it.\n- 12) Last one is cut"
    assert read_tasks(text, is_cut=True) == ["Explain a bridge.", "Name a river.", "Sing it."]
    assert read_tasks("任务 9：解释桥梁。\n任务10、说出一条河。", is_cut=False) == ["解释桥梁。", "说出一条河。"]
    assert read_tasks("no list at all", is_cut=False) == []
    assert read_harder("New task: Explain it to a child.", is_cut=False) == ["Explain it to a child."]
    assert read_harder("-----\n“解释给孩子听。”\n-----", is_cut=False) == ["解释给孩子听。"]
    assert read_harder("Explain it to", is_cut=True) == read_harder("", is_cut=False) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_requests_are_in_the_language_of_the_tasks(language: Any) -> None:
    asked = more_request(["x"], 4, language)
    assert language_of(asked) == language and "4" in asked
    for operation in OPERATIONS:
        assert language_of(harder_request("{text} {how}", operation, language)) == language
        assert "{text} {how}" in harder_request("{text} {how}", operation, language), "braces of a task stay"


def test_seeds_are_read_of_every_form(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    rows = [
        {"instruction": "Add", "input": "1 2", "output": "3"},
        {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me"}]},
        {"prompt": "说出一条河"},
        {"question": "Where?", "answer": "There"},
        {"prompt": "说出一条河"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert [(one.text, one.answer, one.language) for one in read_seeds([path])] == [
        ("Add\n1 2", "3", "en"),
        ("Who?", "Me", "en"),
        ("说出一条河", "", "zh"),
        ("Where?", "There", "en"),
    ]
    path.write_text('{"text": "no task"}\n', "utf-8")
    with pytest.raises(BadData, match="is no task"):
        read_seeds([path])


def test_spread_is_even() -> None:
    few, many = [Task(f"s{at}", "", "en") for at in range(2)], [Task(f"m{at}", "", "en") for at in range(4)]
    assert [one.text for one in spread(few, many)] == ["m0", "s0", "m1", "m2", "s1", "m3"]
    assert spread([], many) == many


@pytest.mark.parametrize("bad", [{"method": "guess"}, {"rows": 0}, {"below": 0.0}, {"seed_share": 1.5}])
def test_settings_that_cannot_be_are_told(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ExpandSettings(**bad)
