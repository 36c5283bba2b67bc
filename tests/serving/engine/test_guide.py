"""Guided decoding: what it chooses is what brute force computes, whatever is cached, shared, preempted or beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lm.checkpoints import TINY
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.load import new_model
from openbook.lm.reward import RewardModel
from openbook.serving.engine.cached_scores import CachedScores
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.guide import RewardGuide, closing_ids, why_not
from serving.engine.guided import SCORES, TOKENIZER, by_brute_force, prompt_of, scorer, writer
from serving.engine.models import finish

GREEDY = SamplingParams(max_tokens=20, ignore_eos=True)
PROMPTS = [prompt_of("Hello?"), prompt_of("What is it?"), prompt_of("a longer question than the others are, by far")]


def engine(**more: int) -> EngineCore:
    return EngineCore(writer(), **({"num_blocks": 100} | more))


def guide(weight: float = 4.0, kind: str = "llama", **more: int) -> RewardGuide:
    return RewardGuide(scorer(kind), TOKENIZER.eos_ids, weight=weight, top_k=5, **more)


def guided(core: EngineCore, one: RewardGuide, params: SamplingParams = GREEDY, n: int = 1) -> list[list[int]]:
    numbers = [core.add(prompt, params, n=n, processor=one) for prompt in PROMPTS]
    found = finish(core)
    assert one._scores.blocks.num_in_use == 0 and not one._scores._texts
    return [found[number, answer] for number in numbers for answer in range(n)]


@pytest.fixture(scope="module")
def wanted() -> dict[str, list[list[int]]]:
    closing = closing_ids(TOKENIZER)
    return {
        kind: [by_brute_force(prompt, 20, 4.0, 5, closing, kind) for prompt in PROMPTS] for kind in ("llama", "gpt2")
    }


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_guided_tokens_are_those_of_brute_force(kind: str, wanted: dict[str, list[list[int]]]) -> None:
    found = guided(engine(), guide(kind=kind), replace(GREEDY, ignore_eos=False))
    assert found == [[one for one in tokens if one not in TOKENIZER.eos_ids] for tokens in wanted[kind]]
    assert found != [out.tokens for out in engine().generate(PROMPTS, GREEDY)], "the reward changes something"


@pytest.mark.parametrize("more", [{"num_blocks": 9}, {"max_step_tokens": 3}, {"max_num_seqs": 1}, {"block_size": 1}])
def test_neither_preemption_nor_chunks_change_what_is_chosen(more: dict, wanted: dict[str, list[list[int]]]) -> None:
    assert guided(engine(**more), guide()) == guided(engine(), guide())


def test_with_little_memory_texts_are_read_again() -> None:
    scarce = guide()
    scarce._scores = CachedScores(scorer().model, 8 + 2 * 5)
    assert guided(engine(), scarce) == guided(engine(), guide())


def test_a_weight_of_nothing_is_plain_decoding() -> None:
    drawn = SamplingParams(temperature=1.0, top_p=0.9, max_tokens=20, seed=3, ignore_eos=True)
    for params in (GREEDY, drawn):
        plain = engine()
        numbers = [plain.add(prompt, params) for prompt in PROMPTS]
        found = finish(plain)
        assert guided(engine(), guide(weight=0.0), params) == [found[number, 0] for number in numbers]


def test_seeds_hold_beside_others_and_among_forks() -> None:
    drawn = SamplingParams(temperature=1.0, max_tokens=12, seed=3, ignore_eos=True)
    together = guided(engine(), guide(), drawn, n=3)
    for place, prompt in enumerate(PROMPTS):
        for answer in range(3):
            alone, one = engine(), guide()
            number = alone.add(prompt, replace(drawn, seed=3 + answer), processor=one)
            assert finish(alone)[number, 0] == together[3 * place + answer]
    assert len({tuple(tokens) for tokens in together[:3]}) == 3


def test_requests_without_a_guide_go_on_as_they_are() -> None:
    core = engine()
    first = core.add(PROMPTS[0], GREEDY)
    second = core.add(PROMPTS[0], GREEDY, processor=guide())
    third = core.add(PROMPTS[1], GREEDY)
    found = finish(core)
    plain = [out.tokens for out in engine().generate(PROMPTS[:2], GREEDY)]
    assert [found[first, 0], found[third, 0]] == plain
    assert found[second, 0] != plain[0]


def test_penalties_and_what_is_forbidden_come_before_the_guide() -> None:
    core = engine()
    plain = core.generate([PROMPTS[0]], GREEDY)[0].tokens
    biased = replace(GREEDY, logit_bias=tuple((token, float("-inf")) for token in sorted(set(plain))))
    number = core.add(PROMPTS[0], biased, processor=guide())
    assert not set(plain) & set(finish(core)[number, 0])


def test_an_answer_ends_where_the_reward_model_reads_no_further() -> None:
    whole = scorer()
    short = RewardModel(whole.model, TOKENIZER, whole.settings._replace(max_tokens=len(PROMPTS[0]) + 6))
    one, core = RewardGuide(short, TOKENIZER.eos_ids, top_k=5), engine()
    number = core.add(PROMPTS[0], GREEDY, processor=one)
    assert len(finish(core)[number, 0]) == 6 - len(closing_ids(TOKENIZER))
    with pytest.raises(UsageError, match="what guides reads no more"):
        core.add(PROMPTS[2], GREEDY, processor=one)


def test_a_processor_that_fails_ends_its_own_requests(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        max_seq_len = None

        def process(self, logits: object, sequences: object) -> None:
            raise RuntimeError("no")

        def forget(self, sequence: object) -> None:
            pass

    core = engine()
    bad = core.add(PROMPTS[0], GREEDY, processor=Broken())
    good = core.add(PROMPTS[1], GREEDY)
    events = []
    while not core.is_idle:
        events += core.step()
    assert [event.finish_reason for event in events if event.number == bad] == ["error"]
    assert sum(event.number == good for event in events) == 20
    assert "Broken" in caplog.text


def test_what_cannot_guide_is_told_with_the_reason(tmp_path: Path) -> None:
    assert why_not(scorer(), TOKENIZER) == ""
    assert "steps" in why_not(scorer(steps="steps"), TOKENIZER)
    assert "text" in why_not(scorer(prompts="text"), TOKENIZER)
    from openbook.lm.tokenizers.default import default_tokenizer

    assert "tokens" in why_not(scorer(), default_tokenizer(400))
    with pytest.raises(UsageError, match="weight"):
        guide(weight=float("nan"))
    with pytest.raises(UsageError, match="0 tokens"):
        RewardGuide(scorer(), (), top_k=0)


def test_a_model_that_scores_is_refused_as_one_that_writes() -> None:
    raw = TINY | SCORES | {"vocab_size": 300, "architectures": ["LlamaForSequenceClassification"]}
    with pytest.raises(ModelUnavailable, match="scores texts and writes none"):
        EngineCore(new_model(raw))
