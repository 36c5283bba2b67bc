"""Layers that are computed twice, and layers that are compiled, give the run that plain ones give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.lm.load import new_model
from openbook.lm.memory import kept_for_backward
from openbook.lm.nn.batch import Batch
from openbook.training.compiling import checkpoint_layers, compile_layers
from openbook.training.log import read_log
from openbook.training.run import train
from small_runs import SHAPE, recipe

CONFIG = {"model_type": "llama", "vocab_size": 70, "max_position_embeddings": 64, "tie_word_embeddings": True} | SHAPE


def test_computing_twice_changes_nothing_and_keeps_less() -> None:
    kept, gradients = [], []
    for twice in (False, True):
        model = new_model(CONFIG, seed=1).requires_grad_(True)
        if twice:
            checkpoint_layers(model)
        with kept_for_backward(model) as bytes_of:
            loss = model(torch.arange(40), Batch.of([30, 10])).square().sum()
        loss.backward()
        kept.append(sum(bytes_of.values()))
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert kept[1] < kept[0] / 2
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def losses(folder: Path, **changes: Any) -> list[float]:
    out = folder / "-".join(["run", *changes])
    train(recipe(folder, out=str(out), save_every=None, **changes))
    return [row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about torch
def test_compiled_layers_lead_to_the_same_losses(tmp_path: Path) -> None:
    assert losses(tmp_path, compile=True) == pytest.approx(losses(tmp_path), abs=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about torch
def test_parts_are_compiled_for_any_length() -> None:
    plain, compiled = (new_model(CONFIG, seed=1).requires_grad_(True) for _ in range(2))
    compile_layers(compiled, is_fixed=False)
    for lengths in ([5, 9], [17], [3, 3, 12]):
        ids = torch.arange(sum(lengths))
        found = [model(ids, Batch.of(lengths)) for model in (plain, compiled)]
        torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)
