"""A chat model behind an OpenAI-compatible `/v1/chat/completions` URL (Ollama, vLLM, DeepSeek, ...).

`RemoteChatModel` satisfies `core.messages.ChatModel`: retries with growing pauses, a deadline for the whole answer,
errors that name the cure. The key comes from OPENBOOK_API_KEY, else OPENAI_API_KEY, and appears in no message.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from openbook.core.errors import ModelUnavailable
from openbook.core.keys import api_key, without_key
from openbook.core.messages import ChatRequest, Completion, ModelLimits
from openbook.serving.endpoint import Endpoint
from openbook.serving.wire import Listing, StreamReader, completion_from, parse_json, parse_listing, request_body

if TYPE_CHECKING:
    import httpx

Piece = TypeVar("Piece", str, bytes)

MOST_REPLY_BYTES = 8_000_000
_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE_S = 30.0
_LIST_TIMEOUT_S = 15.0


class RemoteChatModel:
    """Thread-safe. `timeout_s` holds for a whole answer, `connect_timeout_s` for reaching the host; `connections` is
    how many requests of `complete_many` run at a time. Redirects are not followed. Every failure is a
    `ModelUnavailable`. `key`: in place of the one in the environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        key: str | None = None,
        timeout_s: float = 300.0,
        connect_timeout_s: float = 10.0,
        connections: int = 8,
        attempts: int = 4,
        pause_s: float = 0.5,
    ) -> None:
        self.endpoint = endpoint
        self._key = key
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._connections = connections
        self._attempts = attempts
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._listing: Listing | None = None
        self._limits: ModelLimits | None = None
        self._length_key = "max_tokens"

    @property
    def name(self) -> str:
        """The model's name; the first that the endpoint lists where none was given."""
        return self.endpoint.model or self._first_model()

    @property
    def limits(self) -> ModelLimits:
        """What the endpoint's list of models says; nothing where it says nothing or has no list."""
        if self._limits is None:
            try:
                listing = self._models(attempts=1)
                self._limits = ModelLimits(listing.get(self.name))
            except ModelUnavailable:
                self._limits = ModelLimits()
        return self._limits

    def complete(self, request: ChatRequest) -> Completion:
        with self._posted(request, stream=False) as (response, deadline):
            whole = completion_from(self.endpoint, parse_json(self.endpoint, self._body(response, deadline)))
        return self._as_asked(request, whole)

    def stream(self, request: ChatRequest) -> Generator[str, None, Completion]:
        """Pieces of the answer; closing the iterator cancels the request. Returns the whole as a `Completion`."""
        with self._posted(request, stream=True) as (response, deadline):
            reader = StreamReader(self.endpoint)
            if "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
                whole = completion_from(self.endpoint, parse_json(self.endpoint, self._body(response, deadline)))
                yield whole.text
                return self._as_asked(request, whole)
            size = 0
            for line in self._guarded(response.iter_lines()):
                size += len(line)
                self._check(size, deadline)
                piece = reader.feed(line)
                if piece:
                    yield piece
                if reader.is_done:
                    break
            return self._as_asked(request, reader.completion())

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """(index, answer or error) as they come; closing the iterator drops what has not begun."""
        pool = ThreadPoolExecutor(max_workers=max(1, min(self._connections, len(requests))))
        try:
            running = {pool.submit(self.complete, request): index for index, request in enumerate(requests)}
            for future in as_completed(running):
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield running[future], error if isinstance(error, Exception) else future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that the endpoint answers at `path` below its URL, with the same retries, deadline and errors."""
        with self._sent("POST", path, body) as (response, deadline):
            return parse_json(self.endpoint, self._body(response, deadline))

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _as_asked(self, request: ChatRequest, whole: Completion) -> Completion:
        """`whole`, when it has the format that was asked for: not every server minds it, and some take no notice."""
        is_cut = whole.finish_reason != "stop" or request.sampling.stop or request.sampling.stop_token_ids
        if request.response_format is not None and not is_cut and not whole.tool_calls:
            from openbook.serving.chat.check import unlike

            if problem := unlike(whole.text, request.response_format):
                raise self.endpoint.error(
                    f"did not keep to the format that was asked for ({problem})",
                    "take a server that guarantees formats, e.g. `openbook serve --model DIR`",
                )
        return whole

    def _first_model(self) -> str:
        names = list(self._models())
        if not names:
            raise self.endpoint.error("lists no model", "load one there, or name it after #")
        return names[0]

    def _models(self, attempts: int | None = None) -> Listing:
        """The names of the models there, with their longest prompt where it is told; asked for once."""
        if self._listing is None:
            with self._sent("GET", "/models", None, attempts) as (response, deadline):
                self._listing = parse_listing(self.endpoint, parse_json(self.endpoint, self._body(response, deadline)))
        return self._listing

    @contextmanager
    def _posted(self, request: ChatRequest, *, stream: bool) -> Iterator[tuple[httpx.Response, float]]:
        body = request_body(request, self.name, stream=stream, length_key=self._length_key)
        with self._sent("POST", "/chat/completions", body) as sent:
            yield sent

    @contextmanager
    def _sent(
        self, method: str, path: str, body: dict[str, Any] | None, attempts: int | None = None
    ) -> Iterator[tuple[httpx.Response, float]]:
        """A reply with status 200 whose body is unread, and the moment when it must have been read."""
        import httpx

        most_s = self._timeout_s if body is not None else min(self._timeout_s, _LIST_TIMEOUT_S)
        attempts = attempts or self._attempts
        deadline = time.monotonic() + most_s
        problem = ""
        for attempt in range(1, attempts + 1):
            try:
                request = self._http().build_request(
                    method, f"{self.endpoint.url}{path}", json=body, timeout=self._timeout(most_s)
                )
                response = self._http().send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError) as error:
                problem = f"cannot be reached ({type(error).__name__}: {error})"
                pause = None
            except httpx.TimeoutException:
                raise self._too_slow() from None
            except httpx.TransportError as error:
                raise self.endpoint.error(
                    f"cannot be used ({type(error).__name__}: {error})", "check the URL"
                ) from None
            else:
                try:
                    if response.is_success:
                        yield response, deadline
                        return
                    problem, pause = self._refusal(response, deadline, body), response.headers.get("retry-after")
                finally:
                    response.close()
            if attempt < attempts and time.monotonic() < deadline:
                time.sleep(self._pause(attempt, pause))
        raise self.endpoint.error(
            f"{problem}, {attempts} time{'s' if attempts > 1 else ''}",
            "start the server, or check the URL and the network",
        )

    def _refusal(self, response: httpx.Response, deadline: float, body: dict[str, Any] | None) -> str:
        """What a reply that is no success says, where trying again may help; raises where it cannot."""
        said = self._hidden(self._body(response, deadline).decode("utf-8", "replace"))[:300].strip()
        problem = f"answered {response.status_code}" + (f": {said}" if said else "")
        if response.is_redirect:
            target = self._hidden(response.headers.get("location", "another address"))
            raise self.endpoint.error(
                f"redirects to {target}", "redirects are not followed: name that URL, if you trust it"
            )
        if response.status_code == 400 and body and "max_tokens" in body and "max_completion_tokens" in said:
            self._length_key = "max_completion_tokens"
            body[self._length_key] = body.pop("max_tokens")
            return problem
        if response.status_code in _RETRIED:
            return problem
        raise self.endpoint.error(problem, self._remedy(response.status_code, body))

    def _remedy(self, status: int, body: dict[str, Any] | None) -> str:
        match status:
            case 401 | 403:
                return "set OPENBOOK_API_KEY (or OPENAI_API_KEY) to a key that the endpoint accepts"
            case 402:
                return "the account behind the key has no credit left"
            case 404 if body is not None:
                return self._known_models()
            case 404:
                return "check the URL: it should end in /v1; name the model after #"
            case 400 | 413 | 422:
                return "name another model after #, or ask with fewer passages"
            case _:
                return "check the endpoint"

    def _known_models(self) -> str:
        try:
            names = list(self._models())
        except ModelUnavailable:  # the 404 is the error to tell; that the list is missing too only shortens the remedy
            names = []
        return (
            f"it has: {', '.join(names[:20])}" if names else "check the URL (it should end in /v1) and the model's name"
        )

    def _pause(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to wait before the next attempt: what the server asks for, within reason, or twice the last."""
        asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        return float(min(max(asked, self._pause_s * 2 ** (attempt - 1)), _LONGEST_PAUSE_S))

    def _body(self, response: httpx.Response, deadline: float) -> bytes:
        """The whole reply, read piece by piece so that neither its size nor its slowness is without bound."""
        parts: list[bytes] = []
        size = 0
        for part in self._guarded(response.iter_bytes()):
            parts.append(part)
            size += len(part)
            self._check(size, deadline)
        return b"".join(parts)

    def _guarded(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """`pieces`, with what may go wrong while reading them named."""
        import httpx

        try:
            yield from pieces
        except httpx.TimeoutException:
            raise self._too_slow() from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise self.endpoint.error(f"broke off its answer ({type(error).__name__})", "ask again") from None

    def _check(self, size: int, deadline: float) -> None:
        if size > MOST_REPLY_BYTES:
            raise self.endpoint.error(f"sent more than {MOST_REPLY_BYTES} bytes", "check that it is a chat model")
        if time.monotonic() > deadline:
            raise self._too_slow()

    def _too_slow(self) -> Exception:
        return self.endpoint.error(
            f"did not finish within {self._timeout_s:g} s", "ask again, take a smaller model, or check its load"
        )

    def _hidden(self, text: str) -> str:
        """`text` without the key, which some servers repeat in their errors."""
        return without_key(text.replace(self._key, "[key]") if self._key else text)

    def _timeout(self, most_s: float) -> httpx.Timeout:
        """For each read; `_check` sees to the whole."""
        import httpx

        return httpx.Timeout(most_s, connect=min(self._connect_timeout_s, most_s), pool=None)

    def _http(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                headers = {"Authorization": f"Bearer {key}"} if (key := self._key or api_key()) else {}
                limits = httpx.Limits(max_connections=self._connections)
                # A proxy of the environment is for other hosts than this machine.
                proxied = not self.endpoint.is_loopback
                self._client = httpx.Client(headers=headers, limits=limits, trust_env=proxied)
            return self._client
