"""Moments of a byte: the table, the rounding, and the loss they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.training import adamw8bit
from openbook.training.adamw8bit import BLOCK, AdamW8bit, from_bytes, table, to_bytes
from openbook.training.log import read_log
from openbook.training.run import train
from small_runs import recipe


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_table_has_a_number_for_each_byte(is_signed: bool) -> None:
    numbers = table(is_signed)
    assert len(set(numbers.tolist())) == 256
    assert bool((numbers.diff() > 0).all())
    assert float(numbers[-1]) == 1
    assert bool((numbers == 0).any()) == is_signed


@given(seed=st.integers(0, 50), length=st.integers(1, 3 * BLOCK + 5), scale=st.floats(1e-12, 1e6))
def test_numbers_come_back_nearly(seed: int, length: int, scale: float) -> None:
    """Within half a step of the table, which is at most a fourteenth of a number above a thousandth of the largest."""
    values = torch.randn(length, generator=torch.Generator().manual_seed(seed)) * scale
    places, scales = to_bytes(values, is_signed=True)
    found = from_bytes(places, scales, is_signed=True)
    largest = values.abs().max()
    large = values.abs() > 1e-2 * largest
    torch.testing.assert_close(found[large], values[large], rtol=0.13, atol=0)
    assert float((found - values).abs().max()) <= 0.01 * float(largest)
    assert (places.dtype, scales.shape) == (torch.uint8, (-(-length // BLOCK),))


def test_a_second_moment_is_never_rounded_to_nothing() -> None:
    values = torch.tensor([1.0, 1e-12])
    places, scales = to_bytes(values, is_signed=False)
    assert float(from_bytes(places, scales, is_signed=False)[1]) > 0
    nothing = torch.zeros(4)
    assert torch.equal(from_bytes(*to_bytes(nothing, is_signed=False), is_signed=False), nothing)


def test_small_parameters_are_those_of_torch() -> None:
    ours, theirs = (torch.nn.Parameter(torch.arange(20.0)) for _ in range(2))
    settings = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.2}
    optimizers = AdamW8bit([ours], **settings), torch.optim.AdamW([theirs], **settings)
    for step in range(5):
        for one, optimizer in zip((ours, theirs), optimizers, strict=True):
            one.grad = torch.sin(torch.arange(20.0) + step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(64, 80), (4_099,)])
def test_one_pass_is_the_plain_calculation(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(3)
    start = torch.randn(shape, generator=draws)
    ours, plain = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}
    one, other = AdamW8bit([ours], **settings), AdamW8bit([plain], **settings)
    for _ in range(6):
        ours.grad = torch.randn(shape, generator=draws) * 1e-3
        plain.grad = ours.grad.clone()
        one.step()
        with monkeypatch.context() as patch:
            patch.setattr(adamw8bit, "_one_pass", _in_chunks)
            other.step()
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(one.state[ours][f"{name}_scales"], other.state[plain][f"{name}_scales"])
            apart = one.state[ours][name].int() - other.state[plain][name].int()
            assert (
                int(apart.abs().max()) <= 1 and float((apart != 0).float().mean()) < 1e-3
            )  # a number between two places
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def _in_chunks(weight: torch.Tensor, grad: torch.Tensor, state: Any, step: float, group: Any) -> None:
    first, second = (adamw8bit._read(state, name, slice(0, len(weight))) for name in ("exp_avg", "exp_avg_sq"))
    adamw8bit._adamw(weight, grad, first, second, step, group)
    for name, values in (("exp_avg", first), ("exp_avg_sq", second)):
        adamw8bit._write(state, name, slice(0, len(weight)), values)


def test_moments_take_a_quarter_of_the_memory() -> None:
    one = torch.nn.Parameter(torch.zeros(128, 128))
    one.grad = torch.ones_like(one)
    optimizer = AdamW8bit([one])
    optimizer.step()
    taken = sum(value.numel() * value.element_size() for value in optimizer.state[one].values())
    assert taken < 0.27 * 8 * one.numel()


def test_the_loss_is_that_of_32_bits(tmp_path: Path) -> None:
    """Within one per cent at the end."""
    last = {}
    for optimizer in ("adamw", "adamw8bit"):
        out = tmp_path / optimizer
        train(
            recipe(
                tmp_path,
                steps=80,
                optimizer=optimizer,
                out=str(out),
                eval_every=None,
                save_every=None,
                model={"size": "1m", "tokenizer": "characters", "shape": {"num_hidden_layers": 1}},
            )
        )
        (last[optimizer],) = [row["eval_loss"] for row in read_log(out / "log.jsonl") if "eval_loss" in row]
    assert last["adamw"] < 1.5
    assert last["adamw8bit"] == pytest.approx(last["adamw"], rel=0.01)
