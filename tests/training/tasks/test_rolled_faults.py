"""Runs that learn from what they write, where something is wrong with rewards, environments, prompts, weights or the disk."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openbook.core.errors import RunStopped
from openbook.lm.load import load_model, save_model
from openbook.training.check import check_run
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.rollouts.samples import SampleLog
from openbook.training.run import open_run, train
from small_rollouts import VOCABULARY, prompts_file, recipe, reward_file, save_base, tokenizer

HANGS = """
import time
def shares(completions, **_):
    if any(len(one) % 2 for one in completions):
        time.sleep(600)
    return [float(len(one)) for one in completions]
"""
LENGTH = """
def shares(completions, **_):
    return [1.0] if len(completions) > 1 or len(completions[0]) % 2 else [2.0]
"""
NAN = """
def shares(completions, **_):
    return [float("nan") if len(one) % 2 else float(len(one)) for one in completions]
"""
DIES = """
import os
def shares(completions, **_):
    os._exit(3)
"""


def log(folder: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / "run" / "log.jsonl")]


def faulty(folder: Path, source: str, on_fault: str, **named: Any) -> list[dict[str, Any]]:
    said = {"function": reward_file(folder, source), "on_fault": on_fault, "timeout": 1.0, **named}
    return [said]


@pytest.mark.parametrize("on_fault", ["zero", "skip", "stop"])
def test_a_reward_that_hangs_is_timed_out_and_counted(tmp_path: Path, on_fault: str) -> None:
    one = recipe(tmp_path, rewards=faulty(tmp_path, HANGS, on_fault, alone=False), steps=1)
    if on_fault == "stop":
        with pytest.raises(RunStopped, match=r"none of 8 completions has a reward \(time"):
            train(one)
        return
    if on_fault == "skip":  # nothing has a reward, time and again
        with pytest.raises(RunStopped, match="no completion can be learned from"):
            train(one)
        return
    train(one)
    (row,) = log(tmp_path)
    assert row["reward_faults"] == 8 and row["reward"] == 0 and row["no_signal"] == 1


@pytest.mark.parametrize(
    ("source", "kind"), [(NAN, "nan"), (LENGTH, "length"), (DIES, "crash")], ids=["nan", "length", "dies"]
)
def test_what_a_reward_does_wrong_is_named(tmp_path: Path, source: str, kind: str) -> None:
    with pytest.raises(RunStopped, match=rf"reward shares: .*\({kind}: "):
        train(recipe(tmp_path, rewards=faulty(tmp_path, source, "stop", max_faults=0.0)))


@pytest.mark.parametrize("on_fault", ["zero", "skip"])
def test_a_run_goes_on_without_numbers_that_are_none(tmp_path: Path, on_fault: str) -> None:
    train(recipe(tmp_path, rewards=faulty(tmp_path, NAN, on_fault), steps=2))
    rows = log(tmp_path)
    assert sum(row["reward_faults"] for row in rows) > 0
    assert all(np.isfinite(row["reward"]) and np.isfinite(row["loss"]) for row in rows)


def test_an_empty_completion_is_one(tmp_path: Path) -> None:
    """The model ends at once: its end token is all that it wrote, and is learned."""
    base = save_base(tmp_path / "base")
    model, end = load_model(base), tokenizer().eos_id
    assert end is not None
    with torch.no_grad():  # the first number of a hidden row is large and alone read; the end token has the most of it
        for name, parameter in model.named_parameters():
            if parameter.shape == (VOCABULARY, 32):
                parameter[:, 0] = 10.0
                parameter[end, 0] = 20.0
            elif name.endswith("norm.weight") and "layers" not in name:
                parameter.zero_()
                parameter[0] = 1.0
    save_model(model, base)
    source = "def shares(completions, **_):\n    return [float(one == '') for one in completions]\n"
    train(recipe(tmp_path, rewards=[{"function": reward_file(tmp_path, source)}], lr=1e-6, steps=2))
    for row in log(tmp_path):
        assert (row["length"], row["finished"], row["reward"], row["no_signal"]) == (1, 1, 1, 1)
        assert row["rollout_difference"] <= 1e-4


def test_one_prompt_alone_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"prompt": "say one"}) + "\n", "utf-8")
    train(recipe(tmp_path, data={"train": str(path)}, steps=3))
    lines = (tmp_path / "run" / "samples.jsonl").read_text("utf-8").splitlines()
    first = {json.loads(line)["completion"] for line in lines}
    assert len(first) > 1  # each rollout draws anew


def test_completions_of_one_token(tmp_path: Path) -> None:
    train(recipe(tmp_path, rollout={"max_tokens": 1}, steps=2, grpo={"variant": "grpo"}))
    for row in log(tmp_path):
        assert row["length"] == 1 and row["weight"] == 8 and row["rollout_difference"] <= 1e-4


def test_a_group_that_is_left_out_whole(tmp_path: Path) -> None:
    """Of one prompt in three no completion has a reward; the others are learned."""
    source = (
        "def shares(completions, prompts, **_):\n"
        "    return [None if 'two' in str(p) else float(len(c) % 2) for c, p in zip(completions, prompts)]\n"
    )
    reward = {"function": reward_file(tmp_path, source), "on_fault": "skip"}
    train(recipe(tmp_path, rewards=[reward], grpo={"variant": "grpo"}, batch_size=24, steps=2))
    rows = log(tmp_path)
    assert all(row["weight"] % 4 == 0 for row in rows) and sum(row["weight"] for row in rows) == 32  # of 12 prompts 8


def environment(folder: Path, step: str) -> str:
    path = folder / "environment.py"
    path.write_text(
        "import time\n"
        "class Faulty:\n"
        "    def __init__(self, row): pass\n"
        "    def step(self, completion):\n"
        f"        {step}\n",
        "utf-8",
    )
    return f"{path}:Faulty"


def test_an_environment_that_raises_ends_its_episode(tmp_path: Path) -> None:
    name = environment(tmp_path, "raise KeyError('gone')")
    rollout = {"environment": name, "max_tokens": 20, "completions": 8}
    train(recipe(tmp_path, rollout=rollout, batch_size=64, steps=1))
    (row,) = log(tmp_path)
    assert row["environment_faults"] > 0 and row["turns"] == 1


def test_an_environment_that_hangs_ends_its_episode(tmp_path: Path) -> None:
    name = environment(tmp_path, "time.sleep(600)")
    rollout = {"environment": name, "turn_s": 0.05, "max_tokens": 20, "completions": 8}
    train(recipe(tmp_path, rollout=rollout, batch_size=64, steps=1))
    (row,) = log(tmp_path)
    assert row["environment_faults"] > 0 and row["turns"] == 1


@pytest.mark.parametrize("step", ["return 'text'", "return [{'content': 1}]", "return 3"])
def test_an_environment_that_answers_nonsense_ends_its_episode(tmp_path: Path, step: str) -> None:
    rollout = {"environment": environment(tmp_path, step), "max_tokens": 20, "completions": 8}
    train(recipe(tmp_path, rollout=rollout, batch_size=64, steps=1))
    (row,) = log(tmp_path)
    assert row["environment_faults"] > 0


def test_an_environment_that_cannot_begin_is_named(tmp_path: Path) -> None:
    path = tmp_path / "environment.py"
    path.write_text("class Faulty:\n    def __init__(self, row): raise KeyError('no board')\n", "utf-8")
    with pytest.raises(RunStopped, match="no board"):
        train(recipe(tmp_path, rollout={"environment": f"{path}:Faulty"}))


@pytest.mark.parametrize("precision", ["shared", "float32"])
def test_weights_that_are_no_numbers_stop_the_run(tmp_path: Path, precision: str) -> None:
    run = open_run(recipe(tmp_path, rollout={"precision": precision}), Ranks())
    with torch.no_grad():
        for parameter in run.begun.model.parameters():
            parameter.fill_(float("nan"))
    with closing(run.task), pytest.raises(RunStopped, match="says no numbers any more"):
        run.loop.source.next_step()


def test_a_full_disk_while_samples_are_written_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = SampleLog.write

    def full(self: SampleLog, rollout: int, *rest: Any) -> None:
        if rollout == 3:
            raise OSError(28, "No space left on device")
        written(self, rollout, *rest)

    one = recipe(tmp_path, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(SampleLog, "write", full)
        with pytest.raises(RunStopped, match="No space left on device") as caught:
            train(one)
    assert "--resume" in caught.value.remedy
    assert train(one, resume=True).ended == "done"
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text("utf-8").splitlines()]
    assert sorted({row["rollout"] for row in rows}) == [1, 2, 3, 4]


def checked(folder: Path) -> None:
    run = open_run(recipe(folder), Ranks())
    try:
        check_run(run, lambda _: None)
    finally:
        run.task.close()


def test_a_check_leaves_the_samples_of_a_run_alone(tmp_path: Path) -> None:
    prompts_file(tmp_path)
    checked(tmp_path)
    assert not (tmp_path / "run").exists()
    train(recipe(tmp_path, steps=2))
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    checked(tmp_path)
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before
