"""A process that dies, raises or falls silent ends the others, which say why; Ctrl-C saves once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import several_processes
from openbook.training.checkpoint import checkpoints
from small_runs import SHAPE, text_file, values

_slow = pytest.mark.slow
WAYS = [
    "pipeline",
    pytest.param("ddp", marks=_slow),
    pytest.param("fsdp", marks=_slow),
    pytest.param("tensor", marks=_slow),
]
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def endless(folder: Path, way: str, **changes: Any) -> dict[str, Any]:
    """The values of a run that only a fault ends."""
    text_file(folder)
    model = {"size": "1m", "tokenizer": "characters", "shape": SHAPE | HEADS}
    own = {"model": model, "micro_batch_size": 1, "steps": 100_000, "eval_every": None, "save_every": None}
    return values(folder, **(own | {"parallel": way} | changes))


def until(started: Any, text: str) -> None:
    """Reads what it says up to this line."""
    for line in started.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"{text!r} was never said: {started.communicate()}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", ["train.passes.1:3", pytest.param("train.step.1:3", marks=_slow)])
def test_a_process_that_is_killed_ends_the_other_with_the_reason(tmp_path: Path, way: str, point: str) -> None:
    """Within a step, while the other one waits for what it should send, and between two steps."""
    job = {"values": endless(tmp_path, way)}
    (first, said), (second, _) = several_processes.ended(
        several_processes.begun(tmp_path / "jobs", [job], OPENBOOK_FAULT=point)
    )
    assert second == -signal.SIGKILL
    assert first == 3, said
    assert "RunStopped: rank 0 lost another one" in said
    assert "--resume" in said


@_slow
@pytest.mark.parametrize("way", ["ddp", "fsdp", "tensor", "pipeline"])
def test_a_process_that_raises_ends_the_other(tmp_path: Path, way: str) -> None:
    """It ran out of data, say: it tells its error, the other one that it was lost."""
    job = {"values": endless(tmp_path, way), "fails": [0, 3]}
    (first, said), (second, heard) = several_processes.ended(several_processes.begun(tmp_path / "jobs", [job]))
    assert (first, second) == (3, 3), said + heard
    assert "BadData: there are no rows left" in said
    assert "RunStopped: rank 1 lost another one" in heard


@_slow
@pytest.mark.parametrize("way", ["ddp", "fsdp", "tensor", "pipeline"])
def test_a_process_that_falls_silent_is_lost(tmp_path: Path, way: str) -> None:
    started = several_processes.begun(tmp_path / "jobs", [{"values": endless(tmp_path, way), "lost_s": 10}])
    until(started[1], "2")
    started[1].send_signal(signal.SIGSTOP)
    try:
        ((status, said),) = several_processes.ended(started[:1])
    finally:
        started[1].kill()
        started[1].communicate()
    assert status == 3, said
    assert "RunStopped: rank 0 lost another one" in said


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_saves_once_and_the_run_goes_on(tmp_path: Path, way: str) -> None:
    """The second process alone hears it; both end behind the same step."""
    said = endless(tmp_path, way)
    started = several_processes.begun(tmp_path / "jobs", [{"values": said}])
    until(started[1], "2")
    started[1].send_signal(signal.SIGINT)
    assert [status for status, _ in several_processes.ended(started)] == [130, 130]
    (saved,) = checkpoints(tmp_path / "run")
    done = int(saved.name.removeprefix("step-"))
    several_processes.run(tmp_path / "again", [{"values": said | {"steps": done + 2}, "resume": True}])
    assert [path.name for path in checkpoints(tmp_path / "run")] == [saved.name, f"step-{done + 2:08d}"]


@_slow
def test_ctrl_c_on_torchrun_saves_once(tmp_path: Path) -> None:
    """It hands the signal on to each process."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(endless(tmp_path, "tensor", log_every=1)), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*command, "-m", "openbook", "train", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.lstrip().startswith("step      3/"):
                break
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert len(checkpoints(tmp_path / "run")) == 1, said + errors
    assert "--resume" in errors
