"""What is written into packed blocks is read again, in float32 and bfloat16."""

from __future__ import annotations

import pytest
import torch

from openbook.lm.nn.batch import Batch
from openbook.lm.nn.packed_cache import PackedStorage


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_written_is_read_again(dtype: torch.dtype) -> None:
    storage = PackedStorage(2, 8, 3, 32, dtype)
    tables = torch.tensor([[5, 2, 7], [1, 0, 6]])
    k, v = (torch.randn(2, 40, 3, 32).to(dtype) for _ in range(2))  # of two sequences
    seen = [0, 0]
    for lengths in ([20, 3], [1, 36], [19, 1]):
        batch = Batch.of(lengths, cache=storage.view(tables), seen=seen)
        ends = [before + length for before, length in zip(seen, lengths, strict=True)]
        new_k, new_v = (torch.cat([one[s, seen[s] : ends[s]] for s in range(2)]) for one in (k, v))
        assert batch.cache is not None
        batch.cache.write(1, batch, new_k, new_v)
        seen = ends
    assert seen == [40, 40]
    batch = Batch.of([1, 1], cache=storage.view(tables), seen=[39, 39])
    assert batch.cache is not None
    keys, values = batch.cache.read(1, batch.runs[0])
    assert torch.equal(keys, k) and torch.equal(values, v)
    assert not storage.k[0].any()
    storage.copy(2, 4)
    assert torch.equal(storage.v[:, 4], storage.v[:, 2])
