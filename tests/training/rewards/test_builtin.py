"""Built-in rewards: numbers, choices, forms, lengths."""

from __future__ import annotations

import pytest

from openbook.training.rewards.builtin import ChoiceReward, FormatReward, LengthReward, NumberReward, OverlongReward
from openbook.training.rewards.sampled import Fault
from reward_samples import sampled

SOLUTION = "Mia had 4 boxes of 6 pens, 4*6=<<4*6=24>>24.\nShe gave 5 away and has 24-5=<<24-5=19>>19.\n#### 19"


def test_a_reference_solution_is_right_and_another_number_wrong() -> None:
    wrong = SOLUTION.replace("#### 19", "#### 20")
    samples = [sampled(one, answer=SOLUTION) for one in (SOLUTION, wrong, "19 pens", "It is 18.")]
    assert NumberReward()(samples) == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("answer", [19, 19.0, "19", "19 (pens)", "\\boxed{19}", "$19"])
def test_the_answer_of_a_row_has_many_forms(answer: object) -> None:
    assert NumberReward()([sampled(SOLUTION, answer=answer)]) == [1.0]


def test_an_answer_in_words() -> None:
    assert NumberReward()([sampled(one, answer="Mia") for one in ("Mia", "The answer is Mia.", "Tom")]) == [1, 1, 0]


def test_only_where_the_answer_is_to_stand() -> None:
    strict = NumberReward(place="boxed")
    assert strict([sampled(one, answer=4) for one in ("\\boxed{4}", "#### 4", "4")]) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("row", [{}, {"answer": None}, {"answer": ""}, {"answer": True}, {"answer": [1]}])
def test_a_row_without_an_answer_is_a_fault(row: dict[str, object]) -> None:
    (score,) = NumberReward()([sampled("4", **row)])
    assert isinstance(score, Fault) and score.kind == "row" and "answer" in score.message


def test_another_key() -> None:
    assert NumberReward(key="gold")([sampled("4", gold=4)]) == [1.0]


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("B", 1), ("(B)", 1), ("B.", 1), ("B. Paris", 1), ("The answer is (B).", 1), ("\\boxed{\\text{B}}", 1), ("答案是B", 1),
        ("<answer>B</answer>", 1), ("A is wrong, so it must be B", 1), ("A", 0), ("The answer is C, not B", 0), ("Berlin", 0),
        ("", 0), ("A man is not B, but C", 0),
    ],
)  # fmt: skip
def test_choices(completion: str, value: float) -> None:
    assert ChoiceReward()([sampled(completion, answer="B")]) == [value]


def test_choices_of_other_names() -> None:
    reward = ChoiceReward(choices=("yes", "no", "maybe"))
    assert reward([sampled("I say no", answer="no"), sampled("know", answer="no")]) == [1.0, 0.0]
    (score,) = reward([sampled("no", answer="D")])
    assert isinstance(score, Fault)


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>a</think><answer>4</answer>", 1),
        (" <think>\na\n</think>\n<answer>4</answer>\n", 1),
        ("<think>a</think><answer></answer>", 0),
        ("<think>a</think>4", 0),
        ("<answer>4</answer><think>a</think>", 0),
        ("<think>a</think><answer>4</answer> and more", 0),
        ("<think>a<think>b</think><answer>4</answer>", 0),
        ("<think>a</think><answer>4</answer><answer>5</answer>", 0),
        ("", 0),
    ],
)
def test_a_form(completion: str, value: float) -> None:
    assert FormatReward()([sampled(completion)]) == [value]


def test_the_first_tag_may_stand_in_the_prompt() -> None:
    opened = FormatReward(is_opened=True)
    assert opened([sampled("a</think><answer>4</answer>"), sampled("<think>a</think><answer>4</answer>")]) == [1.0, 0.0]
    assert FormatReward(tags=("plan", "code", "end"))([sampled("<plan>a</plan><code>b</code><end>c</end>")]) == [1.0]


def test_lengths() -> None:
    samples = [sampled("", tokens=tokens) for tokens in (0, 50, 100, 150, 200, 900)]
    assert LengthReward("length", 100)(samples) == [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert OverlongReward("overlong", 200, 100)(samples) == [0.0, 0.0, 0.0, -0.5, -1.0, -1.0]
