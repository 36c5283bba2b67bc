"""A token counter for libraries without an embedder: words, numbers, signs and single CJK characters."""

from __future__ import annotations

import re

_PIECE = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff]"  # one CJK character
    r"|[^\W\d_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff]{1,7}"
    r"|\d{1,3}|[^\w\s]|_"
)


class ApproximateTokens:
    """A `TokenCounter` that needs no model: within about a fifth of BERT's count on English and Chinese prose.

    A run of letters counts one token for every seven, digits one for three, a CJK character or a sign one each.
    """

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each token, code points, in order."""
        return [match.span() for match in _PIECE.finditer(text)]
