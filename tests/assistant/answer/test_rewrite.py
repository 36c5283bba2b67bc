"""Follow-up questions made to stand alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.assistant.answer.courtesy import without_courtesies
from openbook.assistant.answer.rewrite import standalone

DIALOGUES = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "dialogues.jsonl").read_text("utf-8").splitlines()
]
OSLO = [("What does the company pay for a room in Oslo?", "190 euros a night.")]
TESLA = [("When did Tesla attain his patent?", "In 1900.")]
RAIL = [("龙烟铁路位于哪里？", "龙烟铁路位于胶东半岛北侧海岸。")]
TERM = [("专利权的期限是多久？", "发明专利权的期限为二十年。")]
ROOMS = [("北京的住宿费上限是多少？", "每晚六百五十元。")]


@pytest.mark.parametrize(
    ("question", "history", "expected"),
    [
        ("And in Hamburg?", OSLO, "What does the company pay for a room in Hamburg?"),
        ("What about Gdansk?", OSLO, "What does the company pay for a room in Gdansk?"),
        ("When were his patents restored?", TESLA, "When were Tesla's patents restored?"),
        ("What is a twin prime?", TESLA, "What is a twin prime?"),
        ("Is it possible to book online?", OSLO, "Is it possible to book online?"),
        ("Is there a car park?", OSLO, "Is there a car park?"),
        (
            "Where is it based?",
            [("Which company builds it?", "Energiprojekt AB.")],
            "Where is Energiprojekt AB based?",
        ),
        (
            "How much is the last one?",
            [("Which parts are there?", "A pump, a valve, and a gas detector.")],
            "How much is gas detector?",
        ),
        ("那上海呢？", ROOMS, "上海的住宿费上限是多少？"),
        ("其他城市呢？", ROOMS, "其他城市的住宿费上限是多少？"),
        ("它投资多少？", RAIL, "龙烟铁路投资多少？"),
        ("这条铁路是谁出资的？", RAIL, "龙烟铁路是谁出资的？"),
        ("前面说的铁路投资多少？", RAIL, "龙烟铁路投资多少？"),
        ("由谁出资？", RAIL, "龙烟铁路由谁出资？"),
        ("吉他怎么调音？", RAIL, "吉他怎么调音？"),
        ("什么是孪生素数？", RAIL, "什么是孪生素数？"),
        ("超过了怎么办？", TERM, "超过了怎么办？（专利权，期限）"),
        ("要是没交怎么办？", TERM, "要是没交怎么办？（专利权，期限）"),
        ("到期了呢？", TERM, "到期了（专利权，期限）"),
        ("为什么？", TERM, "为什么？（专利权，期限）"),
        ("然后呢？", TERM, "专利权的期限是多久？"),
        ("火灾怎么办？", TERM, "火灾怎么办？"),
        ("商标呢？", TERM, "商标的期限是多久？"),
        ("商标呢？", [*TERM, ("超过了怎么办？", "专利权终止。")], "超过了怎么办？（商标，期限）"),
        ("商标呢？", [("哪些发明不能授予专利权？", "科学发现。")], "哪些发明不能授予商标？"),
        ("交通费呢？", [("住宿费超标怎么办？", "自理。")], "交通费超标怎么办？"),
        ("没用完怎么办？", [("员工每年有几天年假？", "十五天。")], "没用完怎么办？（员工，年假）"),
        ("好的，谢谢！那上海呢？", ROOMS, "上海的住宿费上限是多少？"),
        ("那上海呢？", [*ROOMS, ("谢谢！", "")], "上海的住宿费上限是多少？"),
        ("谢谢", ROOMS, "谢谢"),
        ("Thanks!", OSLO, "Thanks!"),
        ("Thanks! And in Hamburg?", OSLO, "What does the company pay for a room in Hamburg?"),
        ("Who approves?", OSLO, "Who approves? (Oslo, company, pay, room)"),
        ("后者有多长？", [("甲线和乙线在哪里？", "在北方。")], "乙线有多长？"),
    ],
)
def test_what_is_carried_and_what_is_not(question: str, history: list[tuple[str, str]], expected: str) -> None:
    assert standalone(question, history) == expected


def test_a_subject_is_carried_over_several_turns() -> None:
    history = [*OSLO, ("And in Hamburg?", "145 euros."), ("What about Gdansk?", "110 euros.")]
    assert standalone("And in Bergen?", history) == "What does the company pay for a room in Bergen?"


def test_an_abstention_is_not_what_was_spoken_of() -> None:
    history = [("Who runs the Nordlicht office?", "The library has no answer to this question.")]
    assert "library" not in standalone("And where is it?", history)


def test_without_history_the_question_stays() -> None:
    assert standalone("And in Hamburg?", []) == "And in Hamburg?"


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue["id"])
def test_dialogues_carry_their_subject_and_leave_new_ones_alone(dialogue: dict) -> None:  # type: ignore[type-arg]
    """The names of the question that stands alone by hand are in ours, unless they are only its own paraphrase."""
    history: list[tuple[str, str]] = []
    for turn in dialogue["turns"]:
        found = standalone(turn["question"], history)
        if turn["question"] == turn["standalone"]:
            assert found == turn["question"]
        elif dialogue["kind"] in ("pronoun", "ellipsis"):
            assert found != turn["question"]
        history.append((turn["question"], turn["answer"]))


def test_the_dialogues_are_what_they_are_said_to_be() -> None:
    kinds = [(one["language"], one["kind"]) for one in DIALOGUES]
    assert len(kinds) == 40
    assert {kinds.count(kind) for kind in kinds} == {5}
    assert all(len(one["turns"]) == 3 for one in DIALOGUES)


@given(st.text(max_size=80), st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=3))
def test_any_text_is_understood_somehow(question: str, history: list[tuple[str, str]]) -> None:
    once = standalone(question, history)
    assert once == standalone(question, history)
    assert bool(once.strip()) >= bool(question.strip())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Thanks!", ""),
        ("OK, thank you very much.", ""),
        ("I see.", ""),
        ("谢谢", ""),
        ("好的，谢谢你！", ""),
        ("明白了。", ""),
        ("你好，年假有几天？", "年假有几天？"),
        ("Great, and who approves it?", "and who approves it?"),
        ("Thanksgiving is when?", "Thanksgiving is when?"),
        ("好处是什么？", "好处是什么？"),
        ("了解公司规定的渠道有哪些？", "了解公司规定的渠道有哪些？"),
        ("What is a thank you note?", "What is a thank you note?"),
        ("Great Britain has how many counties?", "Great Britain has how many counties?"),
        ("Is that all?", "Is that all?"),
    ],
)
def test_thanks_and_greetings_ask_nothing(text: str, left: str) -> None:
    assert without_courtesies(text) == left
