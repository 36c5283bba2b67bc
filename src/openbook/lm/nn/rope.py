"""Rotary position embeddings: pairs of channels turned by an angle that grows with the position.

Source: Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 34, in the layout of the checkpoints: channel i is
paired with channel i + D/2. The scalings stretch the angles so that a model reads further than it was trained; each
function below names its paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from openbook.lm.nn.rope_config import RopeScaling


class Rotation(NamedTuple):
    """Of each token: `cos`, `sin` (N, D)."""

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True)
class Rope:
    """The rotation of a model: `head_dim` D, base `theta`, and how its angles are stretched up to `max_seq_len`."""

    head_dim: int
    theta: float = 10_000.0
    max_seq_len: int = 2_048
    scaling: RopeScaling = field(default_factory=RopeScaling)

    def __call__(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        """positions: (N,) int64 -> cosines and sines in `dtype`, computed in float32."""
        frequencies, factor = self.frequencies(positions)
        angles = torch.outer(positions.float(), frequencies)  # (N, D/2)
        angles = torch.cat([angles, angles], dim=-1)  # (N, D)
        return Rotation((angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype))

    def frequencies(self, positions: Tensor) -> tuple[Tensor, float]:
        """(D/2,) radians a position, and what cosines and sines are multiplied by."""
        match self.scaling.kind:
            case "default":
                return self._base(self.theta, positions), 1.0
            case "linear":
                return self._base(self.theta, positions) / self.scaling.factor, 1.0
            case "dynamic":
                return self._dynamic(positions), 1.0
            case "yarn":
                return self._yarn(positions)
            case "llama3":
                return self._llama3(positions), 1.0
            case "longrope":
                return self._longrope(positions)

    def _base(self, theta: float, positions: Tensor) -> Tensor:
        """theta^(-2i/D)"""
        steps = torch.arange(0, self.head_dim, 2, device=positions.device).float() / self.head_dim
        return 1.0 / theta**steps

    def _original(self) -> int:
        return self.scaling.original_max_seq_len or self.max_seq_len

    def _dynamic(self, positions: Tensor) -> Tensor:
        """A larger base once a sequence is longer than the model was trained for. Source: "NTK-aware" scaling, 2023."""
        length = max(int(positions.max()) + 1, self.max_seq_len) if len(positions) else self.max_seq_len
        stretch = self.scaling.factor * length / self.max_seq_len - (self.scaling.factor - 1)
        return self._base(self.theta * stretch ** (self.head_dim / (self.head_dim - 2)), positions)

    def _yarn(self, positions: Tensor) -> tuple[Tensor, float]:
        """Fast channels keep their frequency, slow ones are interpolated, those between are blended.

        Source: Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.2 and equation 22.
        """
        scaling, half = self.scaling, self.head_dim // 2

        def channel(turns: float) -> float:
            """The channel that turns so often over the original length."""
            return self.head_dim * math.log(self._original() / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        low, high = channel(scaling.beta_fast), channel(scaling.beta_slow)
        if scaling.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.head_dim - 1)
        high = high if high != low else high + 0.001  # as the authors' code has it
        ramp = (torch.arange(half, device=positions.device).float() - low) / (high - low)
        slow = ramp.clamp(0, 1)  # (D/2,) 1 where the channel is interpolated
        base = self._base(self.theta, positions)
        return base / scaling.factor * slow + base * (1 - slow), self._yarn_factor()

    def _yarn_factor(self) -> float:
        scaling = self.scaling
        if scaling.attention_factor is not None:
            return scaling.attention_factor

        def scale(weight: float) -> float:
            return 1.0 if scaling.factor <= 1 else 0.1 * weight * math.log(scaling.factor) + 1.0

        if scaling.mscale and scaling.mscale_all_dim:
            return scale(scaling.mscale) / scale(scaling.mscale_all_dim)
        return scale(1.0)

    def _llama3(self, positions: Tensor) -> Tensor:
        """Long waves are stretched, short ones are kept. Source: the Llama 3.1 release, https://arxiv.org/abs/2407.21783."""
        scaling, original = self.scaling, self._original()
        base = self._base(self.theta, positions)
        waves = original * base / (2 * math.pi)  # (D/2,) turns over the original length
        blend = (waves - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        blend = blend.clamp(0, 1)
        return (1 - blend) * base / scaling.factor + blend * base

    def _longrope(self, positions: Tensor) -> tuple[Tensor, float]:
        """A factor a channel, one list for short and one for long input. Source: https://arxiv.org/abs/2402.13753."""
        original = self._original()
        is_long = len(positions) > 0 and int(positions.max()) + 1 > original
        chosen = self.scaling.long_factor if is_long else self.scaling.short_factor
        stretch = torch.tensor(chosen, device=positions.device)
        factor = self.scaling.attention_factor
        if factor is None:
            ratio = self.scaling.factor
            factor = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
        return self._base(self.theta, positions) / stretch, factor


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """x: (N, H, D) -> the same, each head's pairs (i, i + D/2) turned by the token's angles."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * rotation.cos[:, None, :] + turned * rotation.sin[:, None, :]
