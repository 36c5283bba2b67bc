"""Where a chat model is served: its address as it is typed, its host, and the errors that name them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from openbook.core.errors import ModelUnavailable, UsageError


@dataclass(frozen=True)
class Endpoint:
    """`url` ends with the version (".../v1"), before "/chat/completions". `model` is None where none was named."""

    url: str
    model: str | None = None

    @property
    def host(self) -> str:
        """Name and port, as in the URL."""
        return urlsplit(self.url).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent stays on this machine."""
        name = urlsplit(self.url).hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_encrypted(self) -> bool:
        return self.url.startswith("https://")

    def error(self, problem: str, remedy: str) -> ModelUnavailable:
        return ModelUnavailable(f"the model server at {self.url} {problem}", remedy)


def is_url(spec: str) -> bool:
    return "://" in spec


def parse_endpoint(spec: str) -> Endpoint:
    """`URL` or `URL#MODEL`, e.g. http://127.0.0.1:11434/v1#qwen3; "/v1" is added to a bare host.

    Raises `UsageError` for what is no http(s) URL, and for one that holds a password or a query.
    """
    address, _, model = spec.partition("#")
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  # raises ValueError when it is no number
    except ValueError as error:
        raise UsageError(
            f"{address!r} is not a URL of a chat model ({error})", "use http://HOST:PORT/v1#MODEL"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{address!r} is not a URL of a chat model", "use http://HOST:PORT/v1#MODEL")
    if "@" in parts.netloc:
        raise UsageError("the URL of the model holds a user or password", "put the key in OPENBOOK_API_KEY")
    if parts.query:
        raise UsageError(
            "the URL of the model holds a query (?...)", "put the key in OPENBOOK_API_KEY, the model after #"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return Endpoint(f"{parts.scheme}://{parts.netloc}{path or '/v1'}", model or None)
