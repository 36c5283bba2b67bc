"""The directory of a run, which is one run's at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.training import checkpoint
from openbook.training.log import NAME as LOG

_LOCK = ".lock"


@contextmanager
def held(out: Path, *, resume: bool) -> Iterator[None]:
    """`out` is this run's while the block runs; however it ends, it is free again.

    UsageError for a file, for a place that cannot be written, for a directory that holds another run unless it is gone on with,
    and while another process is at it.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", "name a directory with out=DIR")
    _check(out, resume=resume)
    try:
        out.mkdir(parents=True, exist_ok=True)
        opened = (out / _LOCK).open("w")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "name another place with out=DIR") from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process is at {out}", "wait for it, or name another place with out=DIR"
            ) from None
        _check(out, resume=resume)  # another run may have ended since
        yield


def _check(out: Path, *, resume: bool) -> None:
    if not resume and (checkpoint.checkpoints(out) or (out / LOG).exists()):
        raise UsageError(f"{out} holds a run already", "go on with --resume, or name another place with out=DIR")
