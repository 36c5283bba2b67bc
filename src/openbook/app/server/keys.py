"""API keys: who asks, how much a minute, and whether the models may be changed. Kept as hashes, never shown, never logged."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openbook.app.server.bucket import TokenBucket
from openbook.app.server.errors import Refused
from openbook.core.errors import UsageError

_HOW = "write lines of KEY NAME [tokens_per_minute] [admin]"


@dataclass(frozen=True)
class Caller:
    """`salt`: what this caller's prefixes are shared within. `bucket`: None where nothing is limited."""

    name: str = ""
    is_admin: bool = True
    salt: bytes = b""
    bucket: TokenBucket | None = None


@dataclass(frozen=True)
class Keys:
    """No callers: everybody may ask."""

    callers: dict[bytes, Caller] = field(default_factory=dict)

    def caller(self, authorization: str | None) -> Caller:
        """Whose key an Authorization header holds. 401 for none and for one that is not known, without repeating it."""
        if not self.callers:
            return Caller()
        key = bearer(authorization)
        if key is None:
            raise _unauthorised("an API key is needed: send Authorization: Bearer KEY")
        digest = _digest(key)
        found = None
        for known, caller in self.callers.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            raise _unauthorised("the API key is not known here: ask whoever runs the server for one")
        return found


def bearer(authorization: str | None) -> str | None:
    """The key in an Authorization header."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def read_keys(path: Path, clock: Callable[[], float] = time.monotonic) -> Keys:
    """The keys of a file: lines of KEY NAME [tokens_per_minute] [admin]; # in front makes a comment. UsageError names a line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error})", _HOW) from None
    callers: dict[bytes, Caller] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise UsageError(f"{path}, line {number} has no name behind the key", _HOW)
        digest = _digest(words[0])
        if digest in callers:
            raise UsageError(f"{path}, line {number} has a key that came before", "give everybody a key of their own")
        callers[digest] = _caller(words[1], words[2:], digest, f"{path}, line {number}", clock)
    if not callers:
        raise UsageError(f"{path} holds no keys", _HOW)
    return Keys(callers)


def _caller(name: str, rest: Sequence[str], digest: bytes, where: str, clock: Callable[[], float]) -> Caller:
    bucket, is_admin = None, False
    for word in rest:
        if word == "admin":
            is_admin = True
        elif word.isdecimal() and int(word) > 0 and bucket is None:
            bucket = TokenBucket(int(word), clock)
        else:
            raise UsageError(f"{where} has {word!r} behind the name", _HOW)
    return Caller(name, is_admin, hashlib.sha256(b"prefixes" + digest).digest(), bucket)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _unauthorised(message: str) -> Refused:
    return Refused(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
