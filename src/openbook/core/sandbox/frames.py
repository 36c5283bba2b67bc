"""Length-prefixed msgpack frames between a parent and its workers, never pickle."""

from __future__ import annotations

import struct
from typing import IO, Any

import msgpack

LENGTH = struct.Struct("<Q")


def frame(value: object) -> bytes:
    """`value`, as msgpack, behind its length."""
    body: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes | memoryview) -> Any:
    """The value of a body."""
    return msgpack.unpackb(body, raw=False, strict_map_key=False, unicode_errors="surrogatepass")


def send(pipe: IO[bytes], value: object) -> None:
    """Writes all of a frame to an unbuffered pipe."""
    view = memoryview(frame(value))
    while view:
        view = view[pipe.write(view) :]


def receive(pipe: IO[bytes]) -> Any:
    """The next value; None when the pipe is closed, also in the middle of a frame."""
    prefix = pipe.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(prefix)
    body = pipe.read(length)
    return unpack(body) if len(body) == length else None
