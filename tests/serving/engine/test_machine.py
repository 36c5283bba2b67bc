"""Whatever is done in whatever order: no block is lost, and each answer is that of the plain loop."""

from __future__ import annotations

from functools import cache

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openbook.core.messages import SamplingParams
from openbook.lm.generate import generate
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.speculate.draft import DraftProposer
from openbook.serving.engine.speculate.ngram import NgramProposer
from openbook.serving.engine.speculate.proposer import Proposer
from openbook.serving.engine.speculate.speculation import Speculation
from serving.engine.models import check_blocks, model, model_of

LONGEST = 10
Asked = tuple[int, ...]


@cache
def plain(prompt: Asked) -> list[int]:
    return generate(model("qwen2"), [list(prompt)], LONGEST)[0]


class Machine(RuleBasedStateMachine):
    """An engine in little memory, and what each request has been given."""

    @initialize(
        block_size=st.sampled_from([1, 2, 4]),
        spare=st.integers(0, 8),
        seats=st.integers(1, 4),
        budget=st.integers(1, 12),
        proposer=st.sampled_from(["none", "ngram", "draft"]),
    )
    def begin(self, block_size: int, spare: int, seats: int, budget: int, proposer: str) -> None:
        blocks = -(-(12 + LONGEST) // block_size) + spare
        small = model_of(seed=8, model_type="qwen2")
        guesser: dict[str, Proposer] = {
            "ngram": NgramProposer(),
            "draft": DraftProposer(small, blocks, block_size, small.dtype, budget),
        }
        self.engine = EngineCore(
            model("qwen2"),
            num_blocks=blocks,
            block_size=block_size,
            max_num_seqs=seats,
            max_step_tokens=budget,
            speculation=Speculation(guesser[proposer], 3) if proposer in guesser else None,
        )
        self.answers: dict[tuple[int, int], list[int]] = {}
        self.wanted: dict[int, tuple[Asked, int]] = {}

    @rule(
        prompt=st.lists(st.integers(0, 5), min_size=1, max_size=12),
        count=st.integers(1, LONGEST),
        n=st.integers(1, 3),
        is_scored=st.booleans(),
    )
    def add(self, prompt: list[int], count: int, n: int, is_scored: bool) -> None:
        params = SamplingParams(max_tokens=count, prompt_logprobs=0 if is_scored else None)
        number = self.engine.add(prompt, params, n=n)
        self.wanted[number] = (tuple(prompt), count)
        self.answers |= {(number, answer): [] for answer in range(n)}

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        for _ in range(count):
            for event in self.engine.step():
                self.answers[event.number, event.answer].append(event.chosen.token)
            check_blocks(self.engine)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.wanted)))
        self.engine.abort(number)
        del self.wanted[number]
        self.answers = {key: tokens for key, tokens in self.answers.items() if key[0] != number}

    @precondition(lambda self: self.engine._sequences)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        parents = [one for one in self.engine._sequences.values() if one.request not in self.engine._members]
        if not parents:
            return
        parent = data.draw(st.sampled_from(parents))
        begun = parent.output
        child = self.engine.fork(parent.number)
        self.wanted[child] = self.wanted[parent.number]
        self.answers[child, 0] = list(begun)

    @precondition(lambda self: self.engine.scheduler.running)
    @rule()
    def preempt(self) -> None:
        self.engine.scheduler._preempt(self.engine.scheduler.running[-1])

    @rule()
    def sleep(self) -> None:
        self.engine.sleep()
        assert self.engine.blocks.num_free == self.engine.blocks.num_blocks
        self.engine.wake()

    @rule()
    def forget(self) -> None:
        self.engine.blocks.forget_all()

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "engine"):
            check_blocks(self.engine)
            assert len(self.engine.scheduler.running) <= self.engine.scheduler.max_num_seqs

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        for _ in range(3_000):
            if self.engine.is_idle:
                break
            self.step(1)
        assert self.engine.is_idle
        assert self.engine.blocks.num_in_use == 0
        assert not self.engine._sequences
        assert not self.engine._members
        for (number, _), tokens in self.answers.items():
            prompt, count = self.wanted[number]
            assert tokens == plain(prompt)[:count]


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
