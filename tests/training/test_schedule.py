"""The learning rate against transformers' schedules, and its table."""

from __future__ import annotations

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.schedule import Shape, factor


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@given(steps=st.integers(2, 60), share=st.floats(0, 0.9))
def test_behind_the_warm_up_it_is_that_of_transformers(shape: Shape, steps: int, share: float) -> None:
    warmup = int(share * steps)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = getattr(transformers, f"get_{shape}_schedule_with_warmup")(optimizer, warmup, steps)
    for step in range(steps):
        if step >= warmup:
            assert factor(shape, step, steps, warmup_steps=warmup) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_the_table() -> None:
    table = [factor("wsd", step, 10, warmup_steps=3, decay_steps=4, least=0.2) for step in range(10)]
    assert table == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.8, 0.6, 0.4])
    assert factor("constant", 99, 100) == 1
    assert factor("cosine", 0, 10) == 1
    assert factor("linear", 0, 10, warmup_steps=1) == 0.5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.10"):
        factor("cosine", 0, 10, warmup_steps=11)
