"""Pages give what contiguous storage gives, wherever the blocks lie and however the tokens come."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import TINY
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cache import ContiguousCache
from openbook.lm.nn.paged import PagedStorage

MODEL = new_model(TINY, seed=3).requires_grad_(False)
SHAPE = (MODEL.config.num_kv_heads, MODEL.config.head_dim, torch.float32)


@given(data=st.data())
def test_pages_equal_contiguous_storage(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=2), min_size=1, max_size=4))
    size = data.draw(st.integers(1, 4))
    longest = 5 * len(steps)
    per_sequence = -(-longest // size)
    order = data.draw(st.permutations(range(2 * per_sequence + 1)))
    tables = torch.tensor(order[: 2 * per_sequence]).view(2, per_sequence)
    storage = PagedStorage(2, len(order), size, *SHAPE)
    plain = ContiguousCache(2, 2, longest, *SHAPE)
    seen, token = [0, 0], 1
    for lengths in steps:
        ids = torch.arange(token, token + sum(lengths)) % 300
        token += sum(lengths)
        paged = MODEL(ids, Batch.of(lengths, cache=storage.view(tables), seen=seen))
        wanted = MODEL(ids, Batch.of(lengths, cache=plain, seen=seen))
        torch.testing.assert_close(paged, wanted, atol=1e-5, rtol=1e-5)
        seen = [old + new for old, new in zip(seen, lengths, strict=True)]


def test_two_sequences_share_the_blocks_of_a_prefix() -> None:
    storage = PagedStorage(2, 5, 2, *SHAPE)
    prefix = torch.tensor([5, 6, 7, 8])
    MODEL(prefix, Batch.of([4], cache=storage.view(torch.tensor([[0, 1]]))))
    tables = torch.tensor([[0, 1, 2], [0, 1, 3]])
    both = MODEL(torch.tensor([9, 10]), Batch.of([1, 1], cache=storage.view(tables), seen=[4, 4]))
    for row, last in enumerate((9, 10)):
        alone = MODEL(torch.cat([prefix, torch.tensor([last])]), Batch.of([5]))[-1]
        torch.testing.assert_close(both[row], alone, atol=1e-5, rtol=1e-5)
