"""The engine: token ids in, token ids out, any number of requests at once, one ragged forward pass a step."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import torch

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.families.base import Family
from openbook.serving.engine.adapters import Adapters
from openbook.serving.engine.blocks import BlockManager
from openbook.serving.engine.constraint import Constraint, Constraints
from openbook.serving.engine.events import NO_TOKEN, Chosen, Event, FinishReason
from openbook.serving.engine.limits import check_count, check_params, check_writes
from openbook.serving.engine.outputs import Output
from openbook.serving.engine.processor import LogitsProcessor
from openbook.serving.engine.runner import Computed, Runner, Storage
from openbook.serving.engine.sampler import choose, rows_of
from openbook.serving.engine.scheduler import Scheduler
from openbook.serving.engine.score import score_prompt
from openbook.serving.engine.sequence import Sequence
from openbook.serving.engine.speculate.draft import DraftProposer
from openbook.serving.engine.speculate.speculation import Speculation
from openbook.serving.engine.waste import kv_waste

BLOCK_SIZE = 16


class _Drawing(NamedTuple):
    """Of whose tokens one is chosen from logits `row`, and one from each row behind it while they are those of `draft`."""

    sequence: Sequence
    row: int
    draft: list[int]


class EngineCore:
    """Runs requests on a decoder-only model. For one thread: call `step` until `is_idle`, or `generate`.

    `num_blocks` blocks of `block_size` tokens hold keys and values; `max_seq_len`: the most tokens of a request, prompt and
    answer. Raises UsageError for limits that cannot be and ModelUnavailable for a model that is no decoder.
    """

    def __init__(
        self,
        model: Family,
        *,
        num_blocks: int = 1_024,
        block_size: int = BLOCK_SIZE,
        max_num_seqs: int = 32,
        max_step_tokens: int = 1_024,
        max_seq_len: int | None = None,
        kv_dtype: torch.dtype | None = None,
        end_tokens: Iterable[int] = (),
        constraints: Constraints | None = None,
        speculation: Speculation | None = None,
        max_adapters: int = 0,
    ) -> None:
        check_writes(model)
        if min(num_blocks, block_size, max_num_seqs, max_step_tokens) < 1:
            raise UsageError(
                "num_blocks, block_size, max_num_seqs and max_step_tokens must be 1 or more", "give larger ones"
            )
        self.model = model
        self.max_seq_len: int = min(max_seq_len or model.config.max_seq_len, model.config.max_seq_len)
        self.end_tokens = frozenset(end_tokens)
        self._constraints = constraints
        self.speculation = speculation
        self.blocks = BlockManager(num_blocks, block_size)
        self.scheduler = Scheduler(self.blocks, max_num_seqs, max_step_tokens)
        self.adapters = Adapters(model, max_adapters)
        self.runner = Runner(model, num_blocks, block_size, kv_dtype or model.dtype, self.adapters)
        self._sequences: dict[int, Sequence] = {}
        self._members: dict[int, set[int]] = {}  # of requests with several answers: those that have not finished
        self._next = 0
        self.is_asleep = False

    def add(
        self,
        prompt: Items[int],
        params: SamplingParams | None = None,
        *,
        salt: bytes = b"",
        n: int = 1,
        adapter: str | None = None,
        processor: LogitsProcessor | None = None,
    ) -> int:
        """Takes a request; its number. `salt`: what its prefixes may be shared within, e.g. a user. `n` answers: the prompt is
        computed once, the events of answer i say `answer` i, it draws from seed + i. `adapter`: the name of one that is loaded.
        `processor`: changes the logits of its answers.

        Raises UsageError for an empty prompt, a token that the model does not have, and one that can never be served, with
        the limit that stands in its way.
        """
        params = params or SamplingParams()
        self.check(prompt, params, n, adapter, processor)
        seed = params.seed if params.seed is not None else secrets.randbits(63)
        used = None if adapter is None else self.adapters.of(adapter)
        tokens = [NO_TOKEN] * (used.num_virtual if used else 0) + list(prompt)
        own_salt = salt if used is None else used.tag + b"\0" + salt
        sequence = Sequence(
            self._next, tokens, replace(params, seed=seed), len(tokens), own_salt, num_forks=n - 1, adapter=used
        )
        sequence.constraint = self._compiled(params)
        sequence.processor = processor
        sequence.limit = min(len(tokens) + params.max_tokens, self._longest(processor))
        if n > 1:
            self._members[sequence.number] = {sequence.number}
        self._enter(sequence)
        self.scheduler.add(sequence)
        return sequence.number

    def _enter(self, sequence: Sequence) -> None:
        assert sequence.number == self._next, "numbers are the order of arrival"
        self._sequences[sequence.number] = sequence
        self._next += 1
        if sequence.adapter is not None:
            sequence.adapter.num_users += 1

    def _longest(self, processor: LogitsProcessor | None) -> int:
        """The most tokens that a request may have."""
        own = None if processor is None else processor.max_seq_len
        return self.max_seq_len if own is None else min(self.max_seq_len, own)

    def check(
        self,
        prompt: Items[int],
        params: SamplingParams,
        n: int = 1,
        adapter: str | None = None,
        processor: LogitsProcessor | None = None,
    ) -> None:
        """Raises what `add` would raise; changes nothing."""
        check_count(n)
        virtual = self.adapters.of(adapter).num_virtual if adapter is not None else 0
        if not prompt:
            raise UsageError("the prompt is empty", "give at least one token")
        vocabulary = self.model.config.vocab_size
        check_params(params, vocabulary)
        if not all(isinstance(token, Integral) and 0 <= token < vocabulary for token in prompt):
            raise UsageError(f"a token of the prompt is not in 0..{vocabulary - 1}", "use the model's own tokenizer")
        longest = self._longest(processor)
        if virtual + len(prompt) + min(params.max_tokens, 1) > longest:
            own = f" and {virtual:,} of the adapter" if virtual else ""
            raise UsageError(
                f"the prompt has {len(prompt):,} tokens{own}, the limit is {longest:,} with the answer",
                "shorten it, or raise max_seq_len"
                if longest == self.max_seq_len
                else "shorten it: what guides reads no more",
            )
        most = min(virtual + len(prompt) + params.max_tokens, longest)
        size = self.blocks.block_size
        free = self.blocks.num_blocks - self.adapters.num_blocks + virtual // size
        if self.blocks.blocks_for(most) > free:
            room = free * size
            raise UsageError(
                f"prompt and answer may have {most:,} tokens, the cache has room for {room:,}",
                "lower max_tokens, or raise kv_cache_gb",
            )
        self._compiled(params)

    def _compiled(self, params: SamplingParams) -> Constraint | None:
        if params.constraint is None:
            return None
        if self._constraints is None:
            raise UsageError("this engine takes no grammars", "open it with Engine.load, or give it `constraints`")
        return self._constraints(params.constraint)

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return self.is_asleep or self.scheduler.is_idle

    def step(self) -> list[Event]:
        """Computes once; the tokens that were chosen. Nothing when there is nothing to do."""
        if self.is_asleep:
            return []
        if self.speculation is not None:
            self.speculation.wish(self.scheduler.running)
        plan = self.scheduler.plan()
        if not plan.pieces:
            return []
        if self.speculation is not None:
            plan = self.speculation.filled(plan, self._sequences)
        computed = self.runner.run(plan)
        self.scheduler.computed(plan)
        return self._read(computed)

    def _read(self, computed: Computed) -> list[Event]:
        """What the logits say: scores of prompts, and the next token of each sequence that is computed to its end."""
        events: list[Event] = []
        drawing: list[_Drawing] = []
        end = 0
        for piece in computed.pieces:
            sequence, begin, end = self._sequences[piece.number], end, end + piece.num_logits
            if sequence.is_scored:
                score_prompt(sequence, computed.logits[begin:end], piece.seen + len(piece.tokens) - piece.num_logits)
            if sequence.num_to_compute:
                continue
            if sequence.params.max_tokens == 0:
                events += [self._end(one, "length") for one in (sequence, *self._forked(sequence))]
                continue
            draft = piece.tokens[len(piece.tokens) - piece.num_draft :]
            drawing += [_Drawing(one, end - 1 - len(draft), draft) for one in (sequence, *self._forked(sequence))]
        return events + self._draw(computed, drawing)

    def _draw(self, computed: Computed, drawing: list[_Drawing]) -> list[Event]:
        """A token of each sequence; of those with guesses a second one where the first was guessed right, and so on."""
        events: list[Event] = []
        going, place = drawing, 0
        while going:
            rows = [one.row + place for one in going]
            peaks = None if computed.peaks is None else computed.peaks[rows]
            chosen = choose(rows_of(computed.logits, rows), [one.sequence for one in going], peaks)
            right = []
            for one, token in zip(going, chosen, strict=True):
                events.append(self._take(one.sequence, token))
                is_right = place < len(one.draft) and token.token == one.draft[place]
                if is_right and one.sequence.status == "running":
                    self.scheduler.accepted(one.sequence)
                    right.append(one)
                elif one.draft and self.speculation is not None:
                    self.speculation.note(one.sequence, len(one.draft), place + is_right)
            going, place = right, place + 1
        return events

    def _forked(self, sequence: Sequence) -> list[Sequence]:
        """The further answers of a request whose prompt has just been computed."""
        if not sequence.num_forks:
            return []
        seed = sequence.params.seed
        assert seed is not None, "every sequence has a seed"
        children = [self._child(sequence, seed + i, i) for i in range(1, sequence.num_forks + 1)]
        self._members[sequence.request] |= {child.number for child in children}
        sequence.num_forks = 0
        self.scheduler.fork(sequence, children)
        return children

    def _child(self, parent: Sequence, seed: int, answer: int = 0) -> Sequence:
        """A twin that the scheduler does not know yet. `answer` 0: a request of its own."""
        child = parent.twin(self._next, seed, answer)
        self._enter(child)
        return child

    def _end(self, sequence: Sequence, reason: FinishReason) -> Event:
        """Ends it without a token."""
        self._finish(sequence, reason)
        return self._event(sequence, Chosen(NO_TOKEN), reason, is_end=True)

    def _event(self, sequence: Sequence, chosen: Chosen, reason: FinishReason | None, *, is_end: bool) -> Event:
        is_first = sequence.num_output <= 1 and sequence.answer == 0
        scores = tuple(sequence.prompt_scores) if is_first else ()
        return Event(sequence.request, chosen, reason, is_end, sequence.num_cached, sequence.answer, scores)

    def _take(self, sequence: Sequence, chosen: Chosen) -> Event:
        if chosen.token == NO_TOKEN:
            return self._end(sequence, "error")
        sequence.tokens.append(chosen.token)
        ends = self._is_end(sequence, chosen.token)
        if sequence.constraint is not None and not ends:
            sequence.constraint.push(chosen.token)
        is_complete = sequence.constraint is not None and sequence.constraint.is_done
        reason: FinishReason | None = "stop" if ends or is_complete else None
        if reason is None and len(sequence.tokens) >= sequence.limit:
            reason = "length"
        if reason is not None:
            self._finish(sequence, reason)
        return self._event(sequence, chosen, reason, is_end=ends)

    def _is_end(self, sequence: Sequence, token: int) -> bool:
        params = sequence.params
        return token in params.stop_token_ids or (token in self.end_tokens and not params.ignore_eos)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self.scheduler.finish(sequence, reason)
        del self._sequences[sequence.number]
        if sequence.adapter is not None:
            sequence.adapter.num_users -= 1
        if sequence.processor is not None:
            sequence.processor.forget(sequence)
        if self.speculation is not None:
            self.speculation.forget(sequence.number)
        if (members := self._members.get(sequence.request)) is not None:
            members.discard(sequence.number)
            if not members:
                del self._members[sequence.request]

    def abort(self, number: int) -> None:
        """Ends a request, all its answers; its blocks are free before the next step. Nothing happens when it has ended."""
        for member in sorted(self._members.get(number, {number})):
            if member in self._sequences:
                self._finish(self._sequences[member], "abort")

    def fork(self, number: int, seed: int | None = None) -> int:
        """A request that begins where `number` is and goes on by itself; they share what they have in common.

        Raises UsageError when `number` has ended, and for one with several answers.
        """
        parent = self._sequences.get(number)
        if parent is None or number in self._members:
            cause = "has several answers" if number in self._members else "is not under way"
            raise UsageError(f"request {number} {cause}", "fork one with one answer, before it has ended")
        child = self._child(parent, seed if seed is not None else secrets.randbits(63))
        self.scheduler.fork(parent, [child])
        return child.number

    def sleep(self) -> None:
        """Gives back the memory of keys and values; the weights stay. Requests wait, what they have written stays, and it is
        computed again after `wake`. Nothing happens when it sleeps already.
        """
        if self.is_asleep:
            return
        self._forget()
        self.runner.sleep()
        if self.speculation is not None:
            self.speculation.proposer.sleep()
        self.is_asleep = True

    def wake(self) -> None:
        if not self.is_asleep:
            return
        self.runner.wake()
        if self.speculation is not None:
            self.speculation.proposer.wake()
        self.adapters.wake(self.runner.storage)
        self.is_asleep = False

    def _forget(self) -> None:
        """Keys and values are no longer true: those that run wait again, and no prefix is found."""
        self.scheduler.send_back()
        self.blocks.forget_all()

    def _check_awake(self) -> None:
        if self.is_asleep:
            raise UsageError("the engine sleeps", "wake it first")

    def replace_model(self, model: Family) -> None:
        """`model` computes from the next step on. Requests that are under way keep what they have written; it is computed again
        with the new weights, and they go on. Raises UsageError for another config, and while there are adapters.
        """
        if model.config != self.model.config:
            raise UsageError("the new weights are of another config", "load them in an engine of their own")
        if self.adapters.names:
            raise UsageError(
                f"the adapters {', '.join(self.adapters.names)} belong to the weights there are", "unload them first"
            )
        self._forget()
        self.model = self.runner.model = self.adapters.model = model

    @property
    def kv_waste(self) -> float:
        """Slots of the blocks that are in use and hold no token, over those that hold one."""
        return kv_waste(self.scheduler.running, self.blocks.block_size)

    @property
    def draft_storage(self) -> Storage | None:
        """Keys and values of a draft model."""
        proposer = None if self.speculation is None else self.speculation.proposer
        return proposer.storage if isinstance(proposer, DraftProposer) else None

    def load_adapter(self, name: str, directory: Path) -> None:
        """See `Adapters.load`. UsageError while it sleeps."""
        self._check_awake()
        self.adapters.load(name, directory, self.blocks, self.runner.storage)

    def unload_adapter(self, name: str) -> None:
        """UsageError while requests refer to it."""
        self.adapters.unload(name, self.blocks)

    def output_of(self, number: int) -> list[int]:
        """What a request that is under way has answered so far."""
        return self._sequences[number].output

    def generate(self, prompts: Iterable[Items[int]], params: SamplingParams | Items[SamplingParams]) -> list[Output]:
        """The answers to all prompts, in their order; with a seed given, prompt i draws from seed + i. UsageError while it
        sleeps.
        """
        self._check_awake()
        waiting = [list(prompt) for prompt in prompts]
        each = [params] * len(waiting) if isinstance(params, SamplingParams) else list(params)
        if isinstance(params, SamplingParams) and params.seed is not None:
            each = [replace(params, seed=params.seed + i) for i in range(len(waiting))]
        for prompt, one in zip(waiting, each, strict=True):
            self.check(prompt, one)  # all of them, so that none is left behind when one is refused
        numbers = [self.add(prompt, one) for prompt, one in zip(waiting, each, strict=True)]
        sequences = {number: self._sequences[number] for number in numbers}
        while any(sequence.status != "finished" for sequence in sequences.values()):
            self.step()
        return [self._output(sequences[number]) for number in numbers]

    def _output(self, sequence: Sequence) -> Output:
        assert sequence.finish_reason is not None
        tokens = sequence.output
        if tokens and sequence.finish_reason == "stop" and self._is_end(sequence, tokens[-1]):
            tokens = tokens[:-1]
        scores = tuple(sequence.prompt_scores)
        num_prompt = sequence.num_prompt - sequence.num_virtual
        return Output(tokens, sequence.finish_reason, num_prompt, sequence.num_cached, scores)
