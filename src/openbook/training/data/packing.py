"""Samples of uneven length into rows of at most so many tokens, nearly full.

A row is no sequence: its samples lie end to end and do not see each other (`lm.nn.batch`). Rows make steps of equal work.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Best fit, longest first: each sample goes where the least room is left behind it. The rows, as places in `lengths`.

    At most 11/9 of the least number of rows that is possible, and 1 (Johnson 1973, thesis at MIT). Raises ValueError for a
    sample that is longer than `size`.
    """
    if any(length > size for length in lengths):
        raise ValueError(f"a sample has {max(lengths)} tokens, a row {size}")
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), by tokens
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        at = bisect_left(room, (lengths[place], 0))
        left, row = room.pop(at) if at < len(room) else (size, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(place)
        if left > lengths[place]:
            insort(room, (left - lengths[place], row))
    return rows


def fill_rate(lengths: Sequence[int], size: int) -> tuple[int, float]:
    """Rows that samples of these lengths take, and the share of their places that hold a token."""
    rows = len(pack(lengths, size))
    return rows, sum(lengths) / (rows * size) if rows else 0.0
