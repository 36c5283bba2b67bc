"""A server that writes completions: `POST /v1/completions` with ids in, ids and log-probabilities out where it tells them.

Source of the shapes: https://platform.openai.com/docs/api-reference/completions/create, and vLLM's `return_token_ids`
(https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html). Read without trust: whatever is no completion is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.endpoint import Endpoint
from openbook.serving.remote import RemoteChatModel
from openbook.training.rollouts.written import Prompted, Written

_SEEDS = 2**62
"""Ours takes no larger ones, and others take 64 bits."""
_EXTRAS = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True, "tempered_logprobs": True}
"""Beyond OpenAI's API: nothing but temperature changes what is drawn, whatever the server's defaults are."""
_REMEDY = "serve the policy with `openbook serve --model DIR --allow-weight-updates`, or with vLLM"
_UPDATE = "/update_weights_from_disk"


class CompletionServer:
    """Thread-safe. Every failure is a ModelUnavailable. `timeout_s`: for a whole reply."""

    def __init__(
        self,
        endpoint: Endpoint,
        tokenizer: Tokenizer,
        end_tokens: Sequence[int],
        *,
        vocab_size: int,
        timeout_s: float = 600.0,
        connections: int = 8,
        attempts: int = 5,
        pause_s: float = 0.5,
    ) -> None:
        self.endpoint, self._tokenizer, self._vocab_size = endpoint, tokenizer, vocab_size
        self._ends = tuple(end_tokens)
        named: dict[str, Any] = {"timeout_s": timeout_s, "attempts": attempts, "pause_s": pause_s}
        self._remote = RemoteChatModel(endpoint, connections=connections, **named)
        root = replace(endpoint, url=endpoint.url.removesuffix("/v1"))
        self._root = RemoteChatModel(root, connections=1, **named)
        self._extras: dict[str, Any] = _EXTRAS
        self.gives_ids = self.gives_logprobs = False

    @property
    def name(self) -> str:
        """Of the model; the first that the server lists where none was named."""
        return self._remote.name

    @property
    def context(self) -> int | None:
        """The most tokens of prompt and completion, where the server says it."""
        return self._remote.limits.context_tokens

    def probe(self) -> None:
        """Finds out, by one token, what it tells."""
        asked = Prompted([self._ends[0]], 1, 0, 1)
        try:
            choice = self._choices(asked, 1.0)[0]
        except ModelUnavailable as error:
            if not any(name in str(error) for name in _EXTRAS):
                raise
            self._extras = {}  # a server that minds fields which it does not know
            choice = self._choices(asked, 1.0)[0]
        self.gives_ids = isinstance(choice.get("token_ids"), list)
        self.gives_logprobs = self.gives_ids and isinstance(choice.get("logprobs"), dict)

    def write(self, asked: Prompted, temperature: float) -> list[Written]:
        return [self._written(one, asked.max_tokens) for one in self._choices(asked, temperature)]

    def update(self, directory: Path) -> None:
        """From now on it writes with the weights there, which it has to see under the same path."""
        reply = self._root.post(_UPDATE, {"model_path": str(directory)})
        if reply.get("success") is not True:
            raise self.endpoint.error(
                f"did not take the weights: {str(reply.get('message'))[:300]}",
                "let rollout.push be a folder that it sees under the same path",
            )

    def close(self) -> None:
        """Its connections; asked again, it makes new ones."""
        self._remote.close()
        self._root.close()

    def _choices(self, asked: Prompted, temperature: float) -> list[dict[str, Any]]:
        body = {
            "model": self.name,
            "prompt": asked.ids,
            "n": asked.n,
            "seed": asked.seed % _SEEDS,
            "temperature": temperature,
            "top_p": 1.0,
            "max_tokens": asked.max_tokens,
            "logprobs": 0,
        }
        extras = {**self._extras, "stop_token_ids": list(self._ends)} if self._extras else {}
        choices = self._remote.post("/completions", body | extras).get("choices")
        if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
            raise self._nonsense("no list of completions")
        if len(choices) != asked.n:
            raise self._nonsense(f"{len(choices)} completions, not {asked.n}")
        places = [one.get("index", place) for place, one in enumerate(choices)]
        if any(type(one) is not int for one in places) or sorted(places) != list(range(asked.n)):
            raise self._nonsense(f"completions with the indices {str(places)[:80]}")
        return [choices[places.index(place)] for place in range(asked.n)]

    def _written(self, choice: dict[str, Any], most: int) -> Written:
        reason = choice.get("finish_reason")
        if reason not in ("stop", "length"):
            raise self._nonsense(f"a completion that ended with {str(reason)[:80]!r}")
        if self.gives_ids:
            ids = self._ids(choice.get("token_ids"), most)
            logprobs = (
                self._logprobs(choice.get("logprobs"), len(ids)) if self.gives_logprobs else [math.nan] * len(ids)
            )
        else:
            ids = self._again(choice.get("text"))
            logprobs = [math.nan] * len(ids)
        if reason == "stop" and (not ids or ids[-1] not in self._ends):
            ids, logprobs = [*ids, self._ends[0]], [*logprobs, math.nan]  # the end that it did not tell
        ids, logprobs = ids[:most], logprobs[:most]
        return Written(ids, logprobs, bool(ids) and ids[-1] in self._ends)

    def _ids(self, said: object, most: int) -> list[int]:
        if not isinstance(said, list) or not all(type(one) is int and 0 <= one < self._vocab_size for one in said):
            raise self._nonsense(f"token ids that are not those of this model ({self._vocab_size:,} tokens)")
        if len(said) > most:
            raise self._nonsense(f"{len(said):,} tokens, more than the {most:,} that were asked for")
        return list(said)

    def _logprobs(self, said: object, count: int) -> list[float]:
        """A last token of which nothing is told is the end token, which some servers leave out."""
        told = said.get("token_logprobs") if isinstance(said, dict) else None
        if not isinstance(told, list) or len(told) not in (count, count - 1):
            raise self._nonsense("log-probabilities that are not one for each token")
        if not all(isinstance(one, int | float) and math.isfinite(one) and one < 1e-3 for one in told):
            raise self._nonsense("log-probabilities that are none")
        return [*map(float, told), *[math.nan] * (count - len(told))]

    def _again(self, text: object) -> list[int]:
        if not isinstance(text, str):
            raise self._nonsense("a completion without text")
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _nonsense(self, what: str) -> ModelUnavailable:
        return self.endpoint.error(f"sent {what}", _REMEDY)
