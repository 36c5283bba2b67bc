"""The model that learns writes: the serving engine in the same process, over the trainer's own tensors or over a copy of them.

Shared, nothing is copied and nothing has to be renewed. A packed copy (float32, bfloat16, int8) writes several times as fast and
is made again from the tensors before each time; it may be of less precision, which `importance` weights can make up for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.adapters.merge import merged_tensors
from openbook.lm.adapters.settings import PrefixSettings, PromptSettings
from openbook.lm.adapters.slot import find_table
from openbook.lm.families.base import Family
from openbook.lm.quantization.prepare import prepare
from openbook.serving.engine.core import BLOCK_SIZE, EngineCore
from openbook.serving.engine.summary import tensor_bytes
from openbook.serving.engine.weights import renewed
from openbook.training.rollouts.settings import RolloutPrecision
from openbook.training.rollouts.written import Prompted, Renewal, Written

_STEP_TOKENS = 2_048


class EngineWriter:
    """Writes with `model` as it is at the time. Between `renew` and `rest` it may not learn. For one thread."""

    def __init__(
        self,
        model: Family,
        end_tokens: Sequence[int],
        sampling: SamplingParams,
        *,
        precision: RolloutPrecision = "shared",
        max_num_seqs: int = 64,
        max_seq_len: int,
    ) -> None:
        """`sampling`: temperature and what ends an answer. UsageError for adapters that cannot write so."""
        table = find_table(model)
        active = None if table is None or table.selection.active is None else table.settings[table.selection.active]
        if isinstance(active, PrefixSettings | PromptSettings):
            raise UsageError(
                "virtual tokens stand before every sequence of a batch, which a paged cache does not have",
                "train lora, dora, qlora or houlsby",
            )
        if precision != "shared":
            merged_tensors(model)  # refuses what has no plain weights
        self._model, self._precision = model, precision
        self._sampling = replace(sampling, logprobs=0, tempered_logprobs=True)
        self._end_tokens, self._most_seqs, self._most_tokens = tuple(end_tokens), max_num_seqs, max_seq_len
        self._core: EngineCore | None = None
        self._copy: Family | None = None

    def renew(self) -> Renewal:
        """What is written from now on is by the weights as they are."""
        self._core = None
        if self._precision == "shared":
            return Renewal()
        began = time.monotonic()
        self._copy = None  # before the new one: only one is in memory
        self._copy = prepare(renewed(self._model, merged_tensors(self._model)), self._precision)
        return Renewal(time.monotonic() - began, tensor_bytes(self._copy))

    def write(self, prompts: Sequence[Prompted]) -> list[list[Written]]:
        """The answers to each prompt, which is computed once. A prompt that goes on from an earlier one finds it computed."""
        was_training = self._model.training
        self._model.eval()
        try:
            return self._written(prompts)
        finally:
            self._model.train(was_training)

    def rest(self) -> None:
        """Gives back the memory of keys and values, and of the copy, which is made anew each time."""
        self._core = self._copy = None

    def _written(self, prompts: Sequence[Prompted]) -> list[list[Written]]:
        core = self._engine(prompts)
        found: dict[int, list[Written]] = {}
        order = []
        for ids, n, seed, most in prompts:
            number = core.add(ids, replace(self._sampling, seed=seed, max_tokens=most), n=n)
            found[number] = [Written() for _ in range(n)]
            order.append(number)
        while not core.is_idle:
            for event in core.step():
                if event.finish_reason == "error":
                    raise FloatingPointError("the model that learns says no numbers any more")
                written = found[event.number][event.answer]
                written.tokens.append(event.chosen.token)
                written.logprobs.append(event.chosen.logprob or 0.0)
                written.is_finished |= event.is_end
        return [found[number] for number in order]

    def _engine(self, prompts: Sequence[Prompted]) -> EngineCore:
        """The one there is, where its cache is large enough."""
        needed = self._blocks(prompts)
        if self._core is None or self._core.blocks.num_blocks < needed:
            self._core = None  # one cache at a time
            if self._precision != "shared" and self._copy is None:
                self.renew()
            self._core = EngineCore(
                self._model if self._copy is None else self._copy,
                num_blocks=needed,
                max_num_seqs=self._most_seqs,
                max_step_tokens=_STEP_TOKENS,
                max_seq_len=self._most_tokens,
                kv_dtype=torch.bfloat16 if self._precision in ("bfloat16", "int8") else torch.float32,
                end_tokens=self._end_tokens,
            )
        return self._core

    def _blocks(self, prompts: Sequence[Prompted]) -> int:
        """What the longest of as many answers as are written at a time need, so that nothing has to wait."""
        sizes = sorted(-(-(len(one.ids) + one.max_tokens) // BLOCK_SIZE) for one in prompts for _ in range(one.n))
        return sum(sizes[-self._most_seqs :]) + 1
