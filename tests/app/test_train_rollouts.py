"""Runs that learn from what they write, as a person starts them: what is shown before, meanwhile and behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Cli
from small_rollouts import prompts_file, reward_file, save_base

SETTINGS = (
    "data.prompts=text",
    "data.eval_share=0.25",
    "rollout.completions=4",
    "rollout.max_tokens=6",
    "rollout.limits.most_entropy=null",
    "batch_size=8",
    "max_seq_len=32",
    "steps=2",
    "warmup=0",
    "grpo.redraws=0",
    "log_every=1",
    "eval_every=1",
    "forgetting=false",
)


def settings(folder: Path) -> list[str]:
    base = folder / "base"
    if not base.is_dir():
        save_base(base)
    reward = f"rewards=[{{function: {reward_file(folder)}}}]"
    return [f"model.path={base}", f"data.train={prompts_file(folder)}", *SETTINGS, reward]


@pytest.mark.slow
def test_a_check_trains_nothing_and_says_what_would_be(tmp_path: Path) -> None:
    cli, out = Cli(tmp_path / "home"), tmp_path / "run"
    said = cli("train", "--check", "grpo", *settings(tmp_path), f"out={out}")
    assert "9 prompts to answer, 3 prompts held out" in said
    assert "trained" in said and "memory:" in said and "2 steps of" in said
    assert not out.exists()


@pytest.mark.slow
def test_an_adapter_learns_and_the_runs_are_compared_by_rewards(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    lora = ["adapter={kind: lora, r: 4, target_modules: all-linear}"]
    for name, more in (("whole", []), ("lora", lora)):
        said = cli("train", "grpo", *settings(tmp_path), *more, f"out={tmp_path / 'runs' / name}")
        steps = [line for line in said.splitlines() if line.startswith("step ")]
        assert len(steps) == 2 and all("  reward 0." in line and "held out reward" in line for line in steps)
        assert "best held-out reward" in said.splitlines()[-1]
    assert (tmp_path / "runs" / "lora" / "model" / "adapter_config.json").is_file()
    compared = cli("runs", tmp_path / "runs")
    assert compared.count("best held-out reward") == 2 and "adapter.r=4" in compared


def test_a_person_who_names_no_reward_or_no_model_is_told(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    given = [one for one in settings(tmp_path) if not one.startswith("rewards")]
    cli("train", "grpo", *given, "rewards=[]", f"out={tmp_path / 'run'}", code=2)
    assert "there is no reward" in cli.errors and "function, builtin" in cli.errors
    given = [one for one in settings(tmp_path) if not one.startswith("data.train")]
    cli("train", "grpo", *given, f"data.train={tmp_path / 'nowhere.jsonl'}", f"out={tmp_path / 'run'}", code=2)
    assert "nowhere.jsonl" in cli.errors
