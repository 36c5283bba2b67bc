"""However a model is spread over processes, its run is the run of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import several_processes
from openbook.training.log import read_log
from openbook.training.recipe import recipe_of
from openbook.training.run import train
from small_runs import SHAPE, text_file, values

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LLAMA = {"size": "1m", "tokenizer": "characters", "shape": SHAPE | HEADS}
WAYS: dict[str, dict[str, Any]] = {
    "ddp": {"parallel": "ddp"},
    "fsdp": {"parallel": "fsdp"},
    "tensor": {"parallel": "tensor"},
    "1f1b": {"parallel": "pipeline"},
    "gpipe": {"parallel": "pipeline", "pipeline_schedule": "gpipe"},
}


def of(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """The values of a small run in `folder`/`name`, of ten steps of two micro-batches a process."""
    common = {"model": LLAMA, "steps": 10, "micro_batch_size": 1, "eval_every": 5, "save_every": 5}
    return values(folder, **(common | {"out": str(folder / name)} | changes))


def losses(out: Path, name: str = "loss") -> list[float]:
    return [row[name] for row in read_log(out / "log.jsonl") if name in row]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process, and in two of them in each way."""
    folder = tmp_path_factory.mktemp("ways")
    text_file(folder)
    train(recipe_of(of(folder, "one")))
    several_processes.run(folder / "two", [{"values": of(folder, way, **said)} for way, said in WAYS.items()])
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_the_losses_are_those_of_one_process(folder: Path, way: str) -> None:
    """Of ten steps, and of the held-out rows, within 1e-5; the norms of the gradient too."""
    for name in ("loss", "eval_loss", "norm", "weight", "tokens"):
        expected, found = (losses(folder / out, name) for out in ("one", way))
        assert len(expected) == (10 if name != "eval_loss" else 2)
        assert found == pytest.approx(expected, abs=1e-5), name
