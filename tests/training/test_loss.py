"""The cross-entropy in chunks against torch's own: the loss, and the gradients of hidden states and weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from openbook.lm.nn.linear import Linear
from openbook.training import loss as losses
from openbook.training.loss import cross_entropy_sum


def made(rows: int, bias: bool = False, seed: int = 0) -> tuple[torch.Tensor, Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    head = Linear(24, 301, bias=bias)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    hidden = torch.randn(rows, 24, generator=generator, requires_grad=True)
    return hidden, head, torch.randint(301, (rows,), generator=generator)


@given(rows=st.integers(1, 100), bias=st.booleans(), seed=st.integers(0, 9))
def test_loss_and_gradients_are_those_of_torch(rows: int, bias: bool, seed: int) -> None:
    hidden, head, targets = made(rows, bias, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_BYTES", 20 * 4 * 301)
        patch.setattr(losses, "GROUP_BYTES", 50 * 4 * 301)
        patch.setattr(losses, "LEAST_ROWS", 16)
        found = cross_entropy_sum(hidden, head, targets)
        (found / 7).backward()
    gradients = [hidden.grad, *(one.grad for one in head.parameters())]
    hidden.grad = None
    head.zero_grad()
    expected = F.cross_entropy(head(hidden), targets, reduction="sum")
    (expected / 7).backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(gradients, [hidden.grad, *(one.grad for one in head.parameters())], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_costs_none() -> None:
    hidden, head, targets = made(9)
    head.requires_grad_(False)
    cross_entropy_sum(hidden, head, targets).backward()
    assert hidden.grad is not None
    assert head.weight.grad is None


def test_a_second_backward_pass_is_refused_and_not_wrong() -> None:
    hidden, head, targets = made(9)
    found = cross_entropy_sum(hidden, head, targets)
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        found.backward()


def test_groups_of_a_large_vocabulary_are_not_small_and_alike() -> None:
    """Each is added to the gradient of the whole table."""
    assert losses._group_rows(600, row_bytes=10**9) == 300
    assert losses._group_rows(600, row_bytes=1) == 600
    assert losses._group_rows(0, row_bytes=1) == 1


def test_autocast_multiplies_in_bfloat16_and_sums_in_float32() -> None:
    hidden, head, targets = made(40)
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_entropy_sum(hidden, head, targets)
    found.backward()
    assert found.dtype == torch.float32
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32
    expected = F.cross_entropy(head(hidden), targets, reduction="sum")
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=0.1)


def test_a_model_without_a_head_is_told() -> None:
    hidden, _, targets = made(2)
    with pytest.raises(ValueError, match="no head"):
        cross_entropy_sum(hidden, None, targets)
