"""What crosses between wings: chat messages and the protocols of generators, scorers, embedders and rerankers.

All protocols are thread-safe. Content is a tuple of parts (text or image) from the first day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
class ToolCall:
    """What the assistant wants called. `arguments`: JSON, as the model wrote it; `id`: what the result refers to."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """`tool_calls`: of an assistant. `tool_call_id`: of a tool, the call that this is the result of. `reasoning`: what an
    assistant thought before it spoke, for templates that show it again.
    """

    role: Role
    content: tuple[TextPart | ImagePart, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str = ""

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        return cls(role, (TextPart(text),))

    @classmethod
    def result_of(cls, call: ToolCall, text: str) -> Message:
        """What `call` gave, as the next message of the chat."""
        return cls("tool", (TextPart(text),), tool_call_id=call.id)

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
    chosen, None for none; before temperature, or after it (`tempered_logprobs`). `prompt_logprobs`: the same for the tokens of
    the prompt, with which `max_tokens` may be 0; the engine tells them, a `ChatModel` does not. `constraint`: a grammar that
    the answer must follow, as `serving.chat.grammar` writes it;
    a `ChatRequest` says it by `response_format` and `tool_choice`.
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
    prompt_logprobs: int | None = None
    tempered_logprobs: bool = False
    constraint: str | None = None


@dataclass(frozen=True)
class ToolDefinition:
    """A function that the model may call. `parameters`: the JSON schema of its arguments, an object. `is_strict`: arguments
    must follow it, also where the model calls of its own accord.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=lambda: {"type": "object", "properties": {}})
    is_strict: bool = False


@dataclass(frozen=True)
class NamedTool:
    """A choice: this function must be called."""

    name: str


ToolChoice = Literal["none", "auto", "required"] | NamedTool
"""Whether tools are called: never, as the model likes, at least one, or the one that is named."""


@dataclass(frozen=True)
class JsonFormat:
    """The answer is JSON that follows `schema`; any object where there is none."""

    schema: Mapping[str, object] | bool | None = None
    name: str = ""


@dataclass(frozen=True)
class RegexFormat:
    """The whole answer matches `pattern` (Rust's syntax: no look-around, no references back)."""

    pattern: str


@dataclass(frozen=True)
class ChoiceFormat:
    """The answer is one of `choices`."""

    choices: tuple[str, ...]


@dataclass(frozen=True)
class GrammarFormat:
    """The answer follows a grammar in llguidance's Lark syntax, from its rule `start`."""

    lark: str


ResponseFormat = JsonFormat | RegexFormat | ChoiceFormat | GrammarFormat


@dataclass(frozen=True)
class ChatRequest:
    """`response_format` None: text. `allows_parallel_calls` False: one call an answer. `reasoning`: whether the model thinks
    before it speaks; None as its template has it.
    """

    messages: tuple[Message, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = "auto"
    allows_parallel_calls: bool = True
    response_format: ResponseFormat | None = None
    reasoning: bool | None = None


@dataclass(frozen=True)
class Completion:
    """`reasoning`: what was thought before; no part of `text`. `cached_tokens`: of the prompt, those that were known."""

    text: str
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    cached_tokens: int = 0

    @property
    def message(self) -> Message:
        """The answer as a message of the chat that goes on."""
        return Message(
            "assistant", (TextPart(self.text),) if self.text else (), self.tool_calls, reasoning=self.reasoning
        )


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
