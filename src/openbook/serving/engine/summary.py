"""What an engine takes and what it can serve, for the first screen of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from openbook.serving.engine.core import EngineCore


@dataclass(frozen=True)
class EngineSummary:
    """`precision`: of the weights. `kv_bytes`: of keys and values, a draft's among them. `phases_s`: seconds that each phase of
    loading took.
    """

    model_type: str
    precision: str
    vocab_size: int
    weight_bytes: int
    max_seq_len: int
    max_num_seqs: int
    num_blocks: int
    block_size: int
    kv_bytes: int
    threads: int
    phases_s: dict[str, float]
    adapters: tuple[str, ...] = ()

    @property
    def num_tokens(self) -> int:
        """That the cache has room for."""
        return self.num_blocks * self.block_size

    @property
    def num_full(self) -> int:
        """Sequences of the full length that fit at the same time."""
        return self.num_blocks // -(-self.max_seq_len // self.block_size)

    def __str__(self) -> str:
        phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.phases_s.items())
        lines = {
            "model": f"{self.model_type}, {self.precision}, {size_text(self.weight_bytes)} of weights",
            "cache": f"{self.num_blocks:,} blocks of {self.block_size} tokens, {size_text(self.kv_bytes)}: "
            f"{self.num_tokens:,} tokens",
            "serves": f"{self.max_num_seqs} sequences together; {self.num_full:,} of the full length of "
            f"{self.max_seq_len:,} tokens fit",
            "threads": str(self.threads),
            "adapters": ", ".join(self.adapters),
            "start": phases,
        }
        return "\n".join(f"{name:<8} {said}" for name, said in lines.items() if said)


def summary_of(core: EngineCore, precision: str, phases_s: dict[str, float]) -> EngineSummary:
    config, draft = core.model.config, core.draft_storage
    return EngineSummary(
        model_type=config.model_type,
        precision=precision,
        vocab_size=config.vocab_size,
        weight_bytes=tensor_bytes(core.model),
        max_seq_len=core.max_seq_len,
        max_num_seqs=core.scheduler.max_num_seqs,
        num_blocks=core.blocks.num_blocks,
        block_size=core.blocks.block_size,
        kv_bytes=tensor_bytes(core.runner.storage) + (0 if draft is None else tensor_bytes(draft)),
        threads=torch.get_num_threads(),
        phases_s=dict(phases_s),
        adapters=tuple(core.adapters.names),
    )


def size_text(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def tensor_bytes(thing: object) -> int:
    """Bytes of all tensors and arrays that `thing` and the modules it is made of hold, each memory once."""
    seen: dict[int, int] = {}
    _look(thing, seen, 0)
    return sum(seen.values())


def _look(value: Any, seen: dict[int, int], depth: int) -> None:
    if isinstance(value, torch.Tensor):
        size = value.numel() * value.element_size()
        key = value.data_ptr() if value.layout is torch.strided and size else id(value)
        seen[key] = max(seen.get(key, 0), size)
    elif isinstance(value, np.ndarray):
        seen[value.ctypes.data] = max(seen.get(value.ctypes.data, 0), value.nbytes)
    elif isinstance(value, nn.Module):
        for module in value.modules():
            for one in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
                if not isinstance(one, nn.Module):
                    _look(one, seen, depth + 1)
    elif isinstance(value, list | tuple) and depth < 4:
        for one in value:
            _look(one, seen, depth + 1)
    elif depth == 0 and hasattr(value, "__dict__"):
        for one in vars(value).values():
            _look(one, seen, depth + 1)
