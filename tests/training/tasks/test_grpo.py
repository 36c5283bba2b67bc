"""GRPO by a recipe: it begins exactly where it must, learns, goes on to the bit, and is the same in two processes."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import several_processes
from openbook.core.errors import BadData, RunStopped, UsageError
from openbook.lm.stored import Stored
from openbook.training.check import check_run
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.run import open_run, train
from small_rollouts import prompts_file, recipe, reward_file

VARIANTS = ("grpo", "dr_grpo", "dapo", "rloo", "reinforce++", "reinforce++_baseline", "gspo", "gspo_token")
LORA = {"kind": "lora", "r": 4, "target_modules": "all-linear"}


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


def weights(folder: Path) -> dict[str, np.ndarray]:
    stored = Stored(folder)
    return {name: stored[name].float().numpy() for name in stored}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_begins_exactly_where_it_must(tmp_path: Path, variant: str) -> None:
    """Two passes: the log-probabilities of the first step are those that were kept, to the bit."""
    changes: dict[str, Any] = {
        "grpo": {"variant": variant, "redraws": 0},
        "rollout": {"epochs": 2},
        "micro_batch_size": 3,
    }
    train(recipe(tmp_path, **changes, lr=1e-2))
    first, second, *_ = log(tmp_path)
    assert first["approx_kl"] == 0 and first["clip_fraction"] == 0
    assert first.get("kl", 0) == 0
    assert first["rollout_difference"] <= 1e-4
    assert second["approx_kl"] > 0
    assert {"reward", "reward_std", "length", "finished", "entropy", "no_signal"} <= first.keys()
    assert "reward" not in second and second["rollout_difference"] <= 1e-4


def test_rewards_rise(tmp_path: Path) -> None:
    train(recipe(tmp_path, lr=5e-3, steps=30, batch_size=16))
    rewards = [row["reward"] for row in log(tmp_path)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15


def test_the_reference_of_an_adapter_is_its_base(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"adapter": LORA, "grpo": {"variant": "grpo", "beta": 0.1}, "lr": 3e-2}
    train(recipe(tmp_path, **changes))
    found = log(tmp_path)
    assert found[0]["kl"] == 0
    assert found[-1]["kl"] > 0


def test_the_loss_is_nothing_and_its_gradient_is_not(tmp_path: Path) -> None:
    """One step a rollout, no divergence, means of sequences: print the reward, not the loss."""
    train(recipe(tmp_path, grpo={"variant": "grpo", "beta": 0.0}, steps=1, batch_size=32))
    (first,) = log(tmp_path)
    assert abs(first["loss"]) < 1e-6 and first["norm"] > 1e-3


@pytest.mark.parametrize(
    "steps", [{"epochs": 2, "minibatches": 2}, {}], ids=["in the middle of a rollout", "between two"]
)
def test_it_goes_on_to_the_bit(tmp_path: Path, steps: dict[str, int]) -> None:
    changes: dict[str, Any] = {"rollout": steps, "grpo": {"variant": "grpo"}, "save_every": 3, "schedule": "constant"}
    train(recipe(tmp_path, steps=6, out=str(tmp_path / "whole"), **changes))
    train(recipe(tmp_path, steps=3, out=str(tmp_path / "parts"), **changes))
    train(recipe(tmp_path, steps=6, out=str(tmp_path / "parts"), **changes), resume=True)
    one, two = (weights(tmp_path / name / "step-00000006") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    samples = [(tmp_path / name / "samples.jsonl").read_text("utf-8") for name in ("whole", "parts")]
    assert samples[0] == samples[1]


def test_micro_batches_do_not_change_a_run(tmp_path: Path) -> None:
    for size in (8, 3):
        train(recipe(tmp_path, micro_batch_size=size, out=str(tmp_path / str(size))))
    for name in ("loss", "norm", "reward", "entropy"):
        whole, parts = ([row[name] for row in log(tmp_path, str(size))] for size in (8, 3))
        assert parts == pytest.approx(whole, abs=1e-4)


def test_two_processes_are_one(tmp_path: Path) -> None:
    jobs = []
    for variant in ("dapo", "reinforce++"):
        changes: dict[str, Any] = {"grpo": {"variant": variant, "redraws": 0}, "micro_batch_size": 4, "steps": 3}
        changes["data"] = {"eval": str(prompts_file(tmp_path, 3))}
        train(recipe(tmp_path, **changes, out=str(tmp_path / f"{variant}-one")))
        two = recipe(tmp_path, **changes, out=str(tmp_path / f"{variant}-two"))
        jobs.append({"values": two.model_dump(mode="json")})
    several_processes.run(tmp_path / "processes", jobs)
    for variant in ("dapo", "reinforce++"):
        one, two = (log(tmp_path, f"{variant}-{name}") for name in ("one", "two"))
        for name in ("loss", "norm", "reward", "length", "eval_loss", "eval_reward"):
            wanted = [row[name] for row in one if name in row]
            assert wanted and [row[name] for row in two if name in row] == pytest.approx(wanted, abs=1e-5), name


def test_evaluations_say_the_reward_of_held_out_prompts(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"data": {"eval_share": 0.25}, "eval_every": 2}
    changes["rollout"] = {"eval_temperature": 1.0, "eval_completions": 4}
    train(recipe(tmp_path, **changes))
    found = [row for row in log(tmp_path) if "eval_loss" in row]
    assert [row["step"] for row in found] == [2, 4]
    assert all(row["eval_loss"] == pytest.approx(-row["eval_reward"]) for row in found)


def test_samples_have_their_rewards(tmp_path: Path) -> None:
    train(recipe(tmp_path, steps=2))
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [row["rollout"] for row in rows] == [1, 1, 2, 2]
    assert all(row["prompt"].startswith("say ") and row["reward"] in (0.0, 1.0) for row in rows)
    assert all(bool(row["reward"]) == any(c in "aeiou" for c in row["completion"]) for row in rows)
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "completions of rollout 2" in report and "groups without signal" in report


def test_groups_without_signal_are_drawn_again(tmp_path: Path) -> None:
    """The reward is 1 for one prompt of three whatever is written, and random for the others."""
    source = (
        "def shares(completions, prompts, **_):\n"
        "    return [1.0 if 'six' in str(p) else float(len(c) % 2) for c, p in zip(completions, prompts)]\n"
    )
    said: dict[str, Any] = {"rewards": [{"function": reward_file(tmp_path, source)}], "batch_size": 12, "steps": 3}
    for redraws in (0, 5):
        train(recipe(tmp_path, **said, grpo={"variant": "dapo", "redraws": redraws}, out=str(tmp_path / str(redraws))))
    plain, redrawn = log(tmp_path, "0"), log(tmp_path, "5")
    assert sum(row["no_signal"] for row in plain) > 0
    assert all(row["no_signal"] == 0 for row in redrawn)
    assert sum(row["redrawn"] for row in redrawn) > 0
    assert all(row["weight"] > 0 for row in redrawn)


def test_a_completion_without_a_reward_is_left_out(tmp_path: Path) -> None:
    source = (
        "def shares(completions, **_):\n"
        "    return [float('nan') if len(c) % 3 == 0 else float(len(c)) for c in completions]\n"
    )
    reward = {"function": reward_file(tmp_path, source), "on_fault": "skip"}
    train(recipe(tmp_path, rewards=[reward], grpo={"variant": "grpo"}, steps=3))
    rows = log(tmp_path)
    assert any(row["reward_faults"] > 0 for row in rows)
    assert all(np.isfinite(row["reward"]) and row["weight"] == 8 - row["reward_faults"] for row in rows)


def test_a_reward_that_raises_stops_the_run_by_name(tmp_path: Path) -> None:
    source = "def shares(completions, **_):\n    raise ValueError('no such thing')\n"
    with pytest.raises(RunStopped, match="no such thing"):
        train(recipe(tmp_path, rewards=[{"function": reward_file(tmp_path, source)}]))


def test_truncated_completions_can_be_left_out(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"grpo": {"variant": "dapo", "redraws": 0}, "steps": 2, "batch_size": 32}
    train(recipe(tmp_path, **changes, rollout={"truncated": "leave out", "max_tokens": 24, "completions": 8}))
    for row in log(tmp_path):
        assert 0 < row["finished"] < 0.5
        assert 0 < row["weight"] <= round(row["finished"] * 32) * 24


def test_an_environment_answers_and_what_it_says_is_not_learned(tmp_path: Path) -> None:
    """It answers whatever ends by itself with a word; an episode has one turn more each time."""
    path = tmp_path / "environment.py"
    path.write_text(
        "class Echo:\n"
        "    def __init__(self, row): self.left = 2\n"
        "    def step(self, completion):\n"
        "        self.left -= 1\n"
        "        return [{'role': 'tool', 'content': 'again'}] if self.left >= 0 else []\n",
        "utf-8",
    )
    changes: dict[str, Any] = {"rollout": {"environment": f"{path}:Echo", "max_tokens": 20, "completions": 8}}
    run = open_run(recipe(tmp_path, **changes, batch_size=64), Ranks())
    with closing(run.task):
        found = run.loop.source.next_step()
    told = found[0].told
    assert told["turns"][0] > told["turns"][1]  # one at least went on
    again = run.begun.tokenizer.encode("again", add_special_tokens=False)
    source: Any = run.loop.source
    longer = [one for one in source._batch.episodes if one.turns > 1]
    for episode in longer:
        unlearned = [token for token, mark in zip(episode.ids, episode.learned, strict=True) if not mark]
        assert unlearned == again * (episode.turns - 1)
        assert len(episode.logprobs) == sum(episode.learned)
    train(recipe(tmp_path, **changes, batch_size=64, steps=2, out=str(tmp_path / "other")))
    assert log(tmp_path, "other")[0]["rollout_difference"] <= 1e-4


def test_a_collapsed_policy_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="collapsed: its entropy"):
        train(recipe(tmp_path, steps=9, rollout={"limits": {"most_entropy": 0.01, "patience": 3}}))
    assert len(log(tmp_path)) == 2


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_copy_of_less_precision_is_made_up_for(tmp_path: Path, precision: str) -> None:
    train(recipe(tmp_path, rollout={"precision": precision, "importance": 2.0}, steps=2))
    for row in log(tmp_path):
        assert 0 < row["rollout_difference"] < 0.5
        assert row["importance"] == pytest.approx(1.0, abs=0.1)
        assert row["renew_mb"] > 0


def test_a_check_shows_a_completion(tmp_path: Path) -> None:
    said: list[str] = []
    run = open_run(recipe(tmp_path), Ranks())
    with closing(run.task):
        check_run(run, said.append)
    assert "12 prompts to answer" in said
    assert any(line.strip().startswith("trained") for line in said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": ()}, "no reward"),
        ({"batch_size": 6}, "no multiple of 4 completions"),
        ({"rollout": {"completions": 1}}, "compared with others"),
        ({"rollout": {"max_tokens": 40}}, "no room for a prompt"),
        ({"adapter": {"kind": "lora", "dropout": 0.1}}, "dropout"),
        ({"adapter": {"kind": "prefix"}}, "virtual tokens"),
        ({"rollout": {"environment": "nowhere.py:X"}}, "environment"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_run(recipe(tmp_path, **changes), Ranks())


def test_prompts_that_are_too_long_or_broken_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "' + "long " * 60 + '"}\n{"text": "x"}\n', "utf-8")
    run = open_run(recipe(tmp_path, data={"train": str(path), "max_broken": 0.5}), Ranks())
    run.task.close()
    assert "1 prompts to answer" in run.task.notes
    assert any("longer than 26 tokens (first: " in line and "rows.jsonl:2" in line for line in run.task.notes)
    with pytest.raises(BadData, match="1 of 3 rows are broken"):
        open_run(recipe(tmp_path, data={"train": str(path)}), Ranks())


def test_a_minibatch_that_was_cut_whole_is_passed_over(tmp_path: Path) -> None:
    """Of eight minibatches of four answers, some have none that ended by itself."""
    changes: dict[str, Any] = {"grpo": {"variant": "dapo", "redraws": 0}, "batch_size": 4, "steps": 6}
    changes["rollout"] = {"truncated": "leave out", "max_tokens": 12, "completions": 4, "minibatches": 8}
    train(recipe(tmp_path, **changes))
    rows = log(tmp_path)
    assert len(rows) == 6 and all(row["weight"] > 0 for row in rows)
    assert sum("reward" in row for row in rows) > 1  # one rollout has fewer steps than minibatches


def test_a_check_shows_a_completion_that_is_learned(tmp_path: Path) -> None:
    said: list[str] = []
    changes: dict[str, Any] = {"grpo": {"variant": "dapo", "redraws": 0}, "batch_size": 64}
    changes["rollout"] = {"truncated": "leave out", "max_tokens": 20, "completions": 32}
    run = open_run(recipe(tmp_path, **changes), Ranks())
    check_run(run, said.append)
    run.task.close()
    assert any(line.strip().startswith("trained") for line in said)


def test_held_out_completions_without_a_reward_do_not_count(tmp_path: Path) -> None:
    source = "def shares(completions, **_):\n    return [float('nan') if len(c) % 2 else -1.0 for c in completions]\n"
    reward = {"function": reward_file(tmp_path, source), "on_fault": "skip"}
    changes: dict[str, Any] = {"data": {"eval": str(prompts_file(tmp_path, 9))}, "rewards": [reward], "batch_size": 16}
    train(recipe(tmp_path, **changes, steps=1, rollout={"eval_temperature": 1.0, "eval_completions": 4}))
    (row,) = [row for row in log(tmp_path) if "eval_loss" in row]
    assert row["eval_reward"] == -1 and row["eval_loss"] == 1


def test_both_divergences_have_their_limit(tmp_path: Path) -> None:
    """The one to the reference is told only by steps that know it: the others do not begin its count anew."""
    run = open_run(recipe(tmp_path, rollout={"limits": {"kl": 1.0, "patience": 3}}), Ranks())
    source: Any = run.loop.source
    with pytest.raises(RunStopped, match="divergence from the reference is 5"):
        for _ in range(3):
            source.saw({"kl": 5.0, "approx_kl": 0.0})
            for _ in range(3):
                source.saw({"approx_kl": 0.0})
    run.task.close()


def test_two_processes_go_on_from_the_middle_of_a_rollout(tmp_path: Path) -> None:
    """Each has its own half of it."""
    changes: dict[str, Any] = {"rollout": {"epochs": 2, "minibatches": 2}, "schedule": "constant", "save_every": 3}
    changes |= {"micro_batch_size": 4, "batch_size": 16}
    jobs = [
        {"values": recipe(tmp_path, **changes, steps=6, out=str(tmp_path / "whole")).model_dump(mode="json")},
        {"values": recipe(tmp_path, **changes, steps=3, out=str(tmp_path / "parts")).model_dump(mode="json")},
    ]
    several_processes.run(tmp_path / "first", jobs)
    kept = tmp_path / "parts" / "step-00000003" / "training"
    assert (kept / "source-1.json").is_file()
    values = recipe(tmp_path, **changes, steps=6, out=str(tmp_path / "parts")).model_dump(mode="json")
    several_processes.run(tmp_path / "second", [{"values": values, "resume": True}])
    one, two = (weights(tmp_path / name / "step-00000006") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    with pytest.raises(Exception, match="go on with as many"):
        shutil.copytree(kept.parent, tmp_path / "alone" / "step-00000003")
        train(recipe(tmp_path, **changes, steps=6, out=str(tmp_path / "alone")), resume=True)
