"""How much memory of keys and values is taken and holds nothing yet."""

from __future__ import annotations

from collections.abc import Iterable

from openbook.serving.engine.sequence import Sequence


def kv_waste(running: Iterable[Sequence], block_size: int) -> float:
    """Of the blocks of sequences that run: slots that hold no token yet, over those that hold one. 0 where none runs."""
    used: dict[int, int] = {}  # a block that several share counts once, as full as the longest has it
    for one in running:
        for place, block in enumerate(one.block_table):
            filled = min(max(one.num_computed - place * block_size, 0), block_size)
            used[block] = max(used.get(block, 0), filled)
    total = sum(used.values())
    return (len(used) * block_size - total) / total if total else 0.0
