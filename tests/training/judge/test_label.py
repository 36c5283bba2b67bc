"""Pairs labelled by a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData, ModelUnavailable, UsageError
from openbook.core.messages import ChatRequest
from openbook.training.data.formats import rows_of
from openbook.training.judge.ask import Asking
from openbook.training.judge.label import everywhere, label, look
from openbook.training.judge.pairs import Pairs, read_pairs
from openbook.training.judge.rubric import Rubric
from openbook.training.judge.settings import JudgeSettings
from openbook.training.judge.verdict import orders
from rule_judge import RuleJudge, is_constrained

SETTINGS = JudgeSettings(Rubric("pair"))


def settings(**changes: Any) -> JudgeSettings:
    return JudgeSettings(Rubric("pair"), **changes)


@pytest.fixture
def found(tmp_path: Path) -> Pairs:
    """Ten pairs; the longer answer is better, and the data says so of all but the last, where it says the contrary."""
    rows = []
    for number in range(10):
        short, long = "x" * (number + 1), "x" * (number + 2)
        better, worse = (long, short) if number < 9 else (short, long)
        rows.append(
            {"prompt": f"问题 {number}" if number % 2 else f"question {number}", "chosen": better, "rejected": worse}
        )
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return read_pairs(path)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_judge_that_follows_a_rule_labels_by_it(found: Pairs, tmp_path: Path) -> None:
    judge = RuleJudge(len)
    report = label(found, judge, tmp_path / "out.jsonl", SETTINGS)
    made = rows(tmp_path / "out.jsonl")
    assert [len(one["chosen"]) - len(one["rejected"]) for one in made] == [1] * 10
    assert [one["prompt"].split()[1] for one in made] == [str(number) for number in range(10)]
    assert all(list(rows_of(one, "preference")) for one in made)
    assert (report.labelled, report.swap_consistency, report.gold_agreement) == (10, 1.0, 0.9)
    assert report.first_position == 0.5
    assert (report.requests, report.tokens, len(judge.requests)) == (20, 2020, 20)
    assert sum("哪个回答更好" in one.messages[0].text for one in judge.requests) == 10


def test_what_is_known_is_not_asked_again(found: Pairs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    first = label(Pairs(found.pairs[:4]), RuleJudge(len), out, SETTINGS)
    assert first.judged == 4
    judge = RuleJudge(len)
    whole = label(found, judge, out, SETTINGS)
    assert (len(judge.requests), whole.judged, whole.requests, len(rows(out))) == (12, 10, 20, 10)
    again = label(found, RuleJudge(len), out, SETTINGS)
    assert again == whole


def test_a_line_that_was_cut_off_is_judged_again(found: Pairs, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.verdicts"
    label(found, RuleJudge(len), out, SETTINGS)
    whole = out.read_bytes()
    journal.write_bytes(journal.read_bytes()[:-20])
    out.write_bytes(whole[:-20])
    judge = RuleJudge(len)
    label(found, judge, out, SETTINGS)
    assert len(judge.requests) == 2
    assert out.read_bytes() == whole
    label(found, judge, out, SETTINGS)
    assert len(judge.requests) == 2


def test_ctrl_c_keeps_what_has_come(found: Pairs, tmp_path: Path) -> None:
    def stops(number: int, verdict: str, _: ChatRequest) -> str:
        if number == 7:
            raise KeyboardInterrupt
        return verdict

    out = tmp_path / "out.jsonl"
    report = label(found, RuleJudge(len, stops), out, SETTINGS)
    assert report.stopped.startswith("interrupted")
    assert len(rows(out)) == report.judged == 3
    judge = RuleJudge(len)
    assert label(found, judge, out, SETTINGS).judged == 10
    assert len(judge.requests) == 14


def test_a_crash_keeps_what_has_come(found: Pairs, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def dies(number: int, verdict: str, _: ChatRequest) -> str:
        if number == 7:
            raise Killed
        return verdict

    out = tmp_path / "out.jsonl"
    with pytest.raises(Killed):
        label(found, RuleJudge(len, dies), out, SETTINGS)
    assert len(rows(out)) == 3


def test_another_judge_or_rubric_is_not_mixed_in(found: Pairs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    label(found, RuleJudge(len), out, SETTINGS)
    with pytest.raises(UsageError, match="another job: judge changed"):
        label(found, RuleJudge(len, name="other"), out, SETTINGS)
    with pytest.raises(UsageError, match="rubric changed"):
        label(found, RuleJudge(len), out, JudgeSettings(Rubric("pair", principles=("Be kind.",))))
    (tmp_path / "out.jsonl.verdicts").unlink()
    with pytest.raises(UsageError, match="is there already"):
        label(found, RuleJudge(len), out, SETTINGS)


@pytest.mark.parametrize(("ties", "count"), [("drop", 0), ("both", 20)])
def test_a_judge_that_minds_the_order_labels_nothing(found: Pairs, tmp_path: Path, ties, count: int) -> None:  # type: ignore[no-untyped-def]
    report = label(found, RuleJudge(lambda _: 0), tmp_path / "out.jsonl", settings(ties=ties))
    assert (report.inconsistent, report.swap_consistency, report.first_position) == (10, 0.0, 1.0)
    made = rows(tmp_path / "out.jsonl")
    assert len(made) == count
    assert {(one["chosen"], one["rejected"]) for one in made} == {(one["rejected"], one["chosen"]) for one in made}


def test_without_swapping_half_as_much_is_asked_and_the_known_answer_is_not_always_first(
    found: Pairs, tmp_path: Path
) -> None:
    report = label(found, RuleJudge(len), tmp_path / "out.jsonl", settings(is_swapped=False))
    assert (report.requests, report.labelled, report.swap_consistency) == (10, 10, None)
    known_first = sum(orders(pair, is_swapped=True)[0] == pair.gold for pair in found.pairs if pair.gold == 1)
    assert 0 < known_first < 9


def test_ties(found: Pairs, tmp_path: Path) -> None:
    report = label(found, RuleJudge(len, lambda *_: "C"), tmp_path / "out.jsonl", settings(has_ties=True))
    assert (report.ties, report.labelled, report.swap_consistency, report.first_position) == (10, 0, 1.0, None)


def test_nonsense_is_counted_and_asked_again_under_a_grammar(found: Pairs, tmp_path: Path) -> None:
    def free(_: int, verdict: str, request: ChatRequest) -> str:
        return verdict if is_constrained(request) else "Both have their merits."

    judge = RuleJudge(len, free)
    report = label(found, judge, tmp_path / "out.jsonl", SETTINGS)
    assert (report.nonsense, report.labelled, report.requests) == (20, 10, 40)
    report = label(found, RuleJudge(len, lambda *_: "hm"), tmp_path / "other.jsonl", SETTINGS)
    assert (report.unread, report.labelled, report.nonsense, report.swap_consistency) == (10, 0, 40, None)
    report = label(found, RuleJudge(len), tmp_path / "held.jsonl", settings(asking=Asking(is_constrained=True)))
    assert (report.nonsense, report.requests) == (0, 20)


def test_a_judge_that_answers_nothing_ends_it_with_the_reason(found: Pairs, tmp_path: Path) -> None:
    down = RuleJudge(len, lambda *_: ModelUnavailable("the server is down", "start it"))
    with pytest.raises(ModelUnavailable, match="down: start it"):
        label(found, down, tmp_path / "out.jsonl", SETTINGS)


def test_a_judge_that_falls_silent_stops_it_and_all_before_is_kept(found: Pairs, tmp_path: Path) -> None:
    def falls(number: int, verdict: str, _: ChatRequest) -> str | Exception:
        return verdict if number <= 8 else ModelUnavailable("the server is down", "start it")

    judge = RuleJudge(len, falls)
    report = label(found, judge, tmp_path / "out.jsonl", settings(batch=4))
    assert (report.judged, len(judge.requests), len(rows(tmp_path / "out.jsonl"))) == (4, 16, 4)
    assert report.stopped == "the judge answers nothing any more (the server is down: start it)"


def test_a_question_that_fails_is_asked_again_next_time(found: Pairs, tmp_path: Path) -> None:
    def slow(number: int, verdict: str, _: ChatRequest) -> str | Exception:
        return ModelUnavailable("it did not finish within 3 s", "ask again") if number == 5 else verdict

    out = tmp_path / "out.jsonl"
    report = label(found, RuleJudge(len, slow), out, SETTINGS)
    assert (report.judged, report.failed) == (9, {"it did not finish within 3 s: ask again": 1})
    judge = RuleJudge(len)
    assert label(found, judge, out, SETTINGS).judged == 10
    assert len(judge.requests) == 2


@pytest.mark.parametrize("most", [1, 3, 4, 7, 19, 20, 40])
def test_no_more_is_asked_than_may_be(found: Pairs, tmp_path: Path, most: int) -> None:
    judge = RuleJudge(len)
    report = label(found, judge, tmp_path / "out.jsonl", settings(max_requests=most))
    assert len(judge.requests) == report.requests <= most
    assert report.requests >= min(20, most - 3)
    assert bool(report.stopped) == (report.judged < 10)


def test_no_more_tokens_are_spent_than_may_be(found: Pairs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    some = label(found, RuleJudge(len), out, settings(max_tokens=3_000))
    assert 0 < some.judged < 10 and some.tokens <= 3_000 and some.stopped
    more = label(found, RuleJudge(len), out, settings(max_tokens=3_000))
    assert more.judged == some.judged, "what was spent before counts"
    assert label(found, RuleJudge(len), out, SETTINGS).judged == 10


def test_a_look_writes_nothing_and_says_what_all_would_cost(found: Pairs, tmp_path: Path) -> None:
    judge = RuleJudge(len)
    seen = look(found, judge, SETTINGS, count=4)
    assert len(seen.seen) == 4 and len(judge.requests) == 8
    assert (seen.requests, seen.tokens) == (20, 2020)
    pair, asked, verdict = seen.seen[0]
    assert pair.prompt_text in asked and verdict.winner is not None
    assert [one.name for one in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize("most", [4, 7, 12, 16])
def test_a_look_asks_no_more_than_may_be(found: Pairs, most: int) -> None:
    judge = RuleJudge(len, lambda *_: "hm")  # each question is asked twice
    seen = look(found, judge, settings(max_requests=most), count=4)
    assert len(judge.requests) <= most and len(seen.seen) == most // 4
    assert seen.requests == 40


def test_a_look_that_may_ask_nothing_says_so(found: Pairs) -> None:
    with pytest.raises(UsageError, match=r"too little for one pair.*--max-requests"):
        look(found, RuleJudge(len), settings(max_requests=3))
    assert len(look(found, RuleJudge(len), settings(batch=2), count=4).seen) == 4, "the size of a batch is no cap"


def test_everywhere_is_everywhere() -> None:
    assert everywhere(range(31), 16) == [place * 31 // 16 for place in range(16)]
    assert everywhere(range(31), 16)[-1] == 29
    assert everywhere(range(3), 16) == [0, 1, 2]
    assert everywhere([], 16) == []


def test_a_journal_that_is_none_is_said(found: Pairs, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.verdicts"
    journal.write_text("{\n", "utf-8")
    with pytest.raises(BadData, match="1 is broken"):
        label(found, RuleJudge(len), out, SETTINGS)
    journal.write_text(json.dumps(SETTINGS.identity("rule")) + '\n{"a": 1}\n', "utf-8")
    with pytest.raises(BadData, match="no verdict"):
        label(found, RuleJudge(len), out, SETTINGS)


def test_two_at_a_time_are_refused(found: Pairs, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def meanwhile(number: int, verdict: str, _: ChatRequest) -> str:
        if number == 1:
            with pytest.raises(UsageError, match="another process writes"):
                label(found, RuleJudge(len), out, SETTINGS)
        return verdict

    assert label(found, RuleJudge(len, meanwhile), out, SETTINGS).judged == 10
