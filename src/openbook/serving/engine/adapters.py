"""Adapters on the engine's model: loaded and taken off while it serves, each request with its own or with none.

Low-rank ones (LoRA, rsLoRA, DoRA, of any ranks) are added to the rows of their requests, many in one batch. Virtual tokens
(prefix and prompt tuning) are keys and values in blocks at the head of a request's table, read by all that use them; a last
block that they do not fill is copied for each.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import activate, adapter_places, detach
from openbook.lm.adapters.files import load_adapter, read_settings
from openbook.lm.adapters.lora import Lora
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings
from openbook.lm.adapters.slot import Whole, find_table, module_at, slots_of
from openbook.lm.adapters.virtual import Heads, Virtual
from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch
from openbook.serving.engine.blocks import BlockManager
from openbook.serving.engine.runner import Storage


@dataclass(eq=False)
class Adapter:
    """`tag`: what no other adapter has, also under the same name. `num_users`: requests that refer to it. `num_virtual` tokens
    lie in `blocks`.
    """

    name: str
    tag: bytes
    num_users: int = 0
    num_virtual: int = 0
    blocks: list[int] = field(default_factory=list)
    heads: Heads = field(default_factory=list)


class Adapters:
    """At most `most` at a time, on a model of `prepare_for_adapters` or a plain one. For the engine's thread."""

    def __init__(self, model: Family, most: int) -> None:
        self.model, self.most = model, most
        self._there: dict[str, Adapter] = {}
        self._numbers = count()

    @property
    def names(self) -> list[str]:
        return list(self._there)

    @property
    def num_blocks(self) -> int:
        """That virtual tokens lie in."""
        return sum(len(adapter.blocks) for adapter in self._there.values())

    def of(self, name: str) -> Adapter:
        """UsageError lists those there are."""
        if name not in self._there:
            raise UsageError(f"there is no adapter {name!r}", f"there are {', '.join(self._there) or 'none'}")
        return self._there[name]

    def load(self, name: str, directory: Path, blocks: BlockManager, storage: Storage) -> None:
        """Raises ModelUnavailable for files that are broken or of another base, UsageError for a kind that cannot be served
        beside others, a name that is taken, and where there is no room.
        """
        if len(self._there) >= self.most:
            raise UsageError(f"there are {self.most} adapters", "unload one, or raise max_adapters")
        _check_kind(name, directory)
        load_adapter(self.model, directory, name)
        try:
            found = Adapter(name, f"{next(self._numbers)}:{name}".encode())
            self._take(found, blocks, storage)
        except BaseException:
            detach(self.model, name)
            raise
        activate(self.model, None)
        self._there[name] = found

    def _take(self, adapter: Adapter, blocks: BlockManager, storage: Storage) -> None:
        table = find_table(self.model)
        assert table is not None, "it has just been loaded"
        if adapter.name in table.virtual:
            virtual = table.virtual[adapter.name]
            assert isinstance(virtual, Virtual), "a table of virtual tokens holds nothing else"
            activate(self.model, None)
            with torch.no_grad():
                adapter.heads = [(k.detach(), v.detach()) for k, v in virtual.heads(self.model)]
            adapter.num_virtual = virtual.num_virtual_tokens
            needed = blocks.blocks_for(adapter.num_virtual)
            if needed > blocks.num_available:
                raise UsageError(
                    f"its {adapter.num_virtual} virtual tokens take {needed} blocks, {blocks.num_available} are not in use",
                    "wait until others have ended, or raise kv_cache_gb",
                )
            adapter.blocks = blocks.allocate(needed)
            self._write(adapter, storage)
            return
        if why := table.alone.get(adapter.name):
            raise UsageError(f"{adapter.name!r} {why}", "merge it into the base, and serve that")
        for ours, slot in slots_of(self.model):
            if adapter.name not in slot.changes:
                continue
            change = slot.changes[adapter.name]
            if isinstance(change, Whole):
                raise UsageError(f"{adapter.name!r} trains {ours} whole", "merge it into the base, and serve that")
            if isinstance(change, Lora):
                change.fix(module_at(self.model, ours))

    @torch.inference_mode()
    def _write(self, adapter: Adapter, storage: Storage) -> None:
        tables = torch.tensor([adapter.blocks], device=self.model.device)
        cache = storage.view(tables)
        batch = Batch.of([adapter.num_virtual], cache=cache, seen=[0], device=self.model.device)
        for layer, (k, v) in enumerate(adapter.heads):
            cache.write(layer, batch, k, v)

    def unload(self, name: str, blocks: BlockManager) -> None:
        """UsageError while requests refer to it."""
        adapter = self.of(name)
        if adapter.num_users:
            raise UsageError(
                f"{adapter.num_users} requests that use adapter {name!r} are under way", "wait until they have ended"
            )
        blocks.release(adapter.blocks)
        detach(self.model, name)
        del self._there[name]

    def wake(self, storage: Storage) -> None:
        """Virtual tokens are written again into fresh memory."""
        for adapter in self._there.values():
            if adapter.blocks:
                self._write(adapter, storage)

    def places(self, names: Items[str | None]) -> Tensor | None:
        """For `Batch.adapters`: None when all use the base, or virtual tokens, which leave its weights as they are."""
        low_rank = [None if name is None or self._there[name].num_virtual else name for name in names]
        return adapter_places(self.model, low_rank) if any(name is not None for name in low_rank) else None


def _check_kind(name: str, directory: Path) -> None:
    settings = read_settings(directory)
    if isinstance(settings, BottleneckSettings):
        raise UsageError(
            f"{name!r} is a bottleneck (Houlsby) adapter, which is not served beside others", "train LoRA for serving"
        )
    if isinstance(settings, LoraSettings) and settings.trained_modules:
        raise UsageError(
            f"{name!r} trains {', '.join(settings.trained_modules)} whole", "merge it into the base, and serve that"
        )
