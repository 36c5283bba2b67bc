"""Bytes that a model takes: weights, keys and values, activations, gradients, optimizer. Computed without the weights.

Weights, cache, gradients and optimizer follow from shapes. Activations are found by a forward pass over tensors that have a
shape and no storage, counting what is kept for the backward pass, or the most that is alive at once.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from openbook.lm.families.base import Family, Head
from openbook.lm.nn.batch import Batch

ADAMW_BYTES = 8
"""Two float32 moments a parameter. Source: Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101"""


@dataclass(frozen=True)
class Memory:
    """All in bytes. `master`: the float32 copy of weights that are trained in 16 bits."""

    weights: int
    kv_cache: int = 0
    activations: int = 0
    gradients: int = 0
    optimizer: int = 0
    master: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.activations + self.gradients + self.optimizer + self.master


def weight_bytes(model: Family) -> int:
    """Tied weights count once; on the meta device it is what they would take."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def kv_bytes(model: Family, context: int, batch: int) -> int:
    """Keys and values of `batch` sequences of `context` tokens, 2 L G D each; an encoder keeps none, an encoder-decoder those of
    `context` tokens read and as many written.
    """
    config = model.config
    if not (model.causal or _writes(model)):
        return 0
    layers = config.num_decoder_layers * 2 if _writes(model) else config.num_layers
    return int(2 * layers * config.num_kv_heads * config.head_dim * context * batch * model.dtype.itemsize)


def inference_memory(model: Family, context: int, batch: int) -> Memory:
    """Prefill of `batch` prompts of `context` tokens, then logits for the last token of each, in the dtype of `model`."""
    given = _input(model, context, batch)
    if model.causal:
        given["rows"] = torch.arange(1, batch + 1) * context - 1
    with _without_storage(model) as fake, torch.no_grad(), _Alive() as alive:
        fake(**given)
    return Memory(weight_bytes(model), kv_bytes(model, context, batch), alive.peak_bytes)


def training_memory(model: Family, context: int, batch: int, head: Head | None = None) -> Memory:
    """A step of AdamW on `batch` sequences of `context` tokens, on the parameters that require gradients (an adapter's), or on
    all where none does. `head`: what makes the loss (a chunked cross-entropy keeps no logits); None: the model's own.
    """
    trained = [one for one in model.parameters() if one.requires_grad] or list(model.parameters())
    count = sum(parameter.numel() for parameter in trained)
    return Memory(
        weights=weight_bytes(model),
        activations=saved_bytes(model, context, batch, head),
        gradients=count * model.dtype.itemsize,
        optimizer=count * ADAMW_BYTES,
        master=count * 4 if model.dtype != torch.float32 else 0,
    )


def saved_bytes(model: Family, context: int, batch: int, head: Head | None = None) -> int:
    """What the forward pass keeps for the backward pass: each storage once, parameters not counted."""
    given = _input(model, context, batch)
    if head is not None:
        given["head"] = head
    with _without_storage(model) as fake:
        if not any(parameter.requires_grad for parameter in fake.parameters()):
            fake.requires_grad_(True)
        with kept_for_backward(fake) as kept:
            fake(**given)
        return sum(kept.values())


@contextmanager
def kept_for_backward(model: torch.nn.Module) -> Iterator[Mapping[int, int]]:
    """Storage -> bytes of what autograd keeps while the block runs, except for the parameters of `model`."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no other storage takes its place

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


@contextmanager
def _without_storage(model: Family) -> Iterator[Family]:
    """A copy of `model` on a processor that computes shapes only."""
    shapes = {id(one): nn.Parameter(one.detach().to("meta"), one.requires_grad) for one in model.parameters()}
    empty = copy.deepcopy(model, dict[int, Any](shapes)).to("meta")  # no weight is copied
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = empty.to_empty(device="cpu")
        fake.tie()
        yield fake


def _writes(model: Family) -> bool:
    """Whether it is an encoder-decoder."""
    return getattr(model, "decoder", None) is not None


def _input(model: Family, context: int, batch: int) -> dict[str, Any]:
    """What its forward pass takes; made before tensors lose their storage, since a batch has to know its numbers."""
    ids = torch.zeros(context * batch, dtype=torch.int64)
    given: dict[str, Any] = {"input_ids": ids, "batch": Batch.of([context] * batch, causal=model.causal)}
    if _writes(model):
        given |= {"decoder_input_ids": ids, "decoder_batch": Batch.of([context] * batch)}
    elif model.head_over == "nothing":
        given["head"] = "hidden"
    return given


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that results of operations hold; `peak_bytes` is the most at one time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = self._now = 0
        self._holders: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._hold(tensor)
        return found

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._holders:
            self._now += size
            self.peak_bytes = max(self.peak_bytes, self._now)
        self._holders[key] = self._holders.get(key, 0) + 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key]
            self._now -= size
