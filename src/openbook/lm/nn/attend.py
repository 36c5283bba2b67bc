"""softmax(Q K^T scale + bias) V: a fast path, and a plain path whose probabilities a hook can read.

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_SCORES = 768 * 768
"""Of one head, that are kept for a backward pass in bfloat16."""


class Probabilities(nn.Module):
    """softmax over the keys. A forward hook on this module sees (B, H, T, K) for every run of equal lengths."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)

    @property
    def is_read(self) -> bool:
        """Whether a hook wants to see them."""
        return bool(self._forward_hooks or self._forward_pre_hooks)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    probabilities: Probabilities,
    *,
    scale: float,
    causal: bool = False,
    window: int | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """q: (B, T, H, D); k, v: (B, K, G, D), G divides H -> (B, T, H, D).

    `causal`: queries are the last T of K tokens and look not ahead, and `window` tokens far. `bias` (H, T, K) is added to the
    scores. The plain path is taken while a hook sits on `probabilities`; the two agree to rounding.
    """
    T, K, shared = q.shape[1], k.shape[1], q.shape[2] // k.shape[2]
    q, k, v = (one.transpose(1, 2) for one in (q, k, v))  # (B, H, T, D), (B, G, K, D)
    is_hooked = probabilities.is_read
    # The fused kernel knows the triangle by itself: no (T, K) mask is made.
    is_triangle = causal and T == K and (window is None or window >= K) and bias is None and not is_hooked
    mask = causal_mask(T, K, window, q.device) if causal and not is_triangle else None
    if is_hooked:
        k, v = (one.repeat_interleave(shared, dim=1) for one in (k, v))
        scores = q @ k.transpose(-1, -2) * scale  # (B, H, T, K)
        scores = scores if bias is None else scores + bias
        scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
        mixed: Tensor = probabilities(scores) @ v
        return mixed.transpose(1, 2)
    if bias is not None and mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    if _is_slow_to_learn(q, T * K):
        triangle = causal_mask(T, K, None, q.device) if is_triangle else mask
        return _by_products(q, k, v, scale, triangle if bias is None else None, bias).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask if bias is None else bias,
        is_causal=is_triangle,
        scale=scale,
        enable_gqa=shared > 1,
    )
    return mixed.transpose(1, 2)


def _is_slow_to_learn(q: Tensor, scores: int) -> bool:
    """Whether the fused kernel's backward pass would be: that of a CPU takes two to four times as long in bfloat16 as products
    do, up to about a thousand tokens.
    """
    is_half = q.dtype == torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
    return is_half and q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad and scores <= MOST_SCORES


def _by_products(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    """The same in bfloat16 by matrix products, which keep the probabilities for the backward pass.

    q: (B, H, T, D); k, v: (B, G, K, D); `mask` (T, K) True where one looks, or `bias` (H, T, K) -> (B, H, T, D). The query heads
    of a key head are rows of one product.
    """
    B, H, T, D = q.shape
    G, K = k.shape[1:3]
    with torch.autocast("cpu", enabled=False):
        q, k, v = (one.to(torch.bfloat16) for one in (q, k, v))
        scores = (q * scale).reshape(B, G, H // G * T, D) @ k.transpose(-1, -2)  # (B, G, H / G T, K)
        if bias is not None:
            scores = (scores.view(B, H, T, K) + bias.to(scores.dtype)).view_as(scores)
        elif mask is not None:
            hidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, float("-inf"))
            scores = (scores.view(B, H, T, K) + hidden).view_as(scores)
        return (scores.softmax(dim=-1) @ v).view(B, H, T, D)


def causal_mask(T: int, K: int, window: int | None, device: torch.device) -> Tensor | None:
    """(T, K) True where the last T of K tokens may look: not ahead, `window` tokens far. None where all of them look
    everywhere."""
    if T == 1 and (window is None or window >= K):
        return None
    behind = torch.arange(K - T, K, device=device)[:, None] - torch.arange(K, device=device)  # (T, K) how far back
    return (behind >= 0) if window is None else (behind >= 0) & (behind < window)
