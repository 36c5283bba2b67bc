"""The numbers of a config.json, and what each of them may be; free of torch.

A wrong size fails somewhere else, without its name. A model with another wrong number loads and answers: a negative epsilon makes
NaN of a small vector, an infinite base turns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple


class Allowed(NamedTuple):
    """Above `low` (or `low` itself if `is_closed`), up to `high`."""

    low: float
    high: float
    is_closed: bool = False

    def admits(self, value: float) -> bool:
        return isfinite(value) and (self.low < value <= self.high or (self.is_closed and value == self.low))

    def __str__(self) -> str:
        return f"{'at least' if self.is_closed else 'above'} {self.low:g} and at most {self.high:g}"


_EPSILON = Allowed(0.0, 0.1)
_FACTOR = Allowed(0.0, 1e6)
ALLOWED: dict[str, Allowed] = {
    "rms_norm_eps": _EPSILON,
    "layer_norm_eps": _EPSILON,
    "layer_norm_epsilon": _EPSILON,
    "rope_theta": Allowed(1.0, 1e15),
    "factor": _FACTOR,
    "attention_factor": _FACTOR,
    "beta_fast": _FACTOR,
    "beta_slow": _FACTOR,
    "low_freq_factor": _FACTOR,
    "high_freq_factor": _FACTOR,
    "short_factor": _FACTOR,
    "long_factor": _FACTOR,
    "mscale": Allowed(0.0, 1e3, is_closed=True),
    "mscale_all_dim": Allowed(0.0, 1e3, is_closed=True),
}
"""Setting -> its range: wide around every published model, so that only what cannot be meant is refused."""


_LARGEST = 1 << 40


def read_size(raw: Mapping[str, Any], key: str, default: int | None = None, *, least: int = 1) -> int:
    """The whole number that `key` of a config.json gives; `default`, if there is one, where it is null or not there.

    Raises KeyError for one that is missing, and ValueError, which names the key, for what is no whole number from `least` on.
    """
    said: Any = raw[key] if default is None else raw.get(key)
    if said is None and default is not None:
        return default
    is_whole = said.is_integer() if isinstance(said, float) else isinstance(said, int) and not isinstance(said, bool)
    if not is_whole or not least <= said <= _LARGEST:
        raise ValueError(f"{key} {said!r} must be a whole number, {least} or more and at most {_LARGEST:,}")
    return int(said)


def read_number(raw: Mapping[str, Any], key: str, default: float) -> float:
    """The number that `key` of a config.json gives; `default` where it is null or not there.

    Raises ValueError, which names the key, for what is no number and for one out of its range.
    """
    said = raw.get(key)
    return default if said is None else checked(key, said)


def read_numbers(raw: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """The list of numbers that `key` gives, each in the range of `key`; empty where it is null or not there."""
    said = raw.get(key) or ()
    if not isinstance(said, list | tuple):
        raise ValueError(f"{key} {said!r} must be a list of numbers")
    return tuple(checked(key, one) for one in said)


def checked(key: str, said: Any) -> float:
    """`said` as the number that `key` may be. Raises ValueError, which names the key."""
    try:
        value = float(said)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{key} {said!r} is no number") from None
    if isinstance(said, bool) or not ALLOWED[key].admits(value):
        raise ValueError(f"{key} {said!r} must be {ALLOWED[key]}")
    return value
