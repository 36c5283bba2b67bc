"""What crosses between wings: chat messages and the protocols of generators, scorers, embedders and rerankers.

All protocols are thread-safe. Content is a tuple of parts (text or image) from the first day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role = Literal["system", "user", "assistant", "tool"]
TextKind = Literal["query", "passage"]


@dataclass(frozen=True)
class TextPart:
    text: str


@dataclass(frozen=True)
class ImagePart:
    data: bytes
    media_type: str


@dataclass(frozen=True)
class Message:
    role: Role
    content: tuple[TextPart | ImagePart, ...]

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        return cls(role, (TextPart(text),))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. temperature 0 is greedy; `max_tokens` counts generated tokens.

    Applied in this order: penalties and `logit_bias`, temperature, then what may still be drawn: the `top_k` likeliest (0: all),
    the fewest that hold `top_p`, those at least `min_p` as likely as the likeliest, the `typical_p` most typical. `seed` and a
    token's place fix its draw, whatever runs beside it; None draws a seed. `stop`: strings, `stop_token_ids`: tokens that end
    the answer, beside those of the model unless `ignore_eos`. `logprobs`: how many likeliest tokens are told for each that was
    chosen, None for none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None


@dataclass(frozen=True)
class ChatRequest:
    messages: tuple[Message, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class ModelLimits:
    """`context_tokens`: prompt and answer together; None when the endpoint does not say."""

    context_tokens: int | None = None


class ChatModel(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> ModelLimits: ...
    def complete(self, request: ChatRequest) -> Completion: ...
    def stream(self, request: ChatRequest) -> Iterator[str]:
        """Pieces of the answer; closing the iterator cancels the request."""
        ...

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]: ...


class TokenCounter(Protocol):
    """What a splitter needs of a tokenizer; picklable by name, free of torch."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each token, code points, in order, special tokens left out."""
        ...


class Embedder(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str:
        """Identity of the vectors: weights and everything that changes them (pooling, prompts), not precision."""
        ...

    @property
    def dimension(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def languages(self) -> frozenset[str]:
        """Languages that it was trained for, as `detect_language` names them ("en", "zh", ...)."""
        ...

    @property
    def tokens(self) -> TokenCounter: ...
    @property
    def truncated(self) -> int:
        """How many texts so far were longer than `max_tokens`, so that their ends are not in their vectors."""
        ...

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        """(N, E) float32, L2-normalised."""
        ...


class TokenVectors(NamedTuple):
    """Of one text: `vectors` (T, E) float32, each L2-normalised; `spans` (T, 2) the code points of each token."""

    vectors: NDArray[np.float32]
    spans: NDArray[np.int64]


@runtime_checkable
class TokenEmbedder(Protocol):
    """An `Embedder` that also gives the vectors of single tokens, before they are pooled into one."""

    @property
    def max_tokens(self) -> int: ...
    @property
    def tokens(self) -> TokenCounter: ...
    def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Each text's tokens in order, special tokens left out; what is over `max_tokens` is cut."""
        ...


class Reranker(Protocol):
    @property
    def name(self) -> str: ...
    def rank(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N,) relevance of each text; higher is better."""
        ...


class Scorer(Protocol):
    """Scores pairs, e.g. whether the second passage continues the first (next-sentence prediction)."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(N,) each in [0, 1]."""
        ...
