"""The body of /v1/completions. Source: https://platform.openai.com/docs/api-reference/completions/create"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openbook.app.server.shapes.sampling import MOST, Sampling, StreamOptions, TokenId

Ids = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
"""The first item that is no id ends it: a list of very many prompts is held against each shape that it may have."""
USUAL_MAX_TOKENS = 16


class CompletionBody(Sampling):
    """`max_tokens` 0 with `echo` reads a text without going on with it. `return_token_ids`, as in vLLM: the ids of what was
    written, its end token among them, and with `logprobs` that of the end token too. `tempered_logprobs`: log-probabilities are
    those that tokens were drawn with.
    """

    prompt: (
        str
        | Ids
        | Annotated[list[str], Field(min_length=1, fail_fast=True)]
        | Annotated[list[Ids], Field(min_length=1, fail_fast=True)]
    )
    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=0, le=MOST)
    best_of: int | None = Field(default=None, ge=1, le=128)
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: None = None
    return_token_ids: bool | None = None
    tempered_logprobs: bool | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """One or several, as text or ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[one for one in self.prompt if isinstance(one, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]
