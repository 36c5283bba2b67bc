"""Log-probabilities of tokens in chunks: those of all logits at once, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from openbook.lm.nn.linear import Linear
from openbook.training import logprobs
from openbook.training.logprobs import TargetLogprobs, per_sequence

M, E, V = 37, 8, 21


def drawn() -> tuple[Tensor, Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    head = Linear(E, V, bias=False)
    nn.init.normal_(head.weight)
    head.requires_grad_(True)
    hidden, upstream = torch.randn(M, E, requires_grad=True), torch.randn(M)
    return hidden, head, torch.randint(V, (M,)), upstream


def plain(hidden: Tensor, head: nn.Module, targets: Tensor, temperature: float = 1.0) -> Tensor:
    return (head(hidden) / temperature).log_softmax(1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("rows", [1, 5, 1_000])
@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_are_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, rows: int, is_plain: bool, temperature: float
) -> None:
    """Each token's gradient has a factor of its own, as in losses of whole answers."""
    monkeypatch.setattr(logprobs, "_rows", lambda _: rows)
    hidden, head, targets, upstream = drawn()
    wanted = plain(hidden, head, targets, temperature)
    by_hidden, by_weight = torch.autograd.grad(wanted, (hidden, head.weight), upstream)
    used = head if is_plain else nn.Sequential(head)
    asked = TargetLogprobs(targets, temperature=temperature, wants_entropy=True)
    found = asked(hidden, used)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    shares = (head(hidden) / temperature).softmax(1)
    torch.testing.assert_close(asked.entropies, -(shares * shares.log()).sum(1).detach(), rtol=0, atol=1e-5)
    again = torch.autograd.grad(found, (hidden, head.weight), upstream)
    torch.testing.assert_close(again[0], by_hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(again[1], by_weight, rtol=0, atol=1e-5)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head, targets, upstream = drawn()
    head.requires_grad_(False)
    TargetLogprobs(targets)(hidden, head).backward(upstream)  # type: ignore[no-untyped-call]
    assert head.weight.grad is None and hidden.grad is not None


def test_sums_are_float32_under_autocast() -> None:
    hidden, head, targets, upstream = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        found = TargetLogprobs(targets)(hidden, head)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain(hidden, head, targets), rtol=0, atol=0.1)
    found.backward(upstream)  # type: ignore[no-untyped-call]
    assert hidden.grad is not None and hidden.grad.dtype == torch.float32


def test_sums_of_sequences() -> None:
    found = per_sequence(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 2]), 3)
    assert found.tolist() == [2.0, 0.0, 5.0]


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match="no head"):
        TargetLogprobs(torch.zeros(1, dtype=torch.int64))(torch.zeros(1, E), None)
