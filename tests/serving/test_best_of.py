"""The best of n answers: which one, of which model, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chat_server import ChatServer, refused, said
from doubles import ScriptedModel
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ChatModel, ChatRequest, Completion, Message, SamplingParams
from openbook.lm.reward import RewardModel
from openbook.serving.best_of import BestOf
from openbook.serving.chat.local import LocalChatModel
from openbook.serving.endpoint import parse_endpoint
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.loop import EngineLoop
from openbook.serving.remote import RemoteChatModel
from openbook.serving.reward_scorer import RewardScorer
from openbook.serving.sampling import sample_many
from serving.engine.guided import TOKENIZER, scorer, writer

DRAWN = SamplingParams(temperature=1.0, seed=4, max_tokens=8, ignore_eos=True)


def asked(text: str = "Hello?", params: SamplingParams = DRAWN) -> ChatRequest:
    return ChatRequest((Message.of("user", text),), params)


def lengths(messages: Sequence[Message], answers: Sequence[str]) -> list[float | None]:
    return [float(len(one)) if one else None for one in answers]


def test_the_highest_score_wins_and_of_equal_ones_the_first() -> None:
    chosen = BestOf(ScriptedModel("a", "bbb", "cc", "ddd"), lengths, 4).choose(asked())
    assert (chosen.best, chosen.completion.text, chosen.scores) == (1, "bbb", [1.0, 3.0, 2.0, 3.0])


def test_every_answer_has_a_seed_of_its_own() -> None:
    model = ScriptedModel("a", "b", "c")
    BestOf(model, lengths, 3).complete(asked())
    assert [one.sampling.seed for one in model.requests] == [4, 5, 6]


def test_a_stream_gives_the_best_at_once_and_many_are_chosen_each_by_itself() -> None:
    stream = BestOf(ScriptedModel("a", "bb"), lengths, 2).stream(asked())
    assert next(stream) == "bb"
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value.text == "bb"
    many: ChatModel = BestOf(ScriptedModel("a", "bb", "ccc", "d", "", ""), lengths, 2)
    found = dict(many.complete_many([asked(), asked("And?"), asked("Or?")]))
    assert [getattr(found[place], "text", "") for place in (0, 1)] == ["bb", "ccc"]
    assert isinstance(found[2], ModelUnavailable) and "none of 2 answers has a score" in str(found[2])


def test_answers_that_failed_are_left_out() -> None:
    with ChatServer(said("a"), refused(400, "no"), said("ccc")).running() as server:
        model = RemoteChatModel(parse_endpoint(f"{server.url}#tiny"), connections=1)
        chosen = BestOf(model, lengths, 3).choose(asked())
        assert chosen.completion.text == "ccc"
        assert [score for score in chosen.scores if score is None] == [None]
        model.close()
    with ChatServer(refused(400, "no")).running() as server:
        model = RemoteChatModel(parse_endpoint(f"{server.url}#tiny"))
        with pytest.raises(ModelUnavailable, match="400"):
            BestOf(model, lengths, 2).complete(asked())
        model.close()


def test_what_cannot_differ_is_refused() -> None:
    with pytest.raises(UsageError, match="temperature 0"):
        BestOf(ScriptedModel("a", "b"), lengths, 2).complete(asked(params=SamplingParams()))
    with pytest.raises(UsageError, match="0 answers"):
        BestOf(ScriptedModel("a"), lengths, 0).complete(asked())
    assert BestOf(ScriptedModel("a"), lengths, 1).complete(asked(params=SamplingParams())).text == "a"


def test_an_engine_computes_the_prompt_once_and_the_answers_are_those_of_their_seeds() -> None:
    with EngineLoop(EngineCore(writer(), num_blocks=100, end_tokens=TOKENIZER.eos_ids)) as loop:
        chat = LocalChatModel(loop, TOKENIZER, "tiny")
        alone = [chat.complete(asked(params=replace(DRAWN, seed=4 + i))) for i in range(4)]
        ((place, together),) = sample_many(chat, [asked()], 4)
        assert place == 0 and [one.text for one in together if isinstance(one, Completion)] == [
            one.text for one in alone
        ]
        best = BestOf(chat, RewardScorer(scorer()), 4).choose(asked())
        wanted = scorer().scores([[{"role": "user", "content": "Hello?"}]] * 4, [one.text for one in alone])
        assert best.scores == pytest.approx(wanted)
        assert best.best == max(range(4), key=lambda at: wanted[at])
        assert loop.run(lambda core: core.blocks.num_in_use).result() == 0


def test_a_stop_string_ends_one_answer_and_not_the_others() -> None:
    with EngineLoop(EngineCore(writer(), num_blocks=100, end_tokens=TOKENIZER.eos_ids)) as loop:
        chat = LocalChatModel(loop, TOKENIZER, "tiny")
        ((_, plain),) = sample_many(chat, [asked()], 3)
        texts = [one.text for one in plain if isinstance(one, Completion)]
        stop = texts[1][2:5]
        assert stop not in texts[0]
        ((_, found),) = sample_many(chat, [asked(params=replace(DRAWN, stop=(stop,)))], 3)
        assert [one.text for one in found if isinstance(one, Completion)][:2] == [texts[0], texts[1].partition(stop)[0]]
        ((_, refused_),) = sample_many(chat, [asked("long " * 500)], 2)
        assert all(isinstance(one, UsageError) for one in refused_)


def test_an_answer_that_is_too_long_has_no_score() -> None:
    short = RewardModel(scorer().model, TOKENIZER, scorer().settings._replace(max_tokens=20))
    found = RewardScorer(short)([Message.of("user", "Hello?")], ["yes", "yes " * 50])
    assert found[0] is not None and found[1] is None
    with pytest.raises(UsageError, match="steps"):
        RewardScorer(scorer(steps="steps"))
