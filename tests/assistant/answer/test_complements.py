"""A sentence that copies a passage's subject and says it is something else is told; what only puts it otherwise is not."""

from __future__ import annotations

import pytest

from openbook.assistant.answer.complements import other_complements
from openbook.assistant.answer.verify import verify

MILL = "Oakley Mill\n\nThe founder of the Oakley mill is bison. The colour of the Oakley mill is amber."
HOUSE = "这座房子的颜色是红色。房子的主人是老王。"


@pytest.mark.parametrize(
    ("sentence", "passage", "held"),
    [
        ("The founder of the Oakley mill is onyx.", MILL, "bison"),
        ("The colour of the Oakley mill is bright teal.", MILL, "amber"),
        ("这座房子的颜色是蓝色。", HOUSE, "红色"),
    ],
)
def test_another_complement_is_told(sentence: str, passage: str, held: str) -> None:
    assert [one.held for one in other_complements(sentence, passage)] == [held]
    assert "complement" in {failure.kind for failure in verify(sentence, passage)}


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        ("The founder of the Oakley mill is bison.", MILL),
        ("The founder of the Oakley mill was Mr Bison.", MILL),
        ("The owner of the Oakley mill is onyx.", MILL),  # nothing is said of an owner
        ("The founder of the Oakley mill is amber.", MILL),  # the word is there: not for this rule to say of what
        ("The form for travel is handed in late.", "The form for travel is submitted by Friday."),
        ("The travel form is available.", "The travel form is kept in the office."),
        ("The travel form is free.", "The travel form is not free."),  # negation is compared elsewhere
        ("It is onyx.", "It is bison."),
        ("房子的主人是老王。", HOUSE),
    ],
)
def test_what_may_be_meant_is_left_alone(sentence: str, passage: str) -> None:
    assert not list(other_complements(sentence, passage))
