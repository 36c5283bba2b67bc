"""The shapes of an OpenAI-compatible chat endpoint: the request's body, a reply, a stream of events, a list of models."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, Literal

from openbook.core.errors import EmptyAnswer, UsageError
from openbook.core.messages import ChatRequest, Completion, ImagePart, Message, SamplingParams
from openbook.serving.endpoint import Endpoint
from openbook.serving.wire_tools import CallCollector, asked_for, calls_from, plain_call

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Listing = dict[str, int | None]
"""Names of models, with the longest prompt and answer in tokens where it is told."""

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
_LENGTHS = ("max_model_len", "context_length", "context_window", "n_ctx")
"""What vLLM, OpenRouter, Groq and llama.cpp call the longest context in their lists."""

_SAID_WHEN_CHANGED = (
    *("top_p", "presence_penalty", "frequency_penalty"),
    *("top_k", "min_p", "typical_p", "repetition_penalty", "stop_token_ids", "ignore_eos"),  # vLLM's and llama.cpp's
)


def request_body(request: ChatRequest, model: str, *, stream: bool, length_key: str = "max_tokens") -> dict[str, Any]:
    """`length_key`: some newer models want "max_completion_tokens" instead. UsageError for a compiled grammar, which is the
    engine's own.
    """
    sampling = request.sampling
    if sampling.constraint is not None:
        raise UsageError("a compiled grammar is for the engine in this process", "ask with response_format instead")
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "temperature": sampling.temperature,
        length_key: sampling.max_tokens,
        "stream": stream,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    usual = SamplingParams()
    return (
        asked_for(request)
        | body
        | {name: said for name in _SAID_WHEN_CHANGED if (said := getattr(sampling, name)) != getattr(usual, name)}
    )


def _message(message: Message) -> dict[str, Any]:
    """Plain text where there is nothing else: not every server takes a list of parts."""
    beside: dict[str, Any] = {}
    if message.tool_calls:
        beside["tool_calls"] = [plain_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        beside["tool_call_id"] = message.tool_call_id
    if not any(isinstance(part, ImagePart) for part in message.content):
        return {"role": message.role, "content": message.text or (None if message.tool_calls else "")} | beside
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            data = base64.b64encode(part.data).decode("ascii")
            parts.append({"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}})
        else:
            parts.append({"type": "text", "text": part.text})
    return {"role": message.role, "content": parts} | beside


def parse_json(endpoint: Endpoint, body: bytes) -> dict[str, Any]:
    """The object that `body` holds; raises `ModelUnavailable`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise endpoint.error(f"sent no JSON ({error})", "check that the URL ends in /v1") from None
    if not isinstance(value, dict):
        raise endpoint.error(f"sent {type(value).__name__} instead of an object", "check the URL")
    return value


def completion_from(endpoint: Endpoint, reply: dict[str, Any]) -> Completion:
    """Raises `ModelUnavailable` for an error, another shape, or an empty answer."""
    if reply.get("error"):
        raise endpoint.error(f"answered with an error: {_said(reply['error'])}", "check the model's name and its log")
    try:
        choice = reply["choices"][0]
        text = _text(choice["message"].get("content"))
        whole = Completion(
            text, "stop", tool_calls=calls_from(choice["message"]), reasoning=_reasoning(choice["message"])
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise endpoint.error(f"sent another shape than a chat completion ({error!r})", "check the URL") from None
    return _completion(endpoint, whole, choice.get("finish_reason"), reply.get("usage"))


def parse_listing(endpoint: Endpoint, reply: dict[str, Any]) -> Listing:
    rows = reply.get("data")
    if not isinstance(rows, list):
        raise endpoint.error("sent another shape than a list of models", "name the model after #")
    return {str(row["id"]): _length(row) for row in rows if isinstance(row, dict) and row.get("id")}


class StreamReader:
    """Collects server-sent events: `feed` each line, gives the new text of it; `is_done` after the last."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.is_done = False
        self._endpoint = endpoint
        self._parts: list[str] = []
        self._reasoning: list[str] = []
        self._calls = CallCollector()
        self._finish: str | None = None
        self._usage: Any = None

    def feed(self, line: str) -> str:
        if not line.startswith("data:"):
            return ""  # an empty line, a comment that keeps the connection alive, or another field
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self.is_done = True
            return ""
        event = parse_json(self._endpoint, data.encode("utf-8"))
        if event.get("error"):
            raise self._endpoint.error(f"broke off with an error: {_said(event['error'])}", "ask again")
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices:
            return ""  # the last event of some servers holds the usage alone
        try:
            self._finish = choices[0].get("finish_reason") or self._finish
            delta = choices[0].get("delta") or {}
            text = _text(delta.get("content"))
            self._reasoning.append(_reasoning(delta))
            self._calls.add(delta)
        except (AttributeError, TypeError, KeyError) as error:
            raise self._endpoint.error(f"sent another shape than a chat stream ({error!r})", "check the URL") from None
        self._parts.append(text)
        return text

    def completion(self) -> Completion:
        """The whole answer; raises `ModelUnavailable` when the stream ended before it did."""
        if not self.is_done and self._finish is None:
            raise self._endpoint.error("ended its stream in the middle of the answer", "ask again")
        try:
            calls = self._calls.calls()
        except KeyError as error:
            raise self._endpoint.error(f"sent another shape than a chat stream ({error!r})", "check the URL") from None
        said = Completion("".join(self._parts), "stop", tool_calls=calls, reasoning="".join(self._reasoning))
        return _completion(self._endpoint, said, self._finish, self._usage)


def _completion(endpoint: Endpoint, said: Completion, finish: Any, usage: Any) -> Completion:
    reason = _FINISH.get(str(finish), "stop")
    if not said.text.strip() and not said.tool_calls:
        cause = ": all tokens were spent before the answer began" if reason == "length" else ""
        error = endpoint.error(f"sent an empty answer{cause}", "ask again, or name another model after #")
        raise EmptyAnswer(error.message, error.remedy)
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("prompt_tokens_details")
    return replace(
        said,
        finish_reason=reason,
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
    )


def _reasoning(message: dict[str, Any]) -> str:
    """What was thought: vLLM, DeepSeek and llama.cpp call it reasoning_content, OpenRouter and Ollama reasoning."""
    return _text(message.get("reasoning_content") or message.get("reasoning"))


def _text(content: Any) -> str:
    """The text of a message: a string, a list of parts, or nothing."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    raise TypeError(f"content is {type(content).__name__}")


def _said(error: Any) -> str:
    return str(error.get("message") if isinstance(error, dict) and error.get("message") else error)[:300]


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _length(row: dict[str, Any]) -> int | None:
    return next((row[key] for key in _LENGTHS if isinstance(row.get(key), int)), None)
