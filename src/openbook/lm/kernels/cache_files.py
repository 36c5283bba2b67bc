"""The files that numba keeps compiled kernels in: a full disk, a broken file and a second process end no program.

numba itself lets an error of the disk end the call of the kernel, trusts its index whatever it holds, and two processes that
compile at once may give two kernels the same file, so that one is later run in place of the other.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_LOCK = "openbook.lock"
_log = logging.getLogger("openbook")


@cache
def guard_cache_files() -> None:
    """From now on a kernel that cannot be kept is used all the same, and one that cannot be read is compiled again.

    Imports numba. Calling it again does nothing.
    """
    from numba.core import caching

    guarded: Any = caching.Cache
    save: Callable[..., None] = guarded.save_overload
    load: Callable[..., Any] = guarded.load_overload

    def save_overload(self: Any, signature: Any, compiled: Any) -> None:
        try:
            with _locked(Path(self.cache_path)):
                save(self, signature, compiled)
        except OSError as error:
            _say_not_kept(str(error))

    def load_overload(self: Any, signature: Any, target: Any) -> Any:
        try:
            return load(self, signature, target)
        except Exception as error:  # whatever a broken file makes of it
            _log.warning("a compiled kernel in %s cannot be read (%s): it is compiled again", self.cache_path, error)
            _forget(self)
            return None

    guarded.save_overload, guarded.load_overload = save_overload, load_overload


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time; a process that dies holds nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _say_not_kept(reason: str) -> None:
    """Once for each reason."""
    _log.warning(
        "compiled kernels cannot be kept (%s), so that every start compiles them: free space, or point NUMBA_CACHE_DIR elsewhere",
        reason,
    )


def _forget(kept: Any) -> None:
    """Empties the index of one kernel."""
    try:
        with _locked(Path(kept.cache_path)):
            kept.flush()
    except OSError as error:
        _say_not_kept(str(error))
