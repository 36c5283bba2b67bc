"""Whatever is proposed, the tokens are those without proposals: greedy, drawn, under penalties and grammars, in any schedule."""

from __future__ import annotations

import random
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import TINY, byte_tokenizer, tiny
from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.generate import generate
from openbook.lm.load import new_model
from openbook.serving import Engine
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.speculate.draft import DraftProposer, relative_cost
from openbook.serving.engine.speculate.ngram import NgramProposer
from openbook.serving.engine.speculate.proposer import Asked
from openbook.serving.engine.speculate.speculation import Speculation
from serving.engine.models import KINDS, finish, model, model_of

PROMPTS = st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=12), min_size=1, max_size=4)
DRAWN = {"temperature": 1.0, "seed": 3, "top_p": 0.95}


class Oracle(NgramProposer):
    """Knows the answers, and lies now and then."""

    def __init__(self, answers: dict[tuple[int, ...], list[int]], seed: int, lies: float) -> None:
        super().__init__()
        self._answers, self._random, self._lies = answers, random.Random(seed), lies
        self.copied: list[tuple[int, int]] = []

    def propose(self, asked: Items[Asked]) -> list[list[int]]:
        return [self._one(one) for one in asked]

    def _one(self, asked: Asked) -> list[int]:
        sequence = asked.sequence
        right = self._answers[tuple(sequence.tokens[: sequence.num_prompt])][sequence.num_output :]
        count = self._random.randint(0, asked.most)
        return [self._random.randrange(300) if self._random.random() < self._lies else token for token in right[:count]]


@given(
    kind=st.sampled_from(sorted(KINDS)),
    prompts=PROMPTS,
    answer=st.integers(1, 10),
    block_size=st.sampled_from([1, 2, 4, 16]),
    spare=st.integers(0, 8),
    seats=st.integers(1, 4),
    budget=st.integers(1, 30),
    most=st.integers(1, 5),
    lies=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_schedule_gives_the_tokens_of_the_plain_loop(
    kind: str,
    prompts: list[list[int]],
    answer: int,
    block_size: int,
    spare: int,
    seats: int,
    budget: int,
    most: int,
    lies: float,
    seed: int,
) -> None:
    want = {tuple(prompt): generate(model(kind), [prompt], answer)[0] for prompt in prompts}
    least = max(-(-(len(prompt) + answer) // block_size) for prompt in prompts)
    engine = EngineCore(
        model(kind),
        num_blocks=least + spare,
        block_size=block_size,
        max_num_seqs=seats,
        max_step_tokens=budget,
        speculation=Speculation(Oracle(want, seed, lies), most),
    )
    numbers = [engine.add(prompt, SamplingParams(max_tokens=answer)) for prompt in prompts]
    found = finish(engine)
    assert [found[number, 0] for number in numbers] == [want[tuple(prompt)] for prompt in prompts]
    assert engine.blocks.num_in_use == 0


def plain(params: dict[str, Any], prompts: list[list[int]], n: int = 1) -> dict[tuple[int, int], list[int]]:
    engine = EngineCore(model("llama"), block_size=4, num_blocks=200)
    for prompt in prompts:
        engine.add(prompt, SamplingParams(**params), n=n)
    return finish(engine)


@pytest.mark.parametrize("proposer", ["ngram", "draft", "itself"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        DRAWN,
        DRAWN | {"repetition_penalty": 1.2, "frequency_penalty": 0.1, "logit_bias": ((5, 3.0),)},
        DRAWN | {"stop_token_ids": tuple(range(0, 300, 11))},
        DRAWN | {"logprobs": 2, "min_p": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, 3])
def test_drawn_tokens_are_those_without_proposals(proposer: str, params: dict[str, Any], n: int) -> None:
    prompts = [[1, 2, 3, 1, 2, 3, 1, 2], [9] * 7, list(range(20))]
    params = {"max_tokens": 30} | params
    small = {"draft": model_of(seed=8), "itself": model("llama"), "ngram": None}[proposer]
    one = NgramProposer() if small is None else DraftProposer(small, 60, 4, small.dtype, 9)
    speculation = Speculation(one, 4)
    engine = EngineCore(
        model("llama"), block_size=4, num_blocks=60, max_num_seqs=3, max_step_tokens=40, speculation=speculation
    )
    for prompt in prompts:
        engine.add(prompt, SamplingParams(**params), n=n)
    assert finish(engine) == plain(params, prompts, n)
    assert speculation.num_proposed > 0 or proposer == "ngram"
    assert not speculation._paces
    if proposer == "itself" and not params.keys() & {"repetition_penalty", "stop_token_ids"}:
        assert speculation.num_accepted > 0.9 * speculation.num_proposed


def test_draws_have_the_probabilities_of_the_model() -> None:
    """Chi-square over the first two tokens: with 8 degrees of freedom over 26.1 once in a thousand; the seeds are fixed."""
    params = {"max_tokens": 4, "temperature": 0.7, "top_k": 3}
    counts: dict[bool, dict[tuple[int, ...], int]] = {True: {}, False: {}}
    for is_guessing, count in counts.items():
        speculation = Speculation(DraftProposer(model_of(seed=3), 64, 4, model("llama").dtype, 64), 3)
        engine = EngineCore(
            model("llama"), block_size=4, num_blocks=64, speculation=speculation if is_guessing else None
        )
        for seed in range(700):
            engine.add([1, 2, 3], SamplingParams(seed=seed + (0 if is_guessing else 10_000), **params))  # type: ignore[arg-type]
        for tokens in finish(engine).values():
            key = tuple(tokens[1:3])
            count[key] = count.get(key, 0) + 1
    likely = [key for key, seen in counts[False].items() if seen >= 20][:9]
    assert len(likely) >= 3
    apart = sum((counts[True].get(key, 0) - counts[False][key]) ** 2 / (2 * counts[False][key]) for key in likely)
    assert apart < 26.1


def test_a_request_that_never_hits_rests_and_tries_again() -> None:
    prompt = [5] * 20
    want = {tuple(prompt): generate(model("llama"), [prompt], 40)[0]}
    speculation = Speculation(Oracle(want, 0, 1.0), 4)
    engine = EngineCore(model("llama"), speculation=speculation)
    engine.add(prompt, SamplingParams(max_tokens=40))
    finish(engine)
    assert 12 <= speculation.num_proposed <= 30
    assert speculation.num_accepted <= 2


@pytest.mark.parametrize(("lies", "steps"), [(0.0, 9), (1.0, 32)])
def test_right_guesses_save_steps(lies: float, steps: int) -> None:
    """Each step gives the accepted tokens and one more, and computes none of them again."""
    prompt = [5, 6, 7]
    want = {tuple(prompt): generate(model("llama"), [prompt], 40)[0]}

    class Eager(Oracle):
        def _one(self, asked: Asked) -> list[int]:
            right = want[tuple(prompt)][asked.sequence.num_output :][: asked.most]
            return right if not lies else [(token + 1) % 300 for token in right]

    engine = EngineCore(model("llama"), speculation=Speculation(Eager(want, 0, lies), 4))
    engine.add(prompt, SamplingParams(max_tokens=41))
    count = 0
    while not engine.is_idle:
        engine.step()
        running = engine.scheduler.running
        assert all(one.num_to_compute == 1 for one in running)
        count += 1
    assert count == steps if not lies else count >= steps


def test_a_draft_does_not_count_on_keys_of_guesses_that_were_wrong() -> None:
    small = model_of(seed=8)
    engine = EngineCore(
        model("llama"), block_size=4, speculation=Speculation(DraftProposer(small, 1_024, 4, small.dtype, 64), 4)
    )
    engine.add([1, 2, 3], SamplingParams(max_tokens=20, temperature=1.0, seed=1))
    while not engine.is_idle:
        engine.step()
        assert all(one.num_drafted <= one.num_computed for one in engine.scheduler.running)
    assert engine.speculation is not None
    assert engine.speculation.num_accepted < engine.speculation.num_proposed


def test_forks_and_preempted_sequences_go_on_with_a_draft() -> None:
    small = model_of(seed=3)
    engine = EngineCore(
        model("llama"),
        block_size=2,
        num_blocks=14,
        speculation=Speculation(DraftProposer(small, 14, 2, small.dtype, 4), 3),
    )
    params = SamplingParams(max_tokens=14)
    numbers = [engine.add([7, 8, 9], params), engine.add([1, 2], params)]
    engine.step()
    engine.step()
    begun = engine.output_of(numbers[0])
    twin = engine.fork(numbers[0])
    kept = {number: engine.output_of(number) for number in numbers}
    found = finish(engine)
    assert engine.scheduler.num_preempted
    want = generate(model("llama"), [[7, 8, 9]], 14)[0]
    assert begun + found[twin, 0] == want
    assert kept[numbers[0]] + found[numbers[0], 0] == want


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("speculate", ["ngram", "draft"])
def test_from_a_directory(tmp_path: Path, quantize: Any, speculate: str) -> None:
    tiny(tmp_path / "large", seed=3, hidden_size=64, intermediate_size=128)
    tiny(tmp_path / "draft", seed=4, hidden_size=64, intermediate_size=64, num_hidden_layers=1)
    params = SamplingParams(max_tokens=30, ignore_eos=True)
    prompts = [[1, 2, 3] * 4, [9, 9, 9], [4]]
    with Engine.load(tmp_path / "large", quantize=quantize) as engine:
        want = engine.generate(prompts, params)
    chosen = speculate if speculate == "ngram" else tmp_path / speculate
    with Engine.load(tmp_path / "large", quantize=quantize, speculate=chosen) as engine:
        assert [one.tokens for one in engine.generate(prompts, params)] == [one.tokens for one in want]
        assert engine.loop.engine.speculation is not None
        assert engine.loop.engine.speculation.num_proposed > 0


def test_a_draft_with_other_tokens_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path / "large")
    tiny(tmp_path / "draft", vocab_size=299)
    with pytest.raises(UsageError, match="has 299 tokens, the model 300"):
        Engine.load(tmp_path / "large", speculate=tmp_path / "draft")
    tiny(tmp_path / "draft")
    for name in ("large", "draft"):
        byte_tokenizer(tmp_path / name)
    file = tmp_path / "draft" / "tokenizer.json"
    file.write_text(file.read_text().replace('"th":256', '"ht":256').replace('"th": 256', '"ht": 256'))
    with pytest.raises(UsageError, match="other tokens"):
        Engine.load(tmp_path / "large", speculate=tmp_path / "draft")
    with pytest.raises(UsageError, match="num_speculative is 0"):
        Engine.load(tmp_path / "large", speculate="ngram", num_speculative=0)


def test_a_draft_that_costs_as_much_as_the_model_is_not_asked() -> None:
    one = model("llama")
    assert relative_cost(one, one) == 1.0
    for cost, asks in ((1.0, False), (0.2, True)):
        speculation = Speculation(DraftProposer(one, 64, 4, one.dtype, 64, cost), 4)
        engine = EngineCore(one, num_blocks=64, block_size=4, speculation=speculation)
        engine.add([1, 2, 3], SamplingParams(max_tokens=20))
        finish(engine)
        assert bool(speculation.num_proposed) == asks


def test_a_smaller_draft_costs_less() -> None:
    large, small = (new_model(TINY | {"num_hidden_layers": layers}, seed=1) for layers in (4, 1))
    assert 0.2 < relative_cost(small, large) < 0.4 and relative_cost(large, small) > 2.5
