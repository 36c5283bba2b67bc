"""Runs that learn from what they write, killed anywhere: gone on with, they are those that nobody killed, to the bit."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import several_processes
from openbook.lm.stored import Stored
from small_rollouts import reward_file, save_base, values

pytestmark = pytest.mark.slow  # each run is a process of its own

REWARD = """
import os
from pathlib import Path
def shares(completions, **_):
    with open(Path(__file__).with_name("pids"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    return [sum(c in "aeiou" for c in one) / max(len(one), 1) for one in completions]
"""
POINTS = (
    "train.rolled:1",
    "train.rolled:2",
    "train.prepared:2",
    "train.passes.0:4",
    "train.step.0:3",
    "train.saving:5",
    "train.saved:2",
)


def job(folder: Path, objective: str, out: str, **named: Any) -> dict[str, Any]:
    rollout = {"epochs": 1 if objective == "distill" else 2}
    changes: dict[str, Any] = {"steps": 6, "save_every": 1, "rollout": rollout, "out": str(folder / out)}
    if objective == "distill":
        teacher = folder / "teacher"
        if not teacher.is_dir():
            save_base(teacher)
        changes |= {"grpo": None, "distill": {"teacher": str(teacher), "on_policy": 0.8}, "lr": 1e-2}
        changes["data"] = {"train": str(_answered(folder)), "layout": "single"}
    else:
        changes["grpo"] = {"variant": "grpo"}
    changes["rewards"] = [{"function": reward_file(folder, REWARD)}]
    return {"values": values(folder, objective=objective, **changes), **named}


def _answered(folder: Path) -> Path:
    path = folder / "answered.jsonl"
    words = ("one", "two", "six")
    path.write_text("".join(f'{{"prompt": "say {words[n % 3]}", "completion": "{words[n % 3]}"}}\n' for n in range(12)))
    return path


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def no_worker_is_left(folder: Path) -> bool:
    """Each sees that its socket is closed, in its own time."""
    pids = {int(line) for line in (folder / "pids").read_text().split()} if (folder / "pids").exists() else set()
    waiting = threading.Event()
    for _ in range(600):
        if all(gone(pid) for pid in pids):
            return True
        waiting.wait(0.1)
    return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each that nobody kills."""
    found = {}
    for objective in ("grpo", "distill"):
        folder = tmp_path_factory.mktemp(objective)
        several_processes.run(folder / "jobs", [job(folder, objective, "whole")], processes=1)
        found[objective] = folder
    return found


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("objective", ["grpo", "distill"])
def test_a_run_that_was_killed_goes_on_to_the_bit(whole: dict[str, Path], objective: str, point: str) -> None:
    folder = whole[objective]
    out = point.replace(":", "-")
    begun = several_processes.begun(
        folder / f"{out}-a", [job(folder, objective, out)], processes=1, OPENBOOK_FAULT=point
    )
    ((status, said),) = several_processes.ended(begun)
    assert status == -signal.SIGKILL, said
    assert no_worker_is_left(folder)
    several_processes.run(folder / f"{out}-b", [job(folder, objective, out, resume=True)], processes=1)
    one, two = (Stored(folder / name / "step-00000006") for name in ("whole", out))
    assert all(np.array_equal(one[name].numpy(), two[name].numpy()) for name in one)
    samples = [(folder / name / "samples.jsonl").read_text("utf-8") for name in ("whole", out)]
    assert samples[0] == samples[1]
    assert no_worker_is_left(folder)
