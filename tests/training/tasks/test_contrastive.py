"""An embedder by a recipe: it learns, goes on to the bit, loads as an embedder of a library, and is one on two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import UsageError
from openbook.library.embed.describe import describe_directory
from openbook.library.embed.local import SentenceEmbedder
from openbook.lm.stored import Stored
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.recipe import as_yaml
from openbook.training.run import open_run, train
from small_groups import groups, recipe


def test_it_learns_and_is_an_embedder_of_a_library(tmp_path: Path) -> None:
    own = {"query_prompt": "ask . ", "languages": ["en"], "dims": [16]}
    done = train(recipe(tmp_path, "contrastive", steps=60, batch_size=16, lr=2e-3, contrastive=own))
    rows = list(read_log(tmp_path / "run" / "log.jsonl"))
    held_out = [row for row in rows if "eval_loss" in row]
    assert held_out[-1]["eval_loss"] < 0.8 * held_out[0]["eval_loss"]
    assert done.model is not None
    described = describe_directory(done.model)
    assert described.languages == {"en"}
    assert described.recipe.prompts == {"query": "ask . "}
    assert described.max_tokens == 24
    embedder = SentenceEmbedder(described, "float32")
    right = 0
    for one in groups(20, seed=9):
        passages = embedder.embed([*one.negatives, one.positive], "passage")
        right += int((passages @ embedder.embed([one.query], "query")[0]).argmax()) == 4
    assert right >= 16  # a guess: 4


def test_vectors_in_training_are_those_in_use(tmp_path: Path) -> None:
    one = recipe(tmp_path, "contrastive", contrastive={"query_prompt": "ask . "}, steps=1, warmup=0)
    run = open_run(one, Ranks())
    (micro,) = run.loop.source.next_step()
    run.loop.model.eval()
    with torch.no_grad():
        found = torch.nn.functional.normalize(run.task.objective.vectors(run.loop.model, micro), dim=1)  # type: ignore[attr-defined]
    again = open_run(one, Ranks()).loop.source
    assert again._make is not None  # type: ignore[attr-defined]
    chosen: list[Any] = []
    again._make = lambda groups: chosen.extend(groups) or micro  # type: ignore[attr-defined]
    again.next_step()
    describe = train(one.model_copy(update={"lr": 1e-12})).model
    assert describe is not None
    embedder = SentenceEmbedder(describe_directory(describe), "float32")
    queries = torch.from_numpy(embedder.embed([one.query for one in chosen], "query"))
    positives = torch.from_numpy(embedder.embed([one.positive for one in chosen], "passage"))
    torch.testing.assert_close(found[: 2 * len(chosen)], torch.cat([queries, positives]), rtol=0, atol=1e-5)


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = recipe(tmp_path, "contrastive", micro_batch_size=3)
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    first, second = (Stored(tmp_path / name / "model") for name in ("run", "halves"))
    assert all(first[name].equal(second[name]) for name in first)


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row]


def test_the_split_changes_nothing_in_a_run(tmp_path: Path) -> None:
    """Losses of a whole run in one piece and in four, within 1e-5."""
    whole = recipe(tmp_path, "contrastive", eval_every=None, save_every=None)
    train(whole)
    train(whole.model_copy(update={"micro_batch_size": 2, "out": str(tmp_path / "parts")}))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "run"), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["contrastive", "rerank"])
def test_two_processes_are_one(tmp_path: Path, objective: str) -> None:
    """The passages of all ranks are negatives of each query: losses within 1e-5."""
    whole = recipe(tmp_path, objective, eval_every=None, save_every=None)
    train(whole)
    path = tmp_path / "two.yaml"
    path.write_text(as_yaml(whole.model_copy(update={"out": str(tmp_path / "two"), "micro_batch_size": 2})), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "openbook", "train", str(path)],
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "run"), abs=1e-5)


def test_a_model_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    model = {"size": "1m", "family": "llama"}
    with pytest.raises(UsageError, match="BERT encoder"):
        train(recipe(tmp_path, "contrastive", model=model))


def test_vectors_that_are_too_narrow_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dims names 65"):
        train(recipe(tmp_path, "contrastive", contrastive={"dims": [65]}))
