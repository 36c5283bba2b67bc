"""The fields that say how tokens are chosen, shared by chats and completions: OpenAI's, and those that vLLM added."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from openbook.core.messages import (
    ChoiceFormat,
    GrammarFormat,
    JsonFormat,
    RegexFormat,
    ResponseFormat,
    SamplingParams,
)

MOST = 2**31 - 1
TokenId = Annotated[int, Field(ge=0, le=MOST)]
Stops = Annotated[list[str], Field(max_length=64)]


class Shape(BaseModel):
    """Fields that nobody knows are refused by name."""

    model_config = ConfigDict(extra="forbid")


class Harmless(Shape):
    """Fields of OpenAI's API that change no answer: taken, and ignored."""

    user: str | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


class StructuredOutputs(Shape):
    """vLLM's: one of them."""

    json_: dict[str, Any] | bool | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


class Sampling(Harmless):
    """temperature and top_p are 1 where nothing is said, as in OpenAI's API."""

    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=MOST)
    stop: str | Stops | None = None
    seed: int | None = Field(default=None, ge=-(2**62), le=2**62)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    top_k: int | None = Field(default=None, ge=-1, le=MOST)
    min_p: float | None = Field(default=None, ge=0, le=1)
    typical_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, ge=1e-4, le=1e4)
    stop_token_ids: Annotated[list[TokenId], Field(max_length=1_024)] | None = None
    ignore_eos: bool | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | bool | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None

    @property
    def count(self) -> int:
        return self.n or 1

    def params(self, max_tokens: int, logprobs: int | None) -> SamplingParams:
        """For the engine. ValueError for a key of logit_bias that is no token id."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return SamplingParams(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            max_tokens=max_tokens,
            stop=stop,
            seed=self.seed,
            top_k=max(self.top_k or 0, 0),  # vLLM's word for "all" is -1
            min_p=self.min_p or 0.0,
            typical_p=1.0 if self.typical_p is None else self.typical_p,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=tuple((_token(key), bias) for key, bias in (self.logit_bias or {}).items()),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=bool(self.ignore_eos),
            logprobs=logprobs,
        )

    def formats(self) -> list[ResponseFormat]:
        """What vLLM's fields ask of the answer's form; at most one makes sense."""
        said = self.structured_outputs
        json_schemas = [self.guided_json, said.json_ if said else None]
        patterns = [self.guided_regex, said.regex if said else None]
        choices = [self.guided_choice, said.choice if said else None]
        grammars = [self.guided_grammar, said.grammar if said else None]
        return [
            *(JsonFormat(one) for one in json_schemas if one is not None),
            *(RegexFormat(one) for one in patterns if one is not None),
            *(ChoiceFormat(tuple(one)) for one in choices if one is not None),
            *(GrammarFormat(one) for one in grammars if one is not None),
        ]


class StreamOptions(Shape):
    """`include_obfuscation` is taken and ignored."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _token(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and int(key[:12]) <= MOST and len(key) <= 12):
        raise ValueError(f"logit_bias has the key {key[:40]!r}: it must be the id of a token")
    return int(key)
