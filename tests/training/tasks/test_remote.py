"""A recipe whose completions come from a server: pushed weights write them, and weights that stay are made up for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.server.serving import serving
from engine_server import EngineServer
from openbook.core.errors import ModelUnavailable, RunStopped, UsageError
from openbook.lm.load import load_model
from openbook.lm.stored import Stored
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.run import open_run, train
from small_rollouts import model, prompts_file, recipe, save_base

LORA = {"kind": "lora", "r": 4, "target_modules": "all-linear"}


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer(model()).running() as one:
        yield one


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


def rolled(folder: Path, server: EngineServer, **named: Any) -> dict[str, Any]:
    return {"url": server.url, "push": str(folder / "push"), **named}


def test_pushed_weights_write_what_the_trainer_would(server: EngineServer, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"lr": 1e-2, "data": {"eval_share": 0.25}, "eval_every": 2}
    train(recipe(tmp_path, **changes, rollout=rolled(tmp_path, server)))
    there = log(tmp_path)
    assert all(row["rollout_difference"] <= 1e-4 for row in there if "rollout_difference" in row)
    assert {row["step"] for row in there if "eval_reward" in row} == {2, 4}
    assert len(server.updates) >= 4 + 2  # before each rollout, and before each evaluation
    assert all(row["renew_mb"] > 0 and row["renew_s"] > 0 for row in there if "renew_s" in row)
    assert not any("importance" in row for row in there)


def test_an_adapter_is_pushed_merged(server: EngineServer, tmp_path: Path) -> None:
    train(recipe(tmp_path, adapter=LORA, lr=3e-2, rollout=rolled(tmp_path, server)))
    assert all(row["rollout_difference"] <= 1e-4 for row in log(tmp_path))
    (pushed,) = (tmp_path / "push").iterdir()
    assert {one.name for one in pushed.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    base, found = load_model(tmp_path / "base"), load_model(pushed)
    assert any(not one.equal(two) for one, two in zip(base.parameters(), found.parameters(), strict=True))


def test_weights_that_stay_are_made_up_for(server: EngineServer, tmp_path: Path) -> None:
    run = open_run(recipe(tmp_path, rollout={"url": server.url}), Ranks())
    assert any("weights that stay: a token counts at most 2 times" in line for line in run.task.notes)
    train(recipe(tmp_path, lr=3e-2, rollout={"url": server.url}))
    rows = log(tmp_path)
    assert rows[0]["rollout_difference"] <= 1e-4 < rows[-1]["rollout_difference"]
    assert rows[0]["importance"] == pytest.approx(1, abs=1e-4) and rows[-1]["importance"] != 1
    assert not server.updates


def test_text_alone_is_learned_from_where_weights_are_pushed(server: EngineServer, tmp_path: Path) -> None:
    server.tells = "text"
    one = recipe(tmp_path, save_every=1, rollout=rolled(tmp_path, server, importance=2.0, minibatches=2))
    run = open_run(one, Ranks())
    assert any("tokenised again" in line for line in run.task.notes)
    train(one.model_copy(update={"steps": 3}))
    train(one, resume=True)  # in the middle of a rollout
    rows = log(tmp_path)
    assert all(row.get("rollout_difference", 0) == 0 and row["importance"] == 1 for row in rows)
    with pytest.raises(UsageError, match="does not tell ids"):
        open_run(recipe(tmp_path, rollout={"url": server.url}), Ranks())


@pytest.mark.parametrize("objective", ["ppo", "distill"])
def test_every_task_over_rollouts_has_it(server: EngineServer, tmp_path: Path, objective: str) -> None:
    save_base(tmp_path / "teacher")
    own: dict[str, Any] = {"objective": objective, "grpo": None, "steps": 2, "rollout": rolled(tmp_path, server)}
    if objective == "distill":
        own |= {"distill": {"teacher": str(tmp_path / "teacher"), "on_policy": 1.0}, "rewards": None}
        own["data"] = {"prompts": "text"}
    train(recipe(tmp_path, **own))
    assert len(server.updates) >= 2
    if objective == "ppo":
        assert all(row["rollout_difference"] <= 1e-4 for row in log(tmp_path))


def test_a_run_whose_server_fell_goes_on_to_the_bit(server: EngineServer, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 4, "save_every": 1, "keep": 9, "rollout": rolled(tmp_path, server)}
    train(recipe(tmp_path, **changes, out=str(tmp_path / "whole")))
    most, count = len(server.requests) - 1, 0  # the last rollout fails in its middle
    answered = server.answered

    def falling(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal count
        count += path.endswith("completions")
        if count > most:
            return 404, b'{"error": {"message": "gone"}}'
        return answered(path, body)

    server.answered = falling  # type: ignore[method-assign]
    with pytest.raises(RunStopped, match="gone"):
        train(recipe(tmp_path, **changes, out=str(tmp_path / "parts")))
    server.answered = answered  # type: ignore[method-assign]
    train(recipe(tmp_path, **changes, out=str(tmp_path / "parts")), resume=True)
    one, two = (Stored(tmp_path / name / "step-00000004") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name].numpy(), two[name].numpy()) for name in one)


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({"push": "somewhere"}, "give rollout.url"),
        ({"model": "one"}, "give rollout.url"),
        ({"url": "http://127.0.0.1:9/v1", "precision": "int8"}, "leave rollout.precision out"),
        ({"url": "ftp://example"}, "not a URL"),
    ],
)
def test_what_a_server_cannot_be_is_refused(tmp_path: Path, rollout: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_run(recipe(tmp_path, rollout=rollout), Ranks())


def test_a_server_for_shorter_sequences_or_other_models_is_refused(server: EngineServer, tmp_path: Path) -> None:
    server.context = 16
    with pytest.raises(UsageError, match="takes 16 tokens"):
        open_run(recipe(tmp_path, rollout=rolled(tmp_path, server)), Ranks())
    server.context = 128
    server.faults = [(404, b'{"error": {"message": "no such model"}}')]
    with pytest.raises(ModelUnavailable, match="no such model"):
        open_run(recipe(tmp_path, rollout=rolled(tmp_path, server, model="other")), Ranks())
    assert server.requests[-1]["model"] == "other"


@pytest.mark.slow
def test_our_own_server_writes_as_the_trainer_would(tmp_path: Path) -> None:
    """float32 in both; the temperature of the draws is that of the log-probabilities."""
    base = save_base(tmp_path / "base")
    prompts_file(tmp_path)
    with serving(base, tmp_path / "home", "--allow-weight-updates", "--kv-dtype", "fp32") as one:
        rollout = {"url": f"{one.url}/v1", "push": str(tmp_path / "push"), "temperature": 0.7}
        train(recipe(tmp_path, lr=1e-2, rollout=rollout))
    rows = log(tmp_path)
    assert len(rows) == 4 and all(0 < row["rollout_difference"] <= 1e-4 for row in rows)


@pytest.mark.slow
def test_our_own_server_without_the_flag_says_what_to_do(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    with serving(base, tmp_path / "home") as one:
        rollout = {"url": f"{one.url}/v1", "push": str(tmp_path / "push")}
        with pytest.raises(RunStopped) as caught:
            train(recipe(tmp_path, rollout=rollout))
    assert "--allow-weight-updates" in f"{caught.value} {caught.value.remedy}"
