"""PPO by a recipe: it begins where it must, learns, stops an epoch that goes too far, goes on to the bit."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import several_processes
from openbook.core.errors import UsageError
from openbook.lm.heads import load_with_score
from openbook.lm.load import load_model, save_model
from openbook.lm.stored import Stored
from openbook.training.check import check_run
from openbook.training.critic import SeparateCritic
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, read_recipe
from openbook.training.run import open_run, train
from small_preferences import WORDS, recipe, save_base

LORA = {"kind": "lora", "r": 4, "target_modules": "all-linear"}
PROMPTS = [{"prompt": f"{word}?"} for word in WORDS[:8]]
RECIPES = Path(__file__).parents[3] / "recipes"


ROLLOUT = {"completions": 1, "max_tokens": 8, "epochs": 3, "limits": {"most_entropy": None}}
"""A model of random weights is as unsure as can be."""
REWARD = """
def vowels(completions, **_):
    return [sum(one in "aeiou" for one in text) / max(len(text), 1) for text in completions]
"""


def ppo(folder: Path, **changes: Any) -> Recipe:
    """All answers of this model are as long and worth as much; the advantages of their tokens differ."""
    said: dict[str, Any] = {
        "data": {"train": str(folder / "rows.jsonl")},
        "rollout": ROLLOUT,
        "rewards": [{"builtin": "length", "target": 12}],
        "eval_every": None,
        "warmup": 0,
    }
    return recipe(folder, "ppo", PROMPTS, **said | changes)


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_it_begins_as_the_policy_that_wrote(tmp_path: Path, critic: str, adapter: dict[str, Any] | None) -> None:
    """And as its reference: each ratio is 1, each divergence 0, exactly."""
    said: list[str] = []
    train(ppo(tmp_path, ppo={"critic": critic}, adapter=adapter, micro_batch_size=3, steps=4), say=said.append)
    first, second, third, fourth = log(tmp_path)
    for name in ("clip_fraction", "approx_kl", "kl", "value_clip_fraction"):
        assert first[name] == 0, name
    assert first["rollout_difference"] < 1e-4
    assert second["approx_kl"] > 0 and third["approx_kl"] > 0, "the second epoch learns from what was written before"
    assert "kl" not in second and fourth["approx_kl"] == 0 and fourth["kl"] != 0, "a rollout is three steps"
    assert {"reward", "reward/length", "entropy", "length", "value_loss", "kl_price", "return"} <= first.keys()
    assert any(line.startswith("critic: ") for line in said)


def test_it_learns(tmp_path: Path) -> None:
    """A worth that differs: the share of characters that are vowels."""
    rollout = ROLLOUT | {"completions": 4}
    (tmp_path / "reward.py").write_text(REWARD, "utf-8")
    rewards = [{"function": f"{tmp_path / 'reward.py'}:vowels"}]
    said: dict[str, Any] = {"ppo": {"critic": "shared"}, "rollout": rollout, "rewards": rewards, "batch_size": 32}
    train(ppo(tmp_path, **said, steps=45, lr=5e-3))
    found = [row["reward"] for row in log(tmp_path) if "reward" in row]
    assert sum(found[-3:]) > sum(found[:3]) + 0.1
    assert any("explained_variance" in row for row in log(tmp_path))


@pytest.mark.parametrize(("critic", "adapter"), [("shared", None), ("separate", None), ("shared", LORA)])
def test_it_goes_on_to_the_bit(tmp_path: Path, critic: str, adapter: dict[str, Any] | None) -> None:
    """From a checkpoint in the middle of a rollout's epochs, the critic and the price of divergence included."""
    said: dict[str, Any] = {"critic": critic, "kl_target": 0.01, "kl_horizon": 20}
    whole = ppo(tmp_path, ppo=said, adapter=adapter, steps=8, save_every=4, lr=1e-2)
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    for name in ("training/beside.safetensors", "training/optimizer.safetensors"):
        one, two = (load_file(tmp_path / run / "step-00000008" / name) for run in ("run", "halves"))
        assert one.keys() == two.keys() and all(one[key].equal(two[key]) for key in one), name
    if adapter is None:
        first, second = (Stored(tmp_path / name / "model") for name in ("run", "halves"))
        assert all(first[name].equal(second[name]) for name in first)
    prices = [[row["kl_price"] for row in log(tmp_path, run) if "kl_price" in row] for run in ("run", "halves")]
    assert prices[0] == prices[1] and len(set(prices[0])) > 1


def test_the_critic_is_no_part_of_the_model_that_is_left(tmp_path: Path) -> None:
    train(ppo(tmp_path, steps=3))
    load_model(tmp_path / "run" / "model")
    assert not (tmp_path / "run" / "model" / "training").exists()
    assert set(Stored(tmp_path / "run" / "model")) == set(Stored(tmp_path / "base"))


def test_micro_batches_do_not_change_a_run(tmp_path: Path) -> None:
    found = []
    for size in (8, 3):
        train(ppo(tmp_path, micro_batch_size=size, steps=6, out=str(tmp_path / str(size))))
        found.append(log(tmp_path, str(size)))
    for name in ("loss", "norm", "reward", "explained_variance"):
        one, other = ([row[name] for row in rows if name in row] for rows in found)
        assert one and other == pytest.approx(one, abs=1e-4), name


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Advantages are whitened, and the price of divergence is made, over both."""
    said: dict[str, Any] = {"steps": 4, "micro_batch_size": 2, "ppo": {"kl_target": 0.01, "kl_horizon": 20}}
    train(ppo(tmp_path, **said, out=str(tmp_path / "one")))
    two = ppo(tmp_path, **said, out=str(tmp_path / "two"))
    several_processes.run(tmp_path / "processes", [{"values": two.model_dump(mode="json")}])
    for name in ("loss", "norm", "reward", "kl_price", "explained_variance"):
        one, other = ([row[name] for row in log(tmp_path, run) if name in row] for run in ("one", "two"))
        assert one and other == pytest.approx(one, abs=1e-4), name


def test_a_step_that_moves_the_policy_too_far_is_the_last_of_its_rollout(tmp_path: Path) -> None:
    train(ppo(tmp_path, steps=6, lr=1e-2, ppo={"max_kl": 1e-6}))
    rolled = ["reward" in row for row in log(tmp_path)]
    assert rolled == [True, False, True, False, True, False], "the second step of each sees that the first went too far"


def test_a_reward_model_may_be_what_the_critic_begins_as(tmp_path: Path) -> None:
    scored, _ = load_with_score(save_base(tmp_path / "base"))
    scored.get_parameter("lm_head.weight").fill_(0.02)
    save_model(scored, tmp_path / "reward")
    run = open_run(ppo(tmp_path, ppo={"critic_path": str(tmp_path / "reward")}), Ranks())
    run.task.close()
    assert isinstance(run.loop.beside, SeparateCritic)
    assert (run.loop.beside.model.get_parameter("lm_head.weight") == 0.02).all()
    assert "with the head of a reward model" in run.task.notes[-1]


def test_it_is_checked_before_it_runs(tmp_path: Path) -> None:
    said: list[str] = []
    run = open_run(ppo(tmp_path), Ranks())
    with closing(run.task):
        check_run(run, said.append)
    assert any(line.startswith("loss before training") for line in said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": []}, "there is no reward"),
        ({"checkpoint": "sharded"}, "goes with parallel=fsdp"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_run(ppo(tmp_path, **changes), Ranks())


def test_a_shared_critic_begins_as_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="critic_path"):
        ppo(tmp_path, ppo={"critic": "shared", "critic_path": "reward"})


def test_the_critic_reads_the_tokens_of_the_policy(tmp_path: Path) -> None:
    save_base(tmp_path / "other", vocab_size=600)
    with pytest.raises(UsageError, match="table of 600 tokens"):
        open_run(ppo(tmp_path, ppo={"critic_path": str(tmp_path / "other")}), Ranks())


def test_the_recipe_has_the_published_settings() -> None:
    """Huang et al. 2024, https://arxiv.org/abs/2403.17031, and the references beside it."""
    found = read_recipe(RECIPES / "ppo.yaml")
    assert (found.eps, found.schedule, found.least_rate, found.lr) == (1e-5, "linear", 0.0, 3e-6)
    assert (found.rollout.epochs, found.rollout.minibatches, found.rollout.temperature) == (4, 1, 0.7)
    said = found.ppo
    assert (said.clip, said.value_clip, said.value_weight, said.beta) == (0.2, 0.2, 0.1, 0.05)
    assert (said.gamma, said.lam, said.whiten_rewards, said.missing_eos_penalty) == (1.0, 0.95, False, 1.0)
