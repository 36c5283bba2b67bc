"""The average against its formula, and that a model is left as it was."""

from __future__ import annotations

import torch

from openbook.training.ema import Ema


def test_it_is_the_formula() -> None:
    module = torch.nn.Linear(3, 2)
    ema = Ema(module, 0.5)
    expected = module.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            module.weight.add_(0.1 * step)
        ema.update()
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * module.weight.detach()
    raw = module.weight.detach().clone()
    with ema.in_place():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert torch.equal(module.weight, raw)


def test_its_state_comes_back() -> None:
    module = torch.nn.Linear(3, 2)
    ema, again = Ema(module, 0.9), Ema(module, 0.9)
    with torch.no_grad():
        module.weight.add_(1)
    ema.update()
    again.resume(ema.state())
    assert again.steps == 1
    with again.in_place():
        found = module.weight.detach().clone()
    with ema.in_place():
        assert torch.equal(module.weight, found)


def test_what_is_frozen_has_no_average() -> None:
    module = torch.nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    assert set(Ema(module, 0.9).state()) == {"weight", ""}
