"""Which reranker a search has: one that was given, or that of the package where it was measured to win or is asked for."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import Reranker
from openbook.library.embed.default import check_default, default_directory
from openbook.library.retrieve import fuse
from openbook.library.retrieve.rerank import DEPTH, Reranking, RerankNote
from openbook.library.retrieve.weights import rerank_weights
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.weights import Shipped, shipped

if TYPE_CHECKING:
    from openbook.library.embed.pairs import CrossEncoder

NAME: Shipped = "reranker-en"
LANGUAGES = frozenset({"en"})
Purpose = Literal["search", "ask"]
"""Whose passages are reranked: what is shown, or what is read for an answer. Each has its own measured default."""


class Wanted(NamedTuple):
    """`on`: None where the measured default counts, which reranks what vectors helped to find, and without torch only."""

    on: bool | None = None
    depth: int = DEPTH
    purpose: Purpose = "search"


class Chosen(NamedTuple):
    """`note`: why a reranker that would be used is not. `warning`: why the one that was asked for is not there."""

    reranking: Reranking | None = None
    note: RerankNote | None = None
    warning: str = ""


def choose_reranking(
    wanted: Wanted, given: Reranker | None, embedder_hash: str | None, language: str, *, has_vectors: bool
) -> Chosen:
    """What reranks a query in `language` over the vectors of `embedder_hash` (None: a library without vectors).

    A reranker that was `given` orders alone. ModelUnavailable where the files of the package are broken, UsageError for a depth
    that a search does not have.
    """
    if not 1 <= wanted.depth <= fuse.DEPTH:
        raise UsageError(f"{wanted.depth} passages cannot be reranked", f"1 to {fuse.DEPTH}")
    if wanted.on is False:
        return Chosen()
    if given is not None:
        return Chosen(Reranking(given.name, given.rank, 1.0, wanted.depth))
    row = rerank_weights(embedder_hash, NAME)
    if wanted.on is None and not (has_vectors and getattr(row, wanted.purpose) and not why_not_int8()):
        return Chosen()
    if reason := why_no_reranker():
        return Chosen(warning=f"nothing was reranked: {reason}" if wanted.on else "")
    if language not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        reason = f"the query is in {language!r}, the reranker reads {known}"
        return Chosen(note=RerankNote(NAME, row.weight, skipped=reason))
    return Chosen(Reranking(NAME, shipped_reranker().logits, row.weight, wanted.depth, LANGUAGES))


def why_no_reranker() -> str:
    """Why the package's reranker is not there; empty where it is."""
    base = default_directory()
    if base is None:
        return "its encoder is not installed (`openbook setup embedder` installs it)"
    try:
        check_default(base)
        shipped(NAME)
    except ModelUnavailable as error:
        return error.message
    return ""


@cache
def shipped_reranker() -> CrossEncoder:
    """The reranker of the package over the default encoder, in bytes and without torch where the processor can.

    ModelUnavailable where `why_no_reranker`, and where the files of the package are broken.
    """
    base = default_directory()
    if base is None:
        raise ModelUnavailable("the encoder of the reranker is not installed", "`openbook setup embedder`")
    check_default(base)
    from openbook.library.embed.pairs import CrossEncoder

    return CrossEncoder(base, "auto", shipped(NAME))
