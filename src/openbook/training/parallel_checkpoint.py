"""Checkpoints of which every process writes its part, as safetensors, and reads the parts that it needs, at any number of them.

torch's distributed checkpoints with their Hugging Face storage: no pickle is written or read. A file holds what one process had,
and where in the whole each piece belongs. In reading order: writing, what is there, reading.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from openbook.core.paths import sync


def write_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Every process calls it, with its parts of the same tensors, or with others; what several have is written once.

    `folder` is there. OSError in all processes where one of them could not write.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save({name: _with_axis(one.detach()) for name, one in tensors.items()}, storage_writer=writer)
    except CheckpointException as error:
        raise OSError(_reason(error)) from None
    if dist.get_rank() == 0:
        for path in folder.iterdir():
            sync(path)


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of the whole tensors that are there in parts; a number has the shape (1,)."""
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: tuple(one.size) for name, one in found.items() if hasattr(one, "size")}


@torch.no_grad()
def read_parts(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fills the tensors, or the parts of them that are here. KeyError for a missing one, OSError for what cannot be read."""
    there = shapes_of(folder)
    if missing := sorted(set(into) - set(there)):
        raise KeyError(missing[0])
    reader = HuggingFaceStorageReader(str(folder))
    wanted = {name: _with_axis(one.detach()) for name, one in into.items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # it is meant
            load(wanted, storage_reader=reader, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        raise OSError(_reason(error)) from None


def _with_axis(tensor: Tensor) -> Tensor:
    """A number as a tensor (1,), of the same memory: pieces need a place."""
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _reason(error: CheckpointException) -> str:
    return "; ".join(f"rank {rank}: {one[0]!r}" for rank, one in error.failures.items())
