"""Sentences against passages: equal spellings agree, what was altered is named, and the two sets keep their figures."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.assistant.answer.dates import clocks, dates
from openbook.assistant.answer.facts import facts, quantities
from openbook.assistant.answer.numerals import chinese, numbers
from openbook.assistant.answer.polarity import denies
from openbook.assistant.answer.verify import verify, verify_across

DATA = Path(__file__).parent / "data"


def rows(name: str) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


# What is equal


@pytest.mark.parametrize(
    "spelling",
    [
        "1,200",
        "1200 people",
        "1.2k",
        "1.2 thousand",
        "一千二百人",
        "一千二",
        "twelve hundred",
        "one thousand two hundred",
        "0.12万",
    ],
)
def test_a_number_in_all_its_spellings(spelling: str) -> None:
    assert Fraction(1200) in [number.value for number in numbers(spelling)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("二十七", 27),
        ("两百零三", 203),
        ("一百一十", 110),
        ("十", 10),
        ("二〇二六", 2026),
        ("三万五", 35_000),
        ("一亿二千万", 120_000_000),
    ],
)
def test_chinese_numerals(text: str, value: int) -> None:
    assert chinese(text) == value


@given(st.integers(0, 9_999_999))
def test_a_grouped_number_is_the_plain_one(value: int) -> None:
    assert [number.value for number in numbers(f"x {value:,} y")] == [value]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("700 km", "700 kilometres"),
        ("700 km", "七百公里"),
        ("€950", "950 euros"),
        ("EUR 145", "145欧元"),
        ("80元", "¥80"),
        ("一元二角", "1.2元"),
        ("10 %", "百分之十"),
        ("10 percent", "一成"),
        ("2 hours", "120分钟"),
        ("两周", "14 days"),
        ("半年", "6 months"),
        ("a third of it", "三分之一"),
        ("$2.4m", "2.4 million dollars"),
        ("60 °C", "60 degrees Celsius"),
        ("a year and a half", "18个月"),
    ],
)
def test_a_quantity_in_both_spellings(one: str, two: str) -> None:
    assert quantities(one, liberal=True)[0].equals(quantities(two, liberal=True)[0])


@pytest.mark.parametrize(
    ("one", "two"), [("8 days", "8 weeks"), ("5 km", "5 miles"), ("9 euros", "9 dollars"), ("3元", "3万元")]
)
def test_another_unit_is_another_quantity(one: str, two: str) -> None:
    assert not quantities(one)[0].equals(quantities(two)[0])


@pytest.mark.parametrize(
    "spelling",
    [
        "2026-09-01",
        "1 September 2026",
        "September 1st, 2026",
        "01/09/2026",
        "2026年9月1日",
        "二〇二六年九月一日",
        "on the morning of Sept 1, 2026",
    ],
)
def test_a_date_in_all_its_spellings(spelling: str) -> None:
    assert [date[:3] for date in dates(spelling)] == [(2026, 9, 1)]


@pytest.mark.parametrize("spelling", ["16:30", "4:30 p.m.", "下午四点半", "16点30分", "四点半"])
def test_a_time_in_all_its_spellings(spelling: str) -> None:
    assert any(16 * 60 + 30 in clock.minutes for clock in clocks(spelling))


def test_names_are_found_in_both_languages() -> None:
    assert facts("Dr. Helena Voss met the crew of LF-C80 at gate C.").names == ("LF-C80", "Helena Voss", "C")
    assert "云溪市轨道集团" in facts("该线由云溪市轨道集团建设。").names
    assert "将进酒" in facts("他读过《将进酒》。").names
    assert not verify("古列尔莫·马可尼读过信。", "信来了，古列尔莫·马可尼很高兴。")
    assert verify("古列尔莫·特斯拉读过信。", "信来了，古列尔莫·马可尼很高兴。")


@pytest.mark.parametrize(
    ("clause", "is_denied"),
    [
        ("It is never reused", True),
        ("It is not paid without consent", False),
        ("no later than 3 May", False),
        ("what was not used lapses", False),
        ("Subletting is prohibited", True),
        ("不得转租", True),
        ("未经同意不得转租", False),
        ("每次不超过三小时", False),
        ("没有休完的假期可以结转", False),
        ("孕妇禁用", True),
    ],
)
def test_what_denies(clause: str, is_denied: bool) -> None:
    assert denies(clause) is is_denied


# What is marked


def test_a_failure_is_named_in_words_of_the_sentence() -> None:
    [english] = verify("It costs 15 euros.", "A ticket costs 12 euros.")
    assert english == ("number", "the number 15 euros is not in the passage")
    [chinese_] = verify("票价15元。", "票价十二元。")
    assert chinese_ == ("number", "引文中没有数字 15元")


def test_a_wrong_unit_is_told_from_a_wrong_number() -> None:
    [failure] = verify("Ask 8 days ahead.", "Ask at least eight weeks ahead.")
    assert failure == ("unit", 'the passage has "eight weeks", not "8 days"')


def test_the_columns_of_a_table_give_units_to_its_cells() -> None:
    table = "Part | Price (EUR) | Lead time (days)\nPump | 80 | 45"
    assert not verify("The pump costs €80 and takes 45 days.", table)
    assert [failure.kind for failure in verify("The pump takes 45 weeks.", table)] == ["unit"]


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("A room in Hamburg is paid up to 145 euros.", []),
        ("A room in Hamburg is paid up to 190 euros.", ["number"]),
        ("In Oslo it is 190 euros and in Hamburg it is 145 euros.", []),
        ("In Oslo it is 145 euros and in Hamburg it is 190 euros.", ["number", "number"]),
    ],
)
def test_an_amount_is_compared_with_that_of_its_name(sentence: str, kinds: list[str]) -> None:
    passage = "The rates for each night are: Oslo 190 euros, Hamburg 145 euros, everywhere else 130 euros."
    assert [failure.kind for failure in verify(sentence, passage)] == kinds


def test_context_counts_for_names_and_numbers() -> None:
    assert verify("The Oslo office opened in 2019.", "The office opened then.")
    assert not verify("The Oslo office opened in 2019.", "The office opened then.", "Oslo > 2019")


def test_between_languages_numbers_and_dates_are_compared() -> None:
    assert not verify_across("年假有27天。", "Everybody has 27 days of annual leave.")
    assert [failure.kind for failure in verify_across("年假有28天。", "Everybody has 27 days of leave.")] == ["number"]


@pytest.mark.parametrize("piece", ["A.A", "111,", "一", "not w ", "a, ", "《", "赵·", "1,"])
def test_what_is_no_text_is_compared_without_end_or_error(piece: str) -> None:
    verify(piece * 1_500, piece * 1_500)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_can_be_compared(sentence: str, passage: str) -> None:
    for failure in verify(sentence, passage):
        assert failure.message


@pytest.mark.parametrize("row", rows("paraphrases.jsonl"), ids=lambda row: row["passage"][:24])
def test_paraphrases_agree_and_alterations_do_not(row: dict) -> None:  # type: ignore[type-arg]
    for sentence in row["true"]:
        assert not verify(sentence, row["passage"]), sentence
    for sentence in row["altered"]:
        assert verify(sentence, row["passage"]), sentence


def test_of_200_sentences_the_altered_are_marked_and_the_true_are_not() -> None:
    found = [(row["altered"], bool(verify(row["sentence"], row["passage"]))) for row in rows("checked_sentences.jsonl")]
    altered = [marked for kind, marked in found if kind]
    true = [marked for kind, marked in found if not kind]
    assert (len(altered), len(true)) == (100, 100)
    assert sum(altered) >= 95
    assert sum(true) <= 5


@pytest.mark.parametrize(
    ("sentence", "passage", "kind"),
    [
        ("The bus takes 3 hours.", "The train takes 3 hours and the bus 5 hours.", "number"),
        ("Backups are kept for 90 days.", "Data is kept for 90 days. Backups are kept for 12 months.", "number"),
        ("Maria opened the meeting at 11:30.", "Maria opened the meeting at 9:00. Peter closed it at 11:30.", "date"),
        ("Paul opened the meeting.", "Maria opened the meeting. Peter closed it.", "name"),
        ("Peter opened the meeting.", "Maria opened the meeting. Peter closed it.", "name"),
        ("李强负责财务。", "王芳负责财务，李强负责采购。", "name"),
        ("学生票每张六十元。", "团体票每张六十元，学生票每张三十元。", "number"),
        ("补贴每年三百元。", "补贴每月三百元，奖金每年一万元。", "unit"),
        ("工程已经恢复。", "工程于1975年停工，至今没有恢复。", "negation"),
        ("The bridge was reopened.", "The bridge was closed in 1978 and never reopened.", "negation"),
    ],
)
def test_what_the_passage_says_of_something_else_is_marked(sentence: str, passage: str, kind: str) -> None:
    assert kind in [failure.kind for failure in verify(sentence, passage)]
    assert not verify(passage, passage)


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("Unlike the bus the train takes 3 hours.", "The train is fast. It takes 3 hours. The bus takes 5 hours."),
        ("Maria opened the meeting.", "Maria came at 8:00. She opened the meeting with Peter."),
        ("Helena opened the meeting.", "Dr. Helena Voss came. Voss opened the meeting."),
        ("He opened the meeting.", "Maria greeted Paul. Paul opened the meeting."),
        ("Backups are stored for a year.", "Backups are kept for 12 months."),
        ("Without consent of a parent, minors may not enter.", "Minors without a parent's consent are refused entry."),
        ("学生票三十元一张。", "团体票每张六十元，学生票每张三十元。"),
    ],
)
def test_what_is_said_in_other_words_is_no_swap(sentence: str, passage: str) -> None:
    assert not verify(sentence, passage)
