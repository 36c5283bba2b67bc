"""Where completions say their answers."""

from __future__ import annotations

import pytest

from openbook.training.rewards.final_answer import final_answer

CASES = [
    ("so $2+2=\\boxed{4}$.", "any", "4"),
    ("\\boxed{3}, no, \\boxed{\\frac{1}{2}}", "any", "\\frac{1}{2}"),
    ("\\boxed 5 apples", "any", "5"),
    ("\\fbox{7}", "any", "7"),
    ("\\boxed{\\text{a {b}} c}", "any", "\\text{a {b}} c"),
    ("She has <<2+2=4>>4.\n#### 4", "any", "4"),
    ("#### 3\nno\n#### 4\nbye", "any", "4"),
    ("<think>5 or 6</think><answer> 6 </answer>", "any", "6"),
    ("Then 3 more. The answer is **1,200**. It took 5 steps.", "any", "1,200"),
    ("The final answer is: 72 dollars", "any", "72 dollars"),
    ("所以答案是 12。检查 3 遍", "any", "12"),
    ("The answer is Mrs. Doyle's class.", "any", "Mrs. Doyle's class"),
    ("the answer is 4:30 p.m. on Monday. Then", "any", "4:30 p.m. on Monday"),
    ("3 and 4 make 7 apples, not 8,", "any", "8"),
    ("from 5-3 we get -2", "any", "-2"),
    ("5-3", "any", "3"),
    ("it is $\\frac{3}{4}$ of it", "any", "\\frac{3}{4}"),
    ("half, i.e. 1/2.", "any", "1/2"),
    ("#### 5\n\\boxed{6}", "hashes", "5"),
    ("\\boxed{6} 7", "last", "7"),
    ("the answer is 6", "boxed", None),
    ("\\boxed{6", "boxed", None),
    ("6", "tag", None),
    ("none", "any", None),
    ("", "any", None),
]


@pytest.mark.parametrize(("text", "place", "answer"), CASES)
def test_the_answer_of_a_completion(text: str, place, answer: str | None) -> None:  # type: ignore[no-untyped-def]
    assert final_answer(text, place) == answer
