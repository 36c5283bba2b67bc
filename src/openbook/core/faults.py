"""Named points at which a test can end the process, as a power cut would, to see that nothing is lost.

`OPENBOOK_FAULT=NAME:N` kills the process (SIGKILL) at the N-th passage of point NAME; `any:N` counts every point.
Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_spec = os.environ.get("OPENBOOK_FAULT", "")
_passed = 0


def fault_point(name: str) -> None:
    """Ends the process here when the environment says so; otherwise does nothing."""
    if _spec:
        _count(name)


def _count(name: str) -> None:
    global _passed  # noqa: PLW0603 - one counter a process, by design
    wanted, _, number = _spec.partition(":")
    if wanted not in ("any", name):
        return
    _passed += 1
    if _passed == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
