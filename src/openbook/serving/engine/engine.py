"""The engine as a program uses it: a checkpoint directory in, answers out, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.quantization.prepare import Precision, prepare
from openbook.serving.engine.core import BLOCK_SIZE, EngineCore
from openbook.serving.engine.ends import end_tokens_of
from openbook.serving.engine.limits import check_engine, check_writes
from openbook.serving.engine.loading import (
    Phases,
    block_bytes,
    constraints_of,
    draft_for,
    loaded,
    num_blocks,
    precision_of,
    prepared,
)
from openbook.serving.engine.loop import EngineLoop, Ticket, nothing
from openbook.serving.engine.outputs import Output, outputs
from openbook.serving.engine.processor import LogitsProcessor
from openbook.serving.engine.replacing import replace_weights
from openbook.serving.engine.speculate.draft import DraftProposer, relative_cost
from openbook.serving.engine.speculate.ngram import NgramProposer
from openbook.serving.engine.speculate.proposer import Proposer
from openbook.serving.engine.speculate.speculation import Speculation
from openbook.serving.engine.summary import EngineSummary, summary_of

if TYPE_CHECKING:
    from openbook.serving.chat.local import LocalChatModel

KvDtype = Literal["bf16", "fp32"]


class Engine:
    """A model that answers any number of threads. A context manager; `load` makes one."""

    def __init__(
        self,
        core: EngineCore,
        directory: Path,
        after_step: Callable[[], None] = nothing,
        *,
        precision: Precision = "float32",
        phases_s: Mapping[str, float] | None = None,
    ) -> None:
        """`precision`: what `core`'s model was prepared in; `phases_s`: how long that took."""
        self.directory, self._precision = directory, precision
        self._phases_s = dict(phases_s or {})
        self.loop = EngineLoop(core, after_step)

    @classmethod
    def load(
        cls,
        directory: Path | str,
        *,
        quantize: Literal["int8", "int4"] | None = None,
        max_seq_len: int | None = None,
        max_num_seqs: int = 32,
        max_step_tokens: int = 1_024,
        kv_cache_gb: float | None = None,
        kv_dtype: KvDtype | None = None,
        speculate: str | Path | None = None,
        num_speculative: int = 4,
        adapters: Mapping[str, Path | str] | None = None,
        max_adapters: int | None = None,
        after_step: Callable[[], None] = nothing,
    ) -> Engine:
        """The decoder in a Hugging Face directory or a GGUF file, prepared for this processor.

        `quantize` None: in the dtype that is stored (float16 in float32, which processors compute). `kv_cache_gb`: memory of keys
        and values; None takes what `max_num_seqs` sequences of `max_seq_len` need, or 30 % of what is free. `speculate`: "ngram",
        or the directory of a smaller model with the same vocabulary, which proposes up to `num_speculative` tokens a step; the
        answers are the same. `adapters`: name -> directory, loaded at once; up to `max_adapters` (None: those) at a time. A model
        that may have adapters computes layer by layer. `after_step`: see `EngineLoop`. Raises ModelUnavailable for a checkpoint
        that is broken or no decoder, UsageError for a setting that cannot be.
        """
        if quantize not in (None, "int8", "int4"):
            raise UsageError(f"quantize {quantize!r} is not known", "known are int8, int4 and none")
        if kv_dtype is not None and kv_dtype not in get_args(KvDtype):
            raise UsageError(f"kv_dtype {kv_dtype!r} is not known", "known are bf16 and fp32")
        most_adapters = len(adapters or {}) if max_adapters is None else max_adapters
        check_engine(max_seq_len, max_num_seqs, max_step_tokens, kv_cache_gb, num_speculative, most_adapters)
        directory = Path(directory)
        phases = Phases()
        model = loaded(directory)
        check_writes(model)
        limit = min(max_seq_len or model.config.max_seq_len, model.config.max_seq_len)
        end_tokens = end_tokens_of(directory, model)
        draft = None if speculate in (None, "ngram") else draft_for(Path(str(speculate)), directory, model)
        cost = 0.0 if draft is None else relative_cost(draft, model)
        phases.end("read")
        precision = precision_of(model, quantize)
        model = prepared(model, precision, takes_adapters=most_adapters > 0)
        if draft is not None:
            draft = prepare(draft, precision_of(draft, quantize))
        phases.end("prepare")
        stored = {"bf16": torch.bfloat16, "fp32": torch.float32, None: model.dtype}[kv_dtype]
        block = sum(block_bytes(one, stored) for one in (model, draft) if one is not None and one.causal)
        blocks = num_blocks(block, limit, max_num_seqs, kv_cache_gb)
        proposer: Proposer | None = NgramProposer() if speculate == "ngram" else None
        if draft is not None:
            proposer = DraftProposer(draft, blocks, BLOCK_SIZE, stored, max_step_tokens, cost)
        core = EngineCore(
            model,
            num_blocks=blocks,
            max_num_seqs=max_num_seqs,
            max_step_tokens=max_step_tokens,
            max_seq_len=limit,
            kv_dtype=stored,
            end_tokens=end_tokens,
            constraints=constraints_of(directory, model.config.vocab_size, end_tokens),
            speculation=None if proposer is None else Speculation(proposer, num_speculative),
            max_adapters=most_adapters,
        )
        for name, one in (adapters or {}).items():
            core.load_adapter(name, Path(one))
        phases.end("cache")
        return cls(core, directory, after_step, precision=precision, phases_s=phases.seconds)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends after the step that is under way."""
        self.loop.close()

    def submit(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        *,
        salt: bytes = b"",
        n: int = 1,
        adapter: str | None = None,
        processor: LogitsProcessor | None = None,
    ) -> Ticket:
        """Hands a request in: iterate the ticket for its tokens. `n` answers are told apart by the `answer` of the events; the
        prompt is computed once, answer i draws from seed + i. `adapter`: the name of one that is loaded, None for the base.
        `processor`: changes the logits of its answers.
        """
        return self.loop.submit(prompt, params, salt=salt, n=n, adapter=adapter, processor=processor)

    def load_adapter(self, name: str, directory: Path | str) -> None:
        """From now on requests may name it. See `Adapters.load` for what is refused."""
        self.loop.run(lambda core: core.load_adapter(name, Path(directory))).result()

    def unload_adapter(self, name: str) -> None:
        """UsageError while requests that use it are under way."""
        self.loop.run(lambda core: core.unload_adapter(name)).result()

    def fork(self, ticket: Ticket, seed: int | None = None) -> Ticket:
        """A request that goes on by itself from where `ticket` is; `begun` says what had been answered. UsageError when it has
        ended.
        """
        return self.loop.fork(ticket, seed)

    def sample(self, prompt: Sequence[int], params: SamplingParams, n: int, best_of: int | None = None) -> list[Output]:
        """`n` answers to one prompt, which is computed once; the likeliest of `best_of`, by the mean log-probability of their
        tokens, where it is given. Answer i draws from seed + i. UsageError when best_of is less than n.
        """
        count = n if best_of is None else best_of
        if count < n:
            raise UsageError(f"best_of is {best_of}, n is {n}", "best_of may not be less")
        told = params if best_of is None or params.logprobs is not None else replace(params, logprobs=0)
        ticket = self.submit(prompt, told, n=count)
        try:
            answers = outputs(ticket, len(prompt))
        except BaseException:
            ticket.cancel()
            raise
        ranked = answers if best_of is None else sorted(answers, key=lambda one: -one.mean_logprob)
        return ranked[:n]

    def update_weights(self, source: Mapping[str, Tensor] | Path | str) -> None:
        """The tensors of a checkpoint directory, or all of them by the checkpoint's names or ours, compute from the next step on;
        a quantized model is quantized again. Cached prefixes are forgotten. Requests that are under way keep what they have
        written, which is computed again, and go on. A draft model stays as it is.

        For a moment both weights are in memory. Raises ModelUnavailable for tensors that do not fit, UsageError while there are
        adapters; the old weights stay then.
        """

        self.loop.run(lambda core: replace_weights(core, source, self._precision)).result()

    def sleep(self) -> None:
        """Gives back the memory of keys and values until `wake`: weights stay, requests wait."""
        self.loop.run(lambda core: core.sleep()).result()

    def wake(self) -> None:
        """Requests go on: what they had written is computed again."""
        self.loop.run(lambda core: core.wake()).result()

    def summary(self) -> EngineSummary:
        """What it takes and what it can serve; printed, the first screen of a server."""
        return self.loop.run(lambda core: summary_of(core, self._precision, self._phases_s)).result()

    def generate(self, prompts: Iterable[Sequence[int]], params: SamplingParams) -> list[Output]:
        """The answers to all prompts, computed together, in their order. With a seed, prompt i draws from seed + i."""
        tickets: list[tuple[int, Ticket]] = []
        try:
            for place, prompt in enumerate(prompts):
                own = params if params.seed is None else replace(params, seed=params.seed + place)
                tickets.append((len(prompt), self.submit(prompt, own)))
            return [outputs(ticket, count)[0] for count, ticket in tickets]
        except BaseException:
            for _, ticket in tickets:
                ticket.cancel()
            raise

    def chat(self, processor: LogitsProcessor | None = None) -> LocalChatModel:
        """Text in, text out, by the chat template of the checkpoint; `processor` changes the logits of all answers.
        ModelUnavailable for a tokenizer of another model.
        """
        from openbook.lm.tokenizers.tokenizer import Tokenizer
        from openbook.lm.tokenizers.vocabulary import check_vocabulary
        from openbook.serving.chat.local import LocalChatModel

        tokenizer = Tokenizer.load(self.directory)
        check_vocabulary(tokenizer, self.loop.engine.model.config.vocab_size)
        return LocalChatModel(self.loop, tokenizer, self.directory.name, processor, self.directory)
