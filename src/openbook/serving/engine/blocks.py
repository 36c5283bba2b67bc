"""Who owns which block of the cache: reference counts, prefixes that can be found again, and the oldest given up first.

Every block is in one of three states: in use (some sequence refers to it), cached (none does, but its tokens are known and
may come again), or free. in use + cached + free = all, after every call.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict, deque
from collections.abc import Sequence


class BlockManager:
    """`num_blocks` blocks of `block_size` tokens. Nothing here touches memory: it says which block is whose."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks, self.block_size = num_blocks, block_size
        self._free: deque[int] = deque(range(num_blocks))
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently given up first
        self._references = [0] * num_blocks
        self._hash_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_cached(self) -> int:
        return len(self._cached)

    @property
    def num_in_use(self) -> int:
        return self.num_blocks - self.num_free - self.num_cached

    @property
    def num_available(self) -> int:
        """Blocks that `allocate` can give: free ones, and cached ones whose tokens are then forgotten."""
        return self.num_free + self.num_cached

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """`count` blocks with one reference each. The caller has looked at `num_available`."""
        assert count <= self.num_available, "allocate() without looking at num_available"
        return [self._take() for _ in range(count)]

    def _take(self) -> int:
        if self._free:
            block = self._free.popleft()
        else:
            block, _ = self._cached.popitem(last=False)
            self._forget(block)
        self._references[block] = 1
        return block

    def _forget(self, block: int) -> None:
        known = self._hash_of[block]
        if known is not None:
            del self._block_of[known]
            self._hash_of[block] = None

    def share(self, blocks: Sequence[int]) -> None:
        """One more reference to each; a cached block is in use again."""
        for block in blocks:
            if self._references[block] == 0:
                del self._cached[block]
            self._references[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One reference less to each. The last of a sequence is given up first, so that beginnings live longest."""
        for block in reversed(blocks):
            self._references[block] -= 1
            assert self._references[block] >= 0, f"block {block} was released more often than it was taken"
            if self._references[block] == 0:
                if self._hash_of[block] is None:
                    self._free.append(block)
                else:
                    self._cached[block] = None

    def is_shared(self, block: int) -> bool:
        """Whether it must be copied before it is written to."""
        return self._references[block] > 1

    def seal(self, block: int, known_as: bytes) -> None:
        """A full block can be found by `known_as` from now on; nothing happens when another block has these tokens already."""
        if known_as not in self._block_of and self._hash_of[block] is None:
            self._block_of[known_as] = block
            self._hash_of[block] = known_as

    def find(self, hashes: Sequence[bytes]) -> list[int]:
        """The blocks of the longest beginning of `hashes` that is known."""
        found = []
        for one in hashes:
            block = self._block_of.get(one)
            if block is None:
                break
            found.append(block)
        return found

    def forget_all(self) -> None:
        """After the weights have changed: what is cached is no longer true."""
        for block in range(self.num_blocks):
            self._forget(block)
        self._free.extend(self._cached)
        self._cached.clear()


def block_hashes(tokens: Sequence[int], block_size: int, salt: bytes = b"", before: bytes | None = None) -> list[bytes]:
    """The names of the full blocks of `tokens`: of a block's tokens and of all before it. `salt` keeps users apart, so that
    neither time nor `cached_tokens` tells one what another has asked. `before`: the name of the block in front.
    """
    last = hashlib.blake2b(salt, digest_size=16).digest() if before is None else before
    names = []
    for start in range(0, len(tokens) - block_size + 1, block_size):
        piece = array("q", tokens[start : start + block_size]).tobytes()
        last = hashlib.blake2b(last + piece, digest_size=16).digest()
        names.append(last)
    return names
