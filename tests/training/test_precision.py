"""16 bits: small steps add up in a float32 copy, and float16 gradients that overflow are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from openbook.core.errors import RunStopped
from openbook.training.log import read_log
from openbook.training.optimizer import Optimization, Optimizers
from openbook.training.precision import LossScaler
from openbook.training.run import train
from small_runs import recipe


def test_small_steps_add_up_beside_weights_of_16_bits() -> None:
    """Each is far less than half the distance between two numbers of bfloat16 near 1."""
    module = torch.nn.Linear(4, 1, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        module.weight.fill_(1.0)
    optimizers = Optimizers(module, Optimization(lr=1e-3, weight_decay=0.0))
    for _ in range(50):
        module.weight.grad = torch.ones_like(module.weight)
        optimizers.step()
    torch.testing.assert_close(module.weight.float(), torch.full((1, 4), 0.95), atol=4e-3, rtol=0)
    assert module.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["bfloat16", "bfloat16-pure", "float16"])
def test_the_loss_is_near_that_of_float32(tmp_path: Path, precision: str) -> None:
    last = {}
    for one in ("float32", precision):
        out = tmp_path / one
        train(recipe(tmp_path, steps=40, precision=one, out=str(out), eval_every=None, save_every=None))
        (last[one],) = [row["eval_loss"] for row in read_log(out / "log.jsonl") if "eval_loss" in row]
    assert last[precision] == pytest.approx(last["float32"], rel=0.03)


def test_a_step_that_overflows_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The factor is so large at first that gradients are infinite; it is halved until they are not."""
    monkeypatch.setattr(LossScaler.__init__, "__defaults__", (2.0**60, 2_000))
    train(recipe(tmp_path, precision="float16", steps=60, eval_every=None, save_every=None))
    rows = [row for row in read_log(tmp_path / "run" / "log.jsonl") if "norm" in row]
    finite = [row["norm"] is not None for row in rows]  # JSON has no infinity
    assert not finite[0]
    assert finite[-1]
    begun = finite.index(True)
    assert rows[begun]["loss"] == pytest.approx(rows[0]["loss"], abs=0.1)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.05


def test_the_factor_falls_rises_and_has_an_end() -> None:
    scaler = LossScaler(8.0, patience=2)
    scaler.saw(False)
    assert scaler.factor == 4
    scaler.saw(True)
    scaler.saw(True)
    assert scaler.factor == 8
    again = LossScaler()
    again.resume(scaler.state())
    assert (again.factor, again.good_steps) == (8, 0)
    with pytest.raises(RunStopped, match="float16"):
        for _ in range(5):
            scaler.saw(False)
