"""What may be asked is what can be paid whatever comes back."""

from __future__ import annotations

import pytest

from openbook.core.errors import UsageError
from openbook.core.messages import ChatRequest, Completion, Message, SamplingParams
from openbook.training.generate.budget import Budget

REQUEST = ChatRequest((Message.of("user", "one two three"),), SamplingParams(max_tokens=50))
MOST = 10 + 50
"""(3 words + 4 of the turn) x 1.5, and the longest answer."""


@pytest.mark.parametrize(("tokens", "room"), [(MOST - 1, 0), (MOST, 1), (2 * MOST - 1, 1), (2 * MOST, 2), (None, 5)])
def test_the_longest_answers_are_paid_for_beforehand(tokens: int | None, room: int) -> None:
    assert Budget(most_tokens=tokens).room([REQUEST] * 5) == room
    assert Budget(most_requests=3, most_tokens=tokens).room([REQUEST] * 5) == min(room, 3)


def test_what_was_spent_is_as_it_was_told_or_counted() -> None:
    budget = Budget(most_requests=4)
    budget.pay(REQUEST, Completion("four words are said", "stop", 9, 5))
    budget.pay(REQUEST, Completion("four words are said", "stop"))
    budget.pay(REQUEST, ValueError("failed"))
    assert budget.spent == (3, 9 + 7, 5 + 4)
    assert budget.room([REQUEST] * 5) == 1
    with pytest.raises(UsageError, match="max_requests is 0"):
        Budget(most_requests=0)
