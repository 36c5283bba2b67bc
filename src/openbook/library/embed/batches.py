"""Texts in batches of like length, so that nothing is padded and no batch is too large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def token_batches(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Places in batches of at most `limit` tokens (at least one text), sorted by length, longest first."""
    batch: list[int] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and tokens + lengths[place] > limit:
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += lengths[place]
    if batch:
        yield batch
