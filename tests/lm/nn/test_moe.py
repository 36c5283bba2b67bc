"""Experts grouped by token against every expert run on every token, and the loss that keeps them busy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.nn.balance import balance, balance_loss, router_logits
from openbook.lm.nn.moe import Moe


def made(experts: int = 4, top_k: int = 2, *, is_normalised: bool = True, shared_size: int = 0, seed: int = 0) -> Moe:
    moe = Moe(6, 5, experts, top_k, "silu", is_normalised=is_normalised, shared_size=shared_size).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.normal_(0.0, 1.0, generator=generator)
    return moe


def plain(moe: Moe, x: Tensor) -> Tensor:
    """All experts on all tokens, weighed by their probability where they are among the k likeliest."""
    p = F.linear(x, moe.router.weight).softmax(-1)
    kept = p >= p.sort(descending=True).values[:, moe.top_k - 1, None]
    p = p * kept
    p = p / p.sum(-1, keepdim=True) if moe.is_normalised else p
    gate, up = (torch.einsum("ne,xie->nxi", x, one) for one in (moe.experts.gate, moe.experts.up))
    said = torch.einsum("nxi,xei->nxe", F.silu(gate) * up, moe.experts.down)
    out = torch.einsum("nx,nxe->ne", p, said)
    if moe.shared is not None and moe.shared_gate is not None:
        out = out + torch.sigmoid(x @ moe.shared_gate.weight.T) * moe.shared(x)
    return out


@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), st.sampled_from((0, 3)), st.integers(0, 99))
def test_grouped_experts_equal_all_experts(tokens: int, top_k: int, normalised: bool, shared: int, seed: int) -> None:
    moe = made(4, top_k, is_normalised=normalised, shared_size=shared, seed=seed)
    x = torch.randn(tokens, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    found, wanted = moe(x), plain(moe, x)
    assert torch.allclose(found, wanted, atol=1e-6)  # the probabilities are float32
    parameters = list(moe.parameters())
    grads = torch.autograd.grad(found.square().sum(), parameters)
    others = torch.autograd.grad(wanted.square().sum(), parameters)
    largest = max(float(one.abs().max()) for one in others)
    for one, other in zip(grads, others, strict=True):
        assert float((one - other).abs().max()) < 1e-5 * largest


def test_a_token_gets_the_same_answer_in_any_company() -> None:
    moe = made()
    x = torch.randn(7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([moe(row[None]) for row in x])
    assert torch.allclose(moe(x), alone, atol=1e-12)


def test_even_experts_cost_k_and_a_favourite_costs_more() -> None:
    even = torch.eye(4) * 1e-3  # each token prefers its own expert by a hair
    assert float(balance_loss([even], 1)) == pytest.approx(1.0, abs=1e-3)
    assert float(balance_loss([torch.tensor([[9.0, 0, 0, 0]] * 5)], 1)) == pytest.approx(4.0, abs=0.01)


def test_the_loss_of_a_step_is_that_of_its_micro_batches_added_up() -> None:
    generator = torch.Generator().manual_seed(1)
    layers = [torch.randn(10, 5, generator=generator) for _ in range(3)]
    whole = balance_loss(layers, 2)
    parts = balance([one[:3] for one in layers], 2) + balance([one[3:] for one in layers], 2)
    assert torch.allclose(parts.loss(), whole)
    means = (balance_loss([one[:3] for one in layers], 2) + balance_loss([one[3:] for one in layers], 2)) / 2
    assert not torch.allclose(means, whole)  # which is why the sums are kept, and not the losses


def test_routers_are_heard_inside_the_block_only() -> None:
    moe = made()
    x = torch.randn(5, 6, dtype=torch.float64)
    with router_logits(moe) as said:
        moe(x)
    moe(x)
    assert [tuple(one.shape) for one in said] == [(5, 4)]
    balance_loss(said, 2).backward()
    assert moe.router.weight.grad is not None
    with pytest.raises(ValueError, match="no router has spoken"):
        balance_loss([], 2)
