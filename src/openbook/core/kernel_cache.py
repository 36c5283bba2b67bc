"""Where numba keeps compiled kernels: a directory that can be written, or nothing would be compiled at all."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path

from openbook.core.paths import home

_log = logging.getLogger("openbook")


def choose_kernel_cache() -> None:
    """Sets NUMBA_CACHE_DIR where the user has not: beside the sources in a checkout, with the user's things for an installed
    package. What cannot be written is said, and a directory among the temporary files taken in its place.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is None and os.access(Path(__file__).parent, os.W_OK):
        return  # numba's own choice
    wanted = Path(given) if given else home() / "cache" / "numba"
    if (error := _fault(wanted)) is None:
        os.environ["NUMBA_CACHE_DIR"] = str(wanted)
        return
    other = _temporary()
    if other is None:
        _log.warning(
            "compiled kernels have no place (%s): point NUMBA_CACHE_DIR to a directory that can be written", error
        )
        return
    _log.warning("compiled kernels cannot be kept in %s (%s): they are kept in %s", wanted, error, other)
    os.environ["NUMBA_CACHE_DIR"] = str(other)


def _fault(directory: Path) -> OSError | None:
    """Why no file can be made there; None where one can."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        return error
    return None


def _temporary() -> Path | None:
    """A directory that this user can write and nobody else: what lies in it is run."""
    try:
        directory = Path(tempfile.gettempdir()) / f"openbook-kernels-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return None
    is_private = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return directory if stat.S_ISDIR(found.st_mode) and is_private and _fault(directory) is None else None
