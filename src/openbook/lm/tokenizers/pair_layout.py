"""How a tokenizer puts two texts into one sequence, so that texts that were tokenised once can be joined in any pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from openbook.core.errors import ModelUnavailable

if TYPE_CHECKING:
    import tokenizers


class PairLayout(NamedTuple):
    """`begin` first `between` second `end`: special tokens around the ids of two texts. `second`: the segment of the second text
    and of what follows it; all before it is segment 0.
    """

    begin: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    second: int

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer) -> PairLayout:
        """Read off a pair of letters. ModelUnavailable for a tokenizer that puts nothing around and between two texts."""
        pair = backend.encode("a", "b")
        parts = {number: [place for place, one in enumerate(pair.sequence_ids) if one == number] for number in (0, 1)}
        if not parts[0] or not parts[1] or parts[0][0] == 0 or parts[1][0] == parts[0][-1] + 1:
            raise ModelUnavailable("the tokenizer has no form for a pair of texts", "use that of an encoder")
        first, second, ids = parts[0], parts[1], pair.ids
        return cls(
            tuple(ids[: first[0]]),
            tuple(ids[first[-1] + 1 : second[0]]),
            tuple(ids[second[-1] + 1 :]),
            pair.type_ids[second[0]],
        )

    @property
    def specials(self) -> int:
        return len(self.begin) + len(self.between) + len(self.end)

    def join(self, first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
        """(T,) ids and (T,) segments."""
        before = [*self.begin, *first, *self.between]
        after = [*second, *self.end]
        return before + after, [0] * len(before) + [self.second] * len(after)


def around(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """What is nearest to the place where two texts meet: the end of the first and the beginning of the second, the longer one cut
    more, `room` tokens at most.
    """
    over = len(first) + len(second) - room
    if over <= 0:
        return first, second
    half = room // 2
    keep = max(room - len(second), half) if len(first) > half else len(first)
    return first[len(first) - keep :], second[: room - keep]
