"""In bfloat16 with gradients attention is products of matrices: as close to float32 as the fused kernel, in all its forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.nn import attend as module
from openbook.lm.nn.attend import Probabilities, attend

FORMS = {
    "whole": {},
    "causal": {"causal": True},
    "window": {"causal": True, "window": 5},
    "biased": {"bias": True},
    "biased and causal": {"causal": True, "bias": True},
}


def _ready(dtype: torch.dtype, T: int, K: int) -> list[Tensor]:
    torch.manual_seed(1)
    shapes = (2, T, 4, 8), (2, K, 2, 8), (2, K, 2, 8), (4, T, K)
    return [torch.randn(shape).to(torch.bfloat16).to(dtype).requires_grad_() for shape in shapes]


def _found(tensors: list[Tensor], form: dict[str, object]) -> list[Tensor]:
    q, k, v, bias = tensors
    said = form | ({"bias": bias} if "bias" in form else {})
    out = attend(q, k, v, Probabilities(), scale=0.4, **said)  # type: ignore[arg-type]
    torch.manual_seed(2)
    (out * torch.randn(out.shape).to(torch.bfloat16).to(out.dtype)).sum().backward()  # type: ignore[no-untyped-call]
    return [out.detach(), *(one.grad for one in tensors if one.grad is not None)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("lengths", [(9, 9), (4, 9), (1, 1)])
def test_learning_in_bfloat16_is_as_exact_as_the_fused_kernel(
    form: dict[str, object], lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = _found(_ready(torch.float32, *lengths), form)
    ours = _found(_ready(torch.bfloat16, *lengths), form)
    monkeypatch.setattr(module, "MOST_SCORES", 0)
    fused = _found(_ready(torch.bfloat16, *lengths), form)
    for right, mine, theirs in zip(exact, ours, fused, strict=True):
        off, other = ((one.float() - right).norm() / right.norm().clamp_min(1e-6) for one in (mine, theirs))
        assert off <= max(2 * other, 0.015), (off, other)


def test_the_fused_kernel_stays_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    real = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: called.append(1) or real(*a, **k))
    for dtype, is_fused in ((torch.bfloat16, False), (torch.float32, True)):
        called.clear()
        _found(_ready(dtype, 9, 9), {})
        assert bool(called) == is_fused
        with torch.no_grad():
            _found_without_gradients(dtype)
        assert called


def _found_without_gradients(dtype: torch.dtype) -> None:
    q, k, v, _ = _ready(dtype, 9, 9)
    attend(q, k, v, Probabilities(), scale=0.4)


def test_under_autocast_it_is_in_bfloat16() -> None:
    tensors = _ready(torch.float32, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(*tensors[:3], Probabilities(), scale=0.4, causal=True)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is not None and one.grad.dtype == torch.float32 for one in tensors[:3])
