"""Rewards opened from a recipe's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from doubles import ScriptedModel
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.load import new_model, save_model
from openbook.lm.presets import new_config
from openbook.lm.reward import SETTINGS, RewardModel
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.rewards.model import ModelReward
from openbook.training.rewards.open import open_rewards
from openbook.training.rewards.sampled import Fault
from openbook.training.rewards.settings import RewardTerm
from reward_samples import sampled


def parts(*values: dict[str, Any]) -> list[RewardTerm]:
    return [RewardTerm.model_validate(one) for one in values]


def test_several_kinds_together(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def long(completions):\n    return [len(one) / 10 for one in completions]\n", "utf-8"
    )
    named = parts(
        {"builtin": "number"},
        {"function": f"{tmp_path}/mine.py:long", "weight": 0.5},
        {"builtin": "regex", "pattern": "=", "weight": 0.1},
        {"builtin": "overlong", "target": 4, "buffer": 2},
        {"judge": "any", "weight": 2.0},
    )
    judge = ScriptedModel("10", "1")
    with open_rewards(named, lambda _: judge) as rewards:
        table = rewards.score([sampled("2+2 = 4", answer=4, tokens=2), sampled("5", answer=4, tokens=4)])
    assert table.by_name["judge"].tolist() == [1.0, 0.0]
    assert table.total.tolist() == pytest.approx([1 + 0.35 + 0.1 + 0 + 2, 0 + 0.05 + 0 - 1 + 0])
    rewards.close()


def test_a_judge_that_cannot_be_read_or_asked_is_a_fault() -> None:
    class Down(ScriptedModel):
        def complete_many(self, requests: Any) -> Any:
            return ((place, ModelUnavailable("no server", "start it")) for place, _ in enumerate(requests))

    for model, kind in ((ScriptedModel("well", "hm"), "nonsense"), (Down(), "unavailable")):
        with open_rewards(parts({"judge": "x", "on_fault": "skip"}), lambda _, model=model: model) as rewards:
            (fault,) = rewards.score([sampled("a")]).faults
        assert fault.fault.kind == kind


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([], "there is no reward"),
        ([{"builtin": "number"}, {"builtin": "number", "key": "b"}], "two rewards are called 'number'"),
        ([{"function": "none.py:f"}], "not there"),
        ([{"model": "runs/none"}], "not there"),
        ([{"program": "none.py"}], "not there"),
        ([{"builtin": "regex", "pattern": "("}], "regular expression"),
        ([{"judge": "none", "rubric": "none.txt"}], "cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_said(named: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_rewards(parts(*named))


def test_a_reward_model_of_steps_is_refused(tmp_path: Path) -> None:
    new_reward_model(tmp_path)
    (tmp_path / SETTINGS).write_text('{"kind": "steps"}', "utf-8")
    with pytest.raises(UsageError, match="steps of a solution"):
        open_rewards(parts({"model": str(tmp_path)}))


def new_reward_model(folder: Path) -> None:
    tokenizer = default_tokenizer(300)
    raw = new_config("llama", "1m", tokenizer.vocab_size, 64) | {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "intermediate_size": 48, "architectures": ["LlamaForSequenceClassification"], "num_labels": 1,
    }  # fmt: skip
    save_model(new_model(raw, seed=1), folder)
    tokenizer.save(folder)


def test_a_reward_model(tmp_path: Path) -> None:
    new_reward_model(tmp_path)
    reward, model = ModelReward.load(str(tmp_path), "model"), RewardModel.load(tmp_path)
    short, long = sampled("north"), sampled("south " * 100)
    (score, fault) = reward([short, long])
    assert score == model.scores([short.prompt], [short.completion])[0]
    assert isinstance(fault, Fault) and fault.kind == "row" and "tokens" in fault.message
