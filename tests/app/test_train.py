"""`openbook train` and `openbook runs` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from command_line import Cli
from openbook.lm.stored import Stored
from openbook.training.log import read_log
from small_runs import values


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text("# A small run.\n" + yaml.safe_dump(values(folder, log_every=1, **changes)), "utf-8")
    return path


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "openbook", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )


def until(process: subprocess.Popen[str], text: str) -> None:
    """Reads what it says up to a line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.lstrip().startswith(text):
            return
    raise AssertionError(f"{text!r} was never said: {process.communicate()}")


def weights(out: Path) -> dict[str, torch.Tensor]:
    stored = Stored(out / "model")
    return {name: stored[name] for name in stored}


def test_a_recipe_is_checked_trained_and_compared(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path)
    checked = cli("train", "--check", path)
    assert "weight_decay: 0.1" in checked
    assert "trained" in checked
    assert "12 steps of 64 tokens" in checked
    assert not list((tmp_path / "run").glob("step-*"))
    shown = cli("train", path, "lr=1e-3")
    assert "lr: 0.001" in shown
    assert "step 12/12  loss" in shown
    assert "held out" in shown
    assert "tokens/s" in shown
    assert "done after step 12" in shown
    cli("train", path, f"out={tmp_path / 'other'}", "tensorboard=true")
    assert list((tmp_path / "other" / "tensorboard").iterdir())
    compared = cli("runs", tmp_path)
    assert "lr=0.001" in compared
    assert "best held-out loss" in compared
    assert [row["step"] for row in json.loads(cli("runs", tmp_path, "--json"))] == [12, 12]
    cli("train", path, "lr=1e-3", code=2)
    assert "--resume" in cli.errors


def test_what_is_no_number_is_null_in_json(cli: Cli, tmp_path: Path) -> None:
    """An override that a run was given, and a loss that an older log has."""
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text('{"step": 1, "loss": Infinity, "tokens": 4, "seconds": 1.0}\n', "utf-8")
    (run / "recipe.yaml").write_text("lr: .nan\n", "utf-8")
    said = cli("runs", tmp_path / "runs", "--json")
    assert "NaN" not in said and "Infinity" not in said
    assert json.loads(said)[0]["settings"] == {"lr": None}


def test_errors_name_the_remedy(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path)
    cli("train", path, "warmpu=3", code=2)
    assert "did you mean warmup" in cli.errors
    cli("train", path, "data.train=nowhere.txt", code=2)
    assert "data.train=FILE" in cli.errors
    cli("train", "pretrain-lama-tiny", code=2)
    assert "pretrain-llama-tiny" in cli.errors
    cli("train", code=2)
    assert "--list" in cli.errors
    cli("runs", tmp_path, code=2)
    assert "no runs" in cli.errors
    cli("train", path, "model.family=gpt3", code=2)
    assert "known are" in cli.errors


def test_the_recipes_are_listed(cli: Cli) -> None:
    assert "pretrain-llama-tiny" in cli("train", "--list")
    assert all(row["what"] for row in json.loads(cli("train", "--list", "--json")))


def test_ctrl_c_saves_and_says_how_to_go_on(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path, steps=100_000, eval_every=None, save_every=None)
    process = started(path)
    until(process, "step      3/")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in errors
    (saved,) = (tmp_path / "run").glob("step-*")
    done = int(saved.name.removeprefix("step-"))
    said = cli("train", path, f"steps={done + 2}", "--resume")
    assert f"goes on behind step {done} of {done + 2}" in said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert "done after step 14" in Cli(folder / "home")("train", written(folder, steps=14, eval_every=5))
    return folder / "run"


_slow = pytest.mark.slow


@pytest.mark.parametrize(
    "fault",
    [
        "train.step.0:7",
        "train.saving:6",
        pytest.param("train.step.0:1", marks=_slow),
        pytest.param("train.step.0:14", marks=_slow),
        pytest.param("train.saving:1", marks=_slow),
        pytest.param("train.saved:3", marks=_slow),
        pytest.param("train.removing:1", marks=_slow),
    ],
)
def test_a_run_that_is_killed_and_resumed_is_the_one_that_was_not(
    cli: Cli, whole: Path, tmp_path: Path, fault: str
) -> None:
    path = written(tmp_path, steps=14, eval_every=5)
    cli("train", path, code=-signal.SIGKILL, OPENBOOK_FAULT=fault)
    cli("train", path, "--resume")
    expected, found = weights(whole), weights(tmp_path / "run")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    kept = [
        [(row["step"], row.get("loss"), row.get("eval_loss")) for row in read_log(out / "log.jsonl")]
        for out in (whole, tmp_path / "run")
    ]
    assert kept[0] == kept[1]
    assert not list((tmp_path / "run").glob(".*step-*"))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"micro_batch_size": 1}, {"precision": "bfloat16-pure"}], ids=str)
def test_two_processes_are_one(cli: Cli, tmp_path: Path, changes: dict[str, object]) -> None:
    """The loss of every step, and the held-out losses, within 1e-5."""
    path = written(tmp_path, **changes)
    cli("train", path)
    torchrun(path, f"out={tmp_path / 'two'}")
    assert_same_losses(tmp_path / "run", tmp_path / "two", 2e-2 if "precision" in changes else 1e-5)


def assert_same_losses(first: Path, second: Path, tolerance: float = 1e-5) -> None:
    """In every row of their logs."""
    one, two = (list(read_log(out / "log.jsonl")) for out in (first, second))
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        for name in ("loss", "eval_loss", "weight", "tokens"):
            assert b.get(name) == pytest.approx(a.get(name), abs=tolerance)


@pytest.mark.slow
def test_shards_of_a_model_are_the_model(cli: Cli, tmp_path: Path) -> None:
    """FSDP on two processes: the losses of one; what it saved goes on with one process, and the other way round."""
    path = written(tmp_path)
    cli("train", path)
    torchrun(path, f"out={tmp_path / 'two'}", "parallel=fsdp")
    assert_same_losses(tmp_path / "run", tmp_path / "two")
    cli("train", path, f"out={tmp_path / 'half'}", code=-signal.SIGKILL, OPENBOOK_FAULT="train.step.0:7")
    torchrun(path, f"out={tmp_path / 'half'}", "parallel=fsdp", "--resume")
    assert_same_losses(tmp_path / "run", tmp_path / "half")
    cli("train", path, "parallel=fsdp", f"out={tmp_path / 'one'}", code=2)
    assert "torchrun" in cli.errors


@pytest.mark.slow
def test_a_recipe_for_several_processes_is_checked_in_them(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path, parallel="fsdp")
    checked = torchrun(path, "--check")
    assert checked.count("12 steps of 64 tokens") == 1
    cli("train", "--check", path, code=2)
    assert "torchrun" in cli.errors


@pytest.mark.slow
def test_a_rank_that_is_lost_ends_the_others_with_the_reason(tmp_path: Path) -> None:
    path = written(tmp_path, steps=100_000, eval_every=None, save_every=None)
    done = torchrun(path, code=1, OPENBOOK_FAULT="train.step.1:3")
    assert "lost" in done


def torchrun(path: Path, *overrides: str, code: int = 0, **environment: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "openbook"]
    done = subprocess.run(
        [*command, "train", str(path), *overrides],
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr
