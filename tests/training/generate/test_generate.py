"""Answers of a teacher as training data: what is kept, what is counted, what an interruption and a budget leave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from openbook.core.errors import BadData, ModelUnavailable, RunStopped, UsageError
from openbook.core.messages import ChatRequest, Completion
from openbook.training.data.contamination import TestSet
from openbook.training.data.reading import Placed, data_files, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Chat
from openbook.training.generate.budget import Budget
from openbook.training.generate.generate import CONTAMINATED, generate
from openbook.training.generate.journal import journal_of
from openbook.training.generate.prompts import DUPLICATE, Prompts, read_prompts
from openbook.training.generate.settings import GenerateSettings
from openbook.training.generate.verifier import open_verifier, term_of
from training.generate.teachers import RuleTeacher, asked

SUMS = [(a, b) for a in range(6) for b in range(4)]
PLAIN = GenerateSettings(n=4, keep=2, at_once=5, max_tokens=50)


def prompts(folder: Path, rows: list[dict[str, Any]] | None = None) -> Prompts:
    path = folder / "prompts.jsonl"
    given = rows or [{"prompt": f"What is {a} + {b}?", "answer": str(a + b)} for a, b in SUMS]
    path.write_text("".join(json.dumps(row) + "\n" for row in given), "utf-8")
    return read_prompts([path])


def sometimes_right(request: ChatRequest) -> Completion:
    """Right, wrong, cut or empty, by the seed; with thoughts of different lengths."""
    draw = Random(f"{request.sampling.seed} {asked(request)}")
    a, b = (int(word.strip("?")) for word in asked(request).split() if word.strip("?").isdigit())
    kind = draw.choice(["right", "right", "wrong", "cut", "empty"])
    thought = " ".join(["hm"] * draw.randint(1, 9))
    if kind == "empty":
        return Completion(f"<think>{thought}</think> ", "stop", 10, 3)
    said = a + b if kind == "right" else a + b + 1
    words = len(thought.split())
    return Completion(f"It is {said}.", "length" if kind == "cut" else "stop", 10, 3 + words, reasoning=thought)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def number() -> Any:
    return open_verifier([term_of("number")])


def test_right_answers_are_kept_the_shortest_first_and_all_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    teacher = RuleTeacher(sometimes_right)
    receipt = generate(prompts(tmp_path), teacher, PLAIN, out, verifier=number())
    rows = rows_of(out)
    assert len(rows) == receipt.rows == receipt.fates["kept"] > len(SUMS)
    for row in rows:
        question, answer = row["messages"]
        a, b = (int(word.strip("?")) for word in question["content"].split() if word.strip("?").isdigit())
        assert answer["content"] == f"It is {a + b}." and answer["reasoning_content"].startswith("hm")
        assert row["reward"] == 1.0
    assert sum(receipt.fates.values()) == len(teacher.requests) == receipt.requests == 4 * len(SUMS)
    assert {"kept", "rejected", "cut", "empty", "surplus"} <= {name for name, count in receipt.fates.items() if count}
    assert receipt.completion_tokens > receipt.rows and not journal_of(out).exists()
    kept: dict[str, list[int]] = {}
    for row in rows:
        kept.setdefault(row["messages"][0]["content"], []).append(len(row["messages"][1]["reasoning_content"].split()))
    for question, lengths in kept.items():
        mine = [request for request in teacher.requests if asked(request) == question]
        good = {
            one.reasoning for one in map(sometimes_right, mine) if one.finish_reason == "stop" and "think" not in one.text
            and one.text == f"It is {sum(int(w.strip('?')) for w in question.split() if w.strip('?').isdigit())}."
        }  # fmt: skip
        assert sorted(lengths) == sorted(len(one.split()) for one in good)[: PLAIN.keep]


def test_what_comes_out_is_what_training_reads(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    generate(prompts(tmp_path), RuleTeacher(sometimes_right), PLAIN, out, verifier=number())
    rows = [placed.row for placed in read_rows(data_files([out]), Receipt())]
    assert rows and all(isinstance(row, Chat) and row.messages[-1]["reasoning_content"] for row in rows)


@pytest.mark.parametrize("stop", [1, 7, 33, 90])
def test_an_interrupted_job_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, stop: int) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    given = prompts(tmp_path)
    first = generate(given, RuleTeacher(sometimes_right), PLAIN, whole, verifier=number())
    with pytest.raises(KeyboardInterrupt):
        generate(given, RuleTeacher(sometimes_right, fails_after=stop), PLAIN, out, verifier=number())
    assert not out.exists()
    with open(journal_of(out), "ab") as file:
        file.write(b'{"prompt": "cut')  # as a crash leaves it
    teacher = RuleTeacher(sometimes_right)
    receipt = generate(given, teacher, PLAIN, out, verifier=number())
    assert out.read_bytes() == whole.read_bytes()
    assert receipt.as_json() | {"out": ""} == first.as_json() | {"out": ""}
    assert len(teacher.requests) <= 4 * len(SUMS) - stop + PLAIN.n
    with pytest.raises(UsageError, match="exists already"):
        generate(given, teacher, PLAIN, out, verifier=number())


def test_another_job_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(prompts(tmp_path), RuleTeacher(sometimes_right, fails_after=9), PLAIN, out)
    with pytest.raises(UsageError, match="temperature changed"):
        generate(prompts(tmp_path), RuleTeacher(sometimes_right), replace(PLAIN, temperature=1.0), out)


@pytest.mark.parametrize("budget", [Budget(most_requests=30), Budget(most_tokens=1_500)])
def test_a_budget_is_never_overdrawn_and_more_of_it_goes_on(tmp_path: Path, budget: Budget) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    given = prompts(tmp_path)
    generate(given, RuleTeacher(sometimes_right), PLAIN, whole, verifier=number())
    receipt = generate(given, RuleTeacher(sometimes_right), PLAIN, out, verifier=number(), budget=budget)
    assert "spent" in receipt.stopped and 0 < receipt.done < receipt.prompts
    assert receipt.requests <= 30 or budget.most_requests is None
    assert receipt.prompt_tokens + receipt.completion_tokens <= 1_500
    assert whole.read_text("utf-8").startswith(out.read_text("utf-8")) and rows_of(out)
    generate(given, RuleTeacher(sometimes_right), PLAIN, out, verifier=number())
    assert out.read_bytes() == whole.read_bytes()


def test_a_teacher_that_is_down_stops_the_job_and_one_that_stumbles_does_not(tmp_path: Path) -> None:
    def down(request: ChatRequest) -> str:
        raise ModelUnavailable("gone", "start it")

    def stumbles(request: ChatRequest) -> Completion:
        if "3 + 1" in asked(request):
            down(request)
        return sometimes_right(request)

    given = prompts(tmp_path)
    with pytest.raises(ModelUnavailable, match="all answers to 5 prompts failed"):
        generate(given, RuleTeacher(down), PLAIN, tmp_path / "a.jsonl")
    receipt = generate(given, RuleTeacher(stumbles), PLAIN, tmp_path / "b.jsonl", verifier=number())
    assert (receipt.fates["failed"], receipt.done, receipt.first_error) == (4, len(SUMS) - 1, "gone: start it")
    assert journal_of(tmp_path / "b.jsonl").exists(), "what failed is asked again by the same command"
    again = RuleTeacher(sometimes_right)
    generate(given, again, PLAIN, tmp_path / "b.jsonl", verifier=number())
    assert len(again.requests) == 4


def test_a_last_group_that_fails_whole_does_not_keep_the_rows_back(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def falls(request: ChatRequest) -> Completion:
        if "5 + 3" in asked(request):
            raise ModelUnavailable("gone", "start it")
        return sometimes_right(request)

    given = prompts(tmp_path)
    settings = replace(PLAIN, at_once=len(SUMS) - 1)  # the last prompt is a group by itself
    for _ in range(2):
        receipt = generate(given, RuleTeacher(falls), settings, out, verifier=number())
        assert receipt.stopped.startswith("all answers to 1 prompts failed (gone")
        assert receipt.done == len(SUMS) - 1 and len(rows_of(out)) == receipt.rows > 0
    assert journal_of(out).exists(), "the same command goes on"
    receipt = generate(given, RuleTeacher(sometimes_right), settings, out, verifier=number())
    assert receipt.done == len(SUMS) and not receipt.stopped and not journal_of(out).exists()


def test_a_last_group_that_cannot_be_verified_does_not_keep_the_rows_back(tmp_path: Path) -> None:
    out, rows = tmp_path / "out.jsonl", [{"prompt": f"What is {a} + 1?", "answer": str(a + 1)} for a in range(5)]
    given = prompts(tmp_path, [*rows, {"prompt": "What is 9 + 9?"}])
    receipt = generate(given, RuleTeacher(lambda _: "It is 3."), PLAIN, out, verifier=number())
    assert receipt.stopped.startswith("no answer to 1 prompts could be verified") and rows_of(out)
    assert journal_of(out).exists()


def test_an_answer_with_half_a_character_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    receipt = generate(prompts(tmp_path), RuleTeacher(lambda _: "so \ud83d it is"), replace(PLAIN, n=1), out)
    assert receipt.rows == len(SUMS) and rows_of(out)[0]["messages"][-1]["content"] == "so ? it is"


def test_rows_that_cannot_be_verified_stop_the_job_before_it_costs_more(tmp_path: Path) -> None:
    given = prompts(tmp_path, [{"prompt": f"What is {a} + {b}?"} for a, b in SUMS])
    teacher = RuleTeacher(lambda request: "It is 7.")
    with pytest.raises(RunStopped, match="'answer'"):
        generate(given, teacher, PLAIN, tmp_path / "out.jsonl", verifier=number())
    assert len(teacher.requests) == PLAIN.at_once * PLAIN.n


def test_prompts_and_answers_of_a_test_set_are_left_out(tmp_path: Path) -> None:
    known = "a b c d e f g h i j k l m n o p"
    tests = TestSet(
        [
            Placed("t:1", Chat(({"role": "user", "content": "What is 3 + 2?"},))),
            Placed("t:2", Chat(({"role": "user", "content": "?"}, {"role": "assistant", "content": known}))),
        ]
    )

    def rule(request: ChatRequest) -> str:
        return f"So: {known}" if "4 + 1" in asked(request) else f"It is so {asked(request)}"

    teacher = RuleTeacher(rule)
    settings = GenerateSettings(n=1, max_tokens=50)
    receipt = generate(prompts(tmp_path), teacher, settings, tmp_path / "out.jsonl", tests=tests)
    assert receipt.left_out[CONTAMINATED] == 2 and receipt.rows == len(SUMS) - 2
    assert not any("3 + 2" in asked(request) for request in teacher.requests), "it was not paid for"


def test_random_preference_depends_on_the_seed_alone(tmp_path: Path) -> None:
    given = prompts(tmp_path)

    def texts(seed: int, name: str) -> str:
        settings = GenerateSettings(n=4, prefer="random", seed=seed, max_tokens=50, at_once=3 + seed)
        generate(given, RuleTeacher(sometimes_right), settings, tmp_path / name, verifier=number())
        return (tmp_path / name).read_text("utf-8")

    assert texts(1, "a") == texts(1, "b") != texts(2, "c")


def test_prompts_are_read_of_every_form_each_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": "One?"},
        {"question": "Two?", "answer": "2"},
        {"instruction": "Add", "input": "1 2", "output": "3"},
        {"messages": [{"role": "user", "content": "Four?"}, {"role": "assistant", "content": "4"}]},
        {"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Five?"}]},
        {"prompt": "One?", "answer": "again"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = read_prompts([path], "Be brief.")
    assert [one.messages[-1]["content"] for one in found.prompts] == ["One?", "Two?", "Add\n1 2", "Four?", "Five?"]
    assert [one.messages[0]["content"] for one in found.prompts] == ["Be brief."] * 4 + ["Be kind."]
    assert found.left_out == {DUPLICATE: 1} and found.places[DUPLICATE] == f"{path}:6"
    path.write_text('{"prompt": 5}\n', "utf-8")
    with pytest.raises(BadData, match="1 of 1 rows are broken"):
        read_prompts([path])


@pytest.mark.parametrize("bad", [{"n": 0}, {"prefer": "best"}, {"n": 2, "temperature": 0.0}, {"keep": 0}])
def test_settings_that_cannot_be_are_told(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        GenerateSettings(**bad)
