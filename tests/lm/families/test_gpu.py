"""Every family on a CUDA device against itself on the processor."""

from __future__ import annotations

import pytest
import torch

from lm.families.test_initial import FRESH, V, logits_of
from openbook.lm.generate import Sampling, generate
from openbook.lm.load import new_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
IDS = torch.randint(2, V, (3, 40), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FRESH)
def test_logits_and_gradients_are_those_of_the_processor(name: str) -> None:
    model = new_model(FRESH[name])
    wanted = logits_of(model, IDS)
    wanted.square().mean().backward()
    grads = {key: one.grad.clone() for key, one in model.named_parameters() if one.grad is not None}
    model.zero_grad(set_to_none=True)
    model.cuda()
    found = logits_of(model, IDS.cuda())
    assert float((found.detach().cpu() - wanted.detach()).abs().max()) < 1e-4
    found.square().mean().backward()
    largest = max(float(one.abs().max()) for one in grads.values())
    for key, one in model.named_parameters():
        assert one.grad is None or float((one.grad.cpu() - grads[key]).abs().max()) < 1e-3 * largest, key


@pytest.mark.parametrize("name", [name for name in FRESH if "bert" not in name])
def test_greedy_tokens_are_those_of_the_processor_and_draws_repeat(name: str) -> None:
    model = new_model(FRESH[name]).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(8)
    prompts = [IDS[0, :9].tolist(), IDS[1, :4].tolist()]
    wanted = generate(model, prompts, 8)
    model.cuda()
    assert generate(model, prompts, 8) == wanted
    drawn = generate(model, prompts, 8, sampling=Sampling(1.0, seed=1))
    assert drawn == generate(model, prompts, 8, sampling=Sampling(1.0, seed=1))
