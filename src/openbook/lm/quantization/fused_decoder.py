"""A prepared Llama whose layers run in one call of a kernel, over keys and values in packed blocks.

For processors with the byte kernels (`kernels.cpu.why_not_int8`). What it can not do (mixtures of experts, other
activations, odd sizes) is left to the model's own layers: see `why_not_fused`.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openbook.lm.families.base import Head
from openbook.lm.families.llama import Llama
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.packed_cache import BLOCK, PackedCache, PackedStorage
from openbook.lm.quantization.bfloat16 import Bfloat16Linear
from openbook.lm.quantization.dynamic import DynamicInt8Linear
from openbook.lm.quantization.dynamic4 import DynamicInt4Linear

_COLUMNS = 64
_ROWS_A_TASK = 32  # query rows of a key head that one task computes
_NO_WINDOW = 1 << 40
_KINDS: dict[type, str] = {DynamicInt8Linear: "INT8", DynamicInt4Linear: "INT4", Bfloat16Linear: "BFLOAT16"}
Floats = NDArray[np.float32]


class Parts(NamedTuple):
    """What the kernels read of a linear layer: two addresses and (1 or 3, n) float32, see `kernels.block_products`."""

    addresses: tuple[int, int]
    sides: Floats


def why_not_fused(model: nn.Module) -> str:
    """What stands in the way, in words; empty when `FusedDecoder` can be made."""
    if why_not_int8():
        return why_not_int8()
    if not isinstance(model, Llama):
        return "is for models of the Llama kind"
    if not isinstance(model.lm_head, DynamicInt8Linear | DynamicInt4Linear | Bfloat16Linear):
        return "needs weights in bytes, half bytes or bfloat16 of our own order"
    return why_not_shape(model)


def why_not_shape(model: Llama) -> str:
    """What of the sizes and functions of a model stands in the way."""
    config = model.config
    if config.num_experts:
        return "does not compute mixtures of experts"
    if config.activation != "silu":
        return f"does not compute {config.activation}"
    if config.head_dim % 16 or config.intermediate_size % _COLUMNS or config.hidden_size % _COLUMNS:
        return "needs heads of whole 16 channels, and hidden and inner sizes of whole 64"
    return ""


class FusedDecoder:
    """`model` prepared in int8, int4 or bfloat16. Its weights stay where they are; their addresses are what this adds."""

    def __init__(self, model: Llama) -> None:
        config, layers = model.config, _layers(model)
        self.model = model
        self.shape = (config.num_heads, config.num_kv_heads, config.head_dim, config.intermediate_size)
        rows = [[_parts(part) for part in _linears(layer)] for layer in layers]
        self.weights = np.array([[part.addresses for part in row] for row in rows], np.int64)  # (L, 4, 2)
        self.sides = tuple(np.stack([row[place].sides for row in rows]) for place in range(4))
        self.norms = np.stack([_numbers(layer.attention_norm, layer.mlp_norm) for layer in layers])
        none = np.zeros((2, 0), np.float32)
        heads = [(layer.attention.q_norm, layer.attention.k_norm) for layer in layers]
        self.head_norms = np.stack([_numbers(*pair) if config.qk_norm else none for pair in heads])
        self.windows = np.array([layer.attention.window or _NO_WINDOW for layer in layers], np.int64)
        self.eps, self.scale = np.float32(config.norm_eps), np.float32(layers[0].attention.scale)
        self.last_norm, self.head = _numbers(model.norm)[0], _parts(model.lm_head)
        self.head_weights = np.array(self.head.addresses, np.int64)
        self.group = model.lm_head.group_size if isinstance(model.lm_head, DynamicInt4Linear) else 0
        self.kind = _KINDS[type(model.lm_head)]
        self._lock = Lock()  # of the memory below
        self._ready: tuple[Any, ...] = ()
        self._scratch: tuple[Floats, ...] = ()
        self._logits = np.empty((0, self.head.sides.shape[1]), np.float32)
        self._peaks = np.empty((0, self.head.sides.shape[1] // _COLUMNS), np.float32)

    def forward(
        self, input_ids: Tensor, batch: Batch, input_embeds: Tensor | None, rows: Tensor | None, head: Head
    ) -> Tensor:
        """As `Llama.forward`. With a cache the logits are float32, in memory that the next call writes over."""
        cache = batch.cache
        with self._lock:
            if cache is None:
                return self._finished(self._without_cache(input_ids, batch, input_embeds), rows, head, is_kept=True)
            assert isinstance(cache, PackedCache)
            x = self._embedded(input_ids, input_embeds)
            self._run(x, batch, cache.tables, cache.storage, cache.storage.k.shape[1])
            return self._finished(x, rows, head, is_kept=False)

    def _embedded(self, input_ids: Tensor, input_embeds: Tensor | None) -> Tensor:
        """(N, E) float32, which nobody else holds."""
        if input_embeds is None:
            return self.model.tokens(input_ids).float()  # type: ignore[no-any-return]
        return input_embeds.detach().to(torch.float32, copy=True).contiguous()

    def _without_cache(self, input_ids: Tensor, batch: Batch, input_embeds: Tensor | None) -> Tensor:
        """Keys and values lie in blocks for as long as one layer needs them."""
        lengths = batch.starts.diff()
        blocks = (lengths + BLOCK - 1) // BLOCK  # (S,)
        last = blocks.cumsum(0)
        tables = (last - blocks)[:, None] + torch.arange(int(blocks.max()))  # (S, most)
        storage = PackedStorage(1, int(last[-1]), self.shape[1], self.shape[2], torch.bfloat16)
        if self.kind != "BFLOAT16" and self.model.dtype == torch.float32:
            storage = PackedStorage(1, int(last[-1]), self.shape[1], self.shape[2], torch.float32)
        x = self._embedded(input_ids, input_embeds)
        self._run(x, batch, tables.numpy(), storage, 0)
        return x

    def _run(
        self, x: Tensor, batch: Batch, tables: NDArray[np.int64], storage: PackedStorage, layer_blocks: int
    ) -> None:
        step = _step_of(self.kind, storage.dtype == torch.float32)
        rotation = self.model.rope(batch.positions, torch.float32)
        self._make_room(len(x))
        starts, positions = batch.starts.numpy(), batch.positions.numpy()
        step(
            x.numpy(),
            rotation.cos.numpy(),
            rotation.sin.numpy(),
            positions,
            np.repeat(np.arange(len(starts) - 1), np.diff(starts)),
            starts[1:] - 1,
            tables,
            _tasks(starts, positions, max(_ROWS_A_TASK * self.shape[1] // self.shape[0], 1)),
            self.shape,
            self.weights,
            *self.sides,
            self.norms,
            self.head_norms,
            self.windows,
            self.eps,
            self.scale,
            *storage.arrays(),
            layer_blocks,
            self._ready,
            self._scratch,
        )

    def _finished(self, x: Tensor, rows: Tensor | None, head: Head, *, is_kept: bool) -> Tensor:
        """`is_kept`: the logits are in memory of their own, of the model's dtype."""
        x = x if rows is None else x[rows]
        if head != "logits":
            hidden = self.model.norm(x.to(self.model.dtype))
            return hidden if head == "hidden" else head(hidden, self.model.lm_head)
        M, n = len(x), self.head.sides.shape[1]
        project, project_narrow = _heads_of(self.kind)
        self._make_room(M)
        known = (self.last_norm, self.eps, self.head_weights, self.head.sides, self._ready, self._scratch)
        if is_kept and self.model.dtype == torch.bfloat16:
            narrow = torch.empty(M, n, dtype=torch.bfloat16)
            project_narrow(x.numpy(), *known, narrow.view(torch.uint16).numpy())
            return narrow[:, : self.model.config.vocab_size]
        if len(self._peaks) < M:
            self._peaks = np.empty((M, n // _COLUMNS), np.float32)
        if is_kept:
            logits = np.empty((M, n), np.float32)
        else:
            if len(self._logits) < M:
                self._logits = np.empty((M, n), np.float32)
            logits = self._logits[:M]
        project(x.numpy(), *known, logits, self.model.config.vocab_size, self._peaks)
        return torch.from_numpy(logits)[:, : self.model.config.vocab_size]

    def peaks_of(self, logits: Tensor) -> Floats | None:
        """(M, >= V / 64): the highest of each 64 of the logits that `forward` has just given for a batch with a cache; None for
        others.
        """
        return self._peaks[: len(logits)] if logits.data_ptr() == self._logits.ctypes.data else None

    def _make_room(self, rows: int) -> None:
        """Memory for `rows` rows between the products, kept from call to call."""
        if self._ready and len(self._ready[0]) >= rows:
            return
        H, _, D, inner = self.shape
        E = self.model.config.hidden_size
        widest = max(E, H * D, inner) + self.group
        groups = widest // self.group if self.group else 1
        columns = (np.empty(rows, np.float32), np.empty(rows, np.float32), np.empty((rows, groups), np.float32))
        kind = np.uint16 if self.kind == "BFLOAT16" else np.uint8
        self._ready = (np.empty((rows, widest), kind), *columns, self.group)
        self._scratch = tuple(np.empty((rows, n), np.float32) for n in (E, self.sides[0].shape[2], H * D, inner))


@cache
def _step_of(kind: str, wide: bool) -> Any:
    from openbook.lm.kernels import decoder_step

    return getattr(decoder_step, f"{kind}_{'FLOAT32' if wide else 'BFLOAT16'}")


@cache
def _heads_of(kind: str) -> tuple[Any, Any]:
    from openbook.lm.kernels import decoder_step

    found: tuple[Any, Any] = getattr(decoder_step, f"{kind}_HEADS")
    return found


def _tasks(starts: NDArray[np.int64], positions: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """(T, 2) first token and number of tokens, at most `most`, dealt out so that each thread's share costs as much."""
    first = np.concatenate([np.arange(begin, end, most) for begin, end in pairwise(starts.tolist())])
    counts = np.minimum(first + most, starts[1:][np.searchsorted(starts[1:], first, side="right")]) - first
    order = np.argsort(-positions[first] * counts, kind="stable")
    threads = numba.get_num_threads()
    dealt = np.concatenate([order[place::threads] for place in range(threads)])
    return np.stack([first[dealt], counts[dealt]], axis=1)


def _layers(model: Llama) -> list[Any]:
    """`LlamaLayer`s, whose parts `prepare` has replaced."""
    return list(model.layers)


def _linears(layer: Any) -> tuple[nn.Module, ...]:
    return layer.attention.qkv, layer.attention.out, layer.mlp.gate_up, layer.mlp.down


def _parts(layer: nn.Module) -> Parts:
    if isinstance(layer, DynamicInt4Linear):
        addresses = (int(layer.weight.ctypes.data), int(layer.steps.ctypes.data))
        return Parts(addresses, np.stack([np.zeros_like(layer.offset), layer.offset, layer.bias]))
    if isinstance(layer, Bfloat16Linear):
        return Parts((int(layer.packed.ctypes.data), 0), layer.bias[None])
    assert isinstance(layer, DynamicInt8Linear)
    packed = layer.packed
    return Parts((int(packed.weight.ctypes.data), 0), np.stack([packed.scale, packed.offset, packed.bias]))


def _numbers(*norms: Any) -> Floats:
    return np.stack([norm.weight.detach().float().numpy() for norm in norms])
