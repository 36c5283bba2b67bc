from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.tokenizers.approximate import ApproximateTokens
from openbook.lm.tokenizers.encoder import CheckpointTokens


@given(st.text())
def test_spans_are_in_order_and_hold_all_that_is_no_space(text: str) -> None:
    spans = ApproximateTokens().spans(text)
    assert all(start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    covered = {place for span in spans for place in range(*span)}
    assert all(text[place].isspace() for place in set(range(len(text))) - covered)


def test_about_as_many_as_the_real_tokenizer_counts(minilm: Path) -> None:
    text = (
        "Every employee is entitled to 25 days of annual leave. Unused days may be carried over until the 31st of "
        "March of the following year, provided that the department agrees in writing. 每位员工每年享有二十五天带薪年假。"
    )
    real, approximate = len(CheckpointTokens(minilm).spans(text)), len(ApproximateTokens().spans(text))
    assert approximate == pytest.approx(real, rel=0.2)
