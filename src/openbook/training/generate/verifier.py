"""Verifiers by name, as a command line says them: the rewards of `training.rewards`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from openbook.core.config import validated
from openbook.core.errors import UsageError
from openbook.training.rewards.open import open_rewards
from openbook.training.rewards.rewards import Rewards
from openbook.training.rewards.settings import KINDS, Builtin, RewardTerm

_PLAIN = tuple(one for one in get_args(Builtin) if one not in ("length", "overlong"))


def term_of(said: str) -> RewardTerm:
    """number, choice, format, regex:PATTERN, function:FILE.py:NAME, program:FILE, model:DIR or judge:MODEL. What cannot be scored
    is left out. UsageError names what is known.
    """
    kind, _, value = said.partition(":")
    given: dict[str, Any]
    if kind in _PLAIN and (kind == "regex") == bool(value):
        given = {"builtin": kind} | ({"pattern": value} if value else {})
    elif kind in KINDS and kind != "builtin" and value:
        given = {kind: value}
    else:
        known = [one if one != "regex" else "regex:PATTERN" for one in _PLAIN]
        known += ["function:FILE.py:NAME", "program:FILE", "model:DIR", "judge:MODEL"]
        raise UsageError(f"verifier {said!r} is not known", f"known are {', '.join(known)}")
    return validated(RewardTerm, given | {"on_fault": "skip"}, "verifier")


def open_verifier(terms: Sequence[RewardTerm]) -> Rewards:
    """All of them together: an answer's reward is their sum. Close it. Raises what `open_rewards` raises."""
    return open_rewards(terms)
