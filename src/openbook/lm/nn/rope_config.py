"""How rotary angles are stretched, as checkpoints say it; read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from openbook.lm.nn.numbers import checked, read_number, read_numbers, read_size

ScalingKind = Literal["default", "linear", "dynamic", "yarn", "llama3", "longrope"]


@dataclass(frozen=True)
class RopeScaling:
    """`original_max_seq_len`: what the model was trained with before it was stretched (0: not said). `attention_factor`
    multiplies cosines and sines (YaRN, LongRoPE); None means what the paper gives.
    """

    kind: ScalingKind = "default"
    factor: float = 1.0
    original_max_seq_len: int = 0
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    truncate: bool = True
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()

    def check(self, theta: float, head_dim: int) -> None:
        """Raises ValueError for what makes no angles of heads of `head_dim` channels."""
        checked("rope_theta", theta)
        for name, factors in (("short_factor", self.short_factor), ("long_factor", self.long_factor)):
            if self.kind == "longrope" and len(factors) != head_dim // 2:
                raise ValueError(f"{name} must be {head_dim // 2} numbers, one for each pair of channels")
        if self.kind == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor {self.low_freq_factor} must be below high_freq_factor {self.high_freq_factor}"
            )
        if self.kind == "dynamic" and head_dim <= 2:
            raise ValueError("dynamic scaling needs heads of more than 2 channels")

    def raw(self, theta: float) -> dict[str, Any]:
        """The entries of a config.json, in its old form and its new."""
        said: dict[str, Any] = {"rope_type": self.kind}
        if self.kind != "default":
            said["factor"] = self.factor
        if self.original_max_seq_len:
            said["original_max_position_embeddings"] = self.original_max_seq_len
        if self.attention_factor is not None:
            said["attention_factor"] = self.attention_factor
        if self.kind == "yarn":
            said |= {"beta_fast": self.beta_fast, "beta_slow": self.beta_slow, "truncate": self.truncate}
            said |= {key: value for key in ("mscale", "mscale_all_dim") if (value := getattr(self, key))}
        elif self.kind == "llama3":
            said |= {"low_freq_factor": self.low_freq_factor, "high_freq_factor": self.high_freq_factor}
        elif self.kind == "longrope":
            said |= {"short_factor": list(self.short_factor), "long_factor": list(self.long_factor)}
        old = None if self.kind == "default" else said
        return {"rope_theta": theta, "rope_scaling": old, "rope_parameters": said | {"rope_theta": theta}}


def read_scaling(raw: Mapping[str, Any], default_theta: float = 10_000.0) -> tuple[float, RopeScaling]:
    """Base and scaling of a `config.json`, in its old form (`rope_theta`, `rope_scaling`) or new (`rope_parameters`).

    Raises ValueError for a kind that is not known, for heads that are turned in part only, and for angles by kind of layer.
    """
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(raw.get(key) or {}, Mapping):
            raise ValueError(f"{key} {raw[key]!r} must be an object, or null")
    if any(isinstance(one, Mapping) for one in (raw.get("rope_parameters") or {}).values()):
        raise ValueError("rope_parameters differ from layer to layer: only one rotation for all layers is known")
    said = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
    theta = read_number(said, "rope_theta", read_number(raw, "rope_theta", default_theta))
    part = said.get("partial_rotary_factor", raw.get("partial_rotary_factor"))
    if part not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor {part!r}: only heads that are turned whole are known")
    kind = said.get("rope_type") or said.get("type") or "default"
    if kind not in get_args(ScalingKind):
        raise ValueError(f"rope scaling {kind!r} is not one of {list(get_args(ScalingKind))}")
    key = "original_max_position_embeddings"
    original = read_size(said, key, read_size(raw, key, 0, least=0), least=0)
    stretch = 1.0
    if kind in ("yarn", "longrope") and original and "max_position_embeddings" in raw:
        stretch = read_size(raw, "max_position_embeddings") / original
    return theta, RopeScaling(
        kind=cast(ScalingKind, kind),
        factor=read_number(said, "factor", stretch),
        original_max_seq_len=original,
        attention_factor=None if said.get("attention_factor") is None else read_number(said, "attention_factor", 1.0),
        beta_fast=read_number(said, "beta_fast", 32.0),
        beta_slow=read_number(said, "beta_slow", 1.0),
        mscale=read_number(said, "mscale", 0.0),
        mscale_all_dim=read_number(said, "mscale_all_dim", 0.0),
        truncate=bool(said.get("truncate", True)),
        low_freq_factor=read_number(said, "low_freq_factor", 1.0),
        high_freq_factor=read_number(said, "high_freq_factor", 4.0),
        short_factor=read_numbers(said, "short_factor"),
        long_factor=read_numbers(said, "long_factor"),
    )
