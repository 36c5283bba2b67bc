"""Cross-attention: the tokens of a decoder look at the tokens that an encoder has read.

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openbook.lm.nn.attend import Probabilities, attend
from openbook.lm.nn.batch import Batch, Run, runs_of
from openbook.lm.nn.linear import Linear


@dataclass(frozen=True)
class Source:
    """What a decoder looks at: the keys and values (M, H, D) of every layer, for S sequences of `lengths` laid end to end.

    Made once from the encoder's output and used at every step of a generation.
    """

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    lengths: Sequence[int]

    def runs(self, batch: Batch) -> list[tuple[int, Run]]:
        """Where the source of a run begins, and the run; its `visible` is the length of each of its sources.

        Raises ValueError unless there is one source for each sequence of the batch.
        """
        new = [run.length for run in batch.runs for _ in range(run.sequences)]
        if len(new) != len(self.lengths):
            raise ValueError(f"the decoder reads {len(new)} sequences, the encoder has read {len(self.lengths)}")
        begins = [0]
        for length in self.lengths:
            begins.append(begins[-1] + length)
        return [(begins[run.sequence], run) for run in runs_of(new, self.lengths)]


class CrossAttention(nn.Module):
    """softmax(Q K^T scale) V, queries from the decoder, keys and values from the encoder; nothing is masked.

    `layer`: its place in a `Source`.
    """

    def __init__(self, hidden_size: int, num_heads: int, head_dim: int, *, scale: float, layer: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale, self.layer = num_heads, head_dim, scale, layer
        self.q = Linear(hidden_size, num_heads * head_dim, bias=False)
        self.k = Linear(hidden_size, num_heads * head_dim, bias=False)
        self.v = Linear(hidden_size, num_heads * head_dim, bias=False)
        self.out = Linear(num_heads * head_dim, hidden_size, bias=False)
        self.probabilities = Probabilities()

    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """encoded: (M, E) -> keys and values (M, H, D)."""
        k, v = (one(encoded).unflatten(-1, (self.num_heads, self.head_dim)) for one in (self.k, self.v))
        return k, v

    def forward(self, x: Tensor, batch: Batch, source: Source) -> Tensor:
        """x: (N, E) -> (N, E)."""
        q = self.q(x).unflatten(-1, (self.num_heads, self.head_dim))  # (N, H, D)
        k, v = source.keys[self.layer], source.values[self.layer]  # (M, H, D)
        mixed = []
        for begin, run in source.runs(batch):
            B, T, K = run.sequences, run.length, run.visible
            rows, places = slice(run.start, run.start + B * T), slice(begin, begin + B * K)
            keys, values = (one[places].view(B, K, *one.shape[1:]) for one in (k, v))
            found = attend(
                q[rows].view(B, T, *q.shape[1:]), keys, values, self.probabilities, scale=self.scale
            )  # (B, T, H, D)
            mixed.append(found.flatten(2).flatten(0, 1))
        return self.out(mixed[0] if len(mixed) == 1 else torch.cat(mixed))  # type: ignore[no-any-return]
