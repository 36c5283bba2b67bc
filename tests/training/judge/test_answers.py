"""Two answers to each prompt, for a judge to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from openbook.core.errors import BadData, ModelUnavailable
from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.training.judge.answers import AnswerSettings, read_and_answer
from openbook.training.judge.rubric import Rubric
from openbook.training.judge.settings import JudgeSettings

DRAWN = AnswerSettings(max_tokens=20)
SETTINGS = JudgeSettings(Rubric("pair"))


class Echo:
    """Answers with the prompt and the parity of the seed; "stop" and "same" and "cut" have answers of their own."""

    name, limits = "echo", ModelLimits()

    def __init__(self, fails: bool = False) -> None:
        self.requests: list[ChatRequest] = []
        self._fails = fails

    def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        asked, seed = request.messages[-1].text, request.sampling.seed
        assert seed is not None
        if self._fails or "fail" in asked:
            raise ModelUnavailable("no answer", "ask again")
        if "interrupt" in asked:
            raise KeyboardInterrupt
        said = "same" if "same" in asked else f"{asked} {seed % 2}"
        return Completion(said, "length" if "cut" in asked else "stop", prompt_tokens=10, completion_tokens=5)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for place, request in enumerate(requests):
            try:
                yield place, self.complete(request)
            except Exception as error:
                yield place, error


def prompts(folder: Path, *asked: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": one}) + "\n" for one in asked), "utf-8")
    return path


def test_each_prompt_has_two_answers_of_its_own(tmp_path: Path) -> None:
    model = Echo()
    path = prompts(tmp_path, "one", "two", "same", "cut", "fail", "one")
    got = read_and_answer(path, model, tmp_path / "out.jsonl", DRAWN, SETTINGS)
    said = [(one.prompt_text, {one.answer_text(0), one.answer_text(1)}) for one in got.pairs.pairs]
    assert said == [("one", {"one 0", "one 1"}), ("two", {"two 0", "two 1"})]
    assert set(got.pairs.left_out) == {
        "chosen and rejected are the same", "an answer that did not come to its end", "asked already",
    }  # fmt: skip
    assert any("1 prompts have no answers" in line and "no answer: ask again" in line for line in got.lines)
    seeds = [one.sampling.seed for one in model.requests]
    assert len(set(seeds)) == 10
    again = Echo()
    same = read_and_answer(path, again, tmp_path / "out.jsonl", DRAWN, SETTINGS)
    assert [one.id for one in same.pairs.pairs] == [one.id for one in got.pairs.pairs]
    assert [one.messages[0].text for one in again.requests] == ["fail", "fail"]
    assert [one.sampling.seed for one in again.requests] == seeds[8:10]


def test_what_was_written_is_kept_when_it_is_broken_off(tmp_path: Path) -> None:
    path = prompts(tmp_path, "one", "two", "interrupt", "three")
    with pytest.raises(KeyboardInterrupt):
        read_and_answer(path, Echo(), tmp_path / "out.jsonl", DRAWN, SETTINGS)
    model = Echo()
    prompts(tmp_path, "one", "two", "three")
    got = read_and_answer(path, model, tmp_path / "out.jsonl", DRAWN, SETTINGS)
    assert len(got.pairs.pairs) == 3
    assert len(model.requests) == 2


def test_a_third_of_what_may_be_spent_is_for_answers(tmp_path: Path) -> None:
    path = prompts(tmp_path, *(f"question {one}" for one in range(20)))
    model = Echo()
    capped = JudgeSettings(Rubric("pair"), max_requests=30, max_tokens=100_000)
    got = read_and_answer(path, model, tmp_path / "out.jsonl", DRAWN, capped)
    assert (len(model.requests), len(got.pairs.pairs)) == (10, 5)
    assert (got.settings.max_requests, got.settings.max_tokens) == (20, 100_000 - 150)
    assert any("spent" in line for line in got.lines)
    again = read_and_answer(path, Echo(), tmp_path / "out.jsonl", DRAWN, capped)
    assert again.settings == got.settings


def test_a_look_answers_a_few_and_keeps_nothing(tmp_path: Path) -> None:
    path = prompts(tmp_path, *(f"question {one}" for one in range(64)))
    model = Echo()
    got = read_and_answer(path, model, None, DRAWN, SETTINGS)
    assert (len(got.pairs.pairs), len(model.requests), got.share) == (16, 32, 0.25)
    assert "about 128 requests and 1,920 tokens" in got.lines[1]
    assert [one.name for one in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_model_that_answers_nothing_ends_it(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no answer"):
        read_and_answer(prompts(tmp_path, "one"), Echo(fails=True), tmp_path / "out.jsonl", DRAWN, SETTINGS)
    with pytest.raises(BadData, match="chosen and rejected are the same"):
        read_and_answer(prompts(tmp_path, "same"), Echo(), tmp_path / "other.jsonl", DRAWN, SETTINGS)
