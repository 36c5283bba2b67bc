"""A student's loss beside its teacher, against plain torch over all logits: values, gradients, masks, modes."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import small_rollouts
from openbook.lm.adapters.attach import adapter_parameters, attach
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.load import new_model
from openbook.lm.nn.linear import Linear
from openbook.training import loss as losses
from openbook.training.objectives import distill
from openbook.training.objectives.distill import Distilled, DistillHead, Knobs
from openbook.training.objectives.distill_names import Divergence
from openbook.training.objectives.divergences import divergences, slopes
from openbook.training.objectives.next_token import NextToken
from openbook.training.sources.step import Tokens

KINDS: tuple[Divergence, ...] = get_args(Divergence)
V = 67


class WithBias(nn.Module):
    """A head that is no plain `Linear`: its gradients come from autograd."""

    def __init__(self, inner: Linear) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)
        return found


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logprobs(rows: int, seed: int, scale: float = 2.0) -> Tensor:
    return (scale * drawn(rows, V, seed=seed)).double().log_softmax(dim=1)


def plain_divergence(student: Tensor, teacher: Tensor, kind: Divergence, mixture: float) -> Tensor:
    """By torch's own: its first argument is the second of KL."""
    kl = partial(F.kl_div, reduction="none", log_target=True)
    if kind == "forward":
        return kl(student, teacher).sum(1)
    if kind == "reverse":
        return kl(teacher, student).sum(1)
    middle = (mixture * teacher.exp() + (1 - mixture) * student.exp()).log()
    return mixture * kl(middle, teacher).sum(1) + (1 - mixture) * kl(middle, student).sum(1)


def plain_loss(logits: Tensor, teacher: Tensor, targets: Tensor, knobs: Knobs) -> Tensor:
    own, known = (torch.log_softmax(one.float() / knobs.temperature, dim=1) for one in (logits, teacher))
    found = plain_divergence(own, known, knobs.divergence, knobs.mixture).sum()
    entropy = F.cross_entropy(logits.float(), targets, reduction="sum")
    return (1 - knobs.weight) * entropy + knobs.weight * knobs.temperature**2 * found


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_is_its_teacher_has_no_divergence_and_no_slope(kind: Divergence) -> None:
    logits = (2 * drawn(9, V, seed=1)).double().requires_grad_()
    known = logits.detach().log_softmax(dim=1)
    found = divergences(logits.log_softmax(dim=1), known, kind, 0.3)
    assert found.abs().max() < 1e-12
    assert torch.autograd.grad(found.sum(), logits)[0].abs().max() < 1e-12
    assert slopes(known, known, kind, 0.3).abs().max() < 1e-12


@given(kind=st.sampled_from(KINDS), mixture=st.floats(0.05, 0.95), seed=st.integers(0, 99), rows=st.integers(1, 7))
def test_divergences_are_those_of_torch_and_never_negative(
    kind: Divergence, mixture: float, seed: int, rows: int
) -> None:
    student, teacher = logprobs(rows, seed), logprobs(rows, seed + 100)
    found = divergences(student, teacher, kind, mixture)
    torch.testing.assert_close(found, plain_divergence(student, teacher, kind, mixture), rtol=1e-9, atol=1e-9)
    assert (found > 0).all()


@given(kind=st.sampled_from(KINDS), mixture=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_slopes_are_what_autograd_finds(kind: Divergence, mixture: float, seed: int) -> None:
    logits, teacher = (2 * drawn(5, V, seed=seed)).double().requires_grad_(), logprobs(5, seed + 100)
    own = logits.log_softmax(dim=1)
    (wanted,) = torch.autograd.grad(divergences(own, teacher, kind, mixture).sum(), logits)
    torch.testing.assert_close(slopes(own.detach(), teacher, kind, mixture), wanted, rtol=1e-9, atol=1e-12)


def test_a_teacher_that_is_sure_makes_no_number_that_is_none() -> None:
    sure = torch.full((1, V), -2e4)
    sure[0, 3] = 0.0
    other = sure.roll(1, dims=1)
    for kind in ("forward", "reverse", "jsd"):
        assert divergences(sure.log_softmax(1), other.log_softmax(1), kind).isfinite().all()
        assert slopes(sure.log_softmax(1), other.log_softmax(1), kind).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (1.0, 0.5), (2.5, 1.0), (2.5, 0.3), (0.7, 0.0)])
@pytest.mark.parametrize(("rows", "is_linear"), [(1, True), (50, True), (50, False)])
def test_the_head_is_plain_torch_over_all_logits(
    monkeypatch: pytest.MonkeyPatch, kind: Divergence, temperature: float, weight: float, rows: int, is_linear: bool
) -> None:
    """In groups of 23 rows, and chunks of 16 of them."""
    knobs = Knobs(kind, temperature, weight, 0.3)
    monkeypatch.setattr(losses, "GROUP_BYTES", 23 * 4 * V)
    monkeypatch.setattr(losses, "LEAST_ROWS", 16)
    monkeypatch.setattr(distill, "CHUNK_BYTES", 1)
    student, teacher = Linear(12, V, bias=False), Linear(20, V, bias=False)
    with torch.no_grad():
        student.weight.copy_(drawn(V, 12, seed=3))
        teacher.weight.copy_(drawn(V, 20, seed=4))
    hidden, other = drawn(rows, 12, seed=5).requires_grad_(), drawn(rows, 20, seed=6)
    targets = torch.randint(V, (rows,), generator=torch.Generator().manual_seed(7))
    head = DistillHead(targets, (other, teacher.requires_grad_(False)), knobs)
    found = head(hidden, student if is_linear else WithBias(student))
    gradients = torch.autograd.grad(found / 7, [hidden, student.weight])
    wanted = plain_loss(student(hidden), teacher(other), targets, knobs)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(gradients, torch.autograd.grad(wanted / 7, [hidden, student.weight]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    logits = student(hidden.detach())
    entropy = F.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(head.sums[0], entropy, rtol=1e-5, atol=1e-4)
    if weight:
        divergence = (wanted - (1 - weight) * entropy) / (weight * temperature**2)
        torch.testing.assert_close(head.sums[1], divergence.detach(), rtol=1e-4, atol=1e-3)


def test_a_frozen_head_gets_no_gradient() -> None:
    head, hidden = Linear(12, V, bias=False).requires_grad_(False), drawn(6, 12, seed=1).requires_grad_()
    DistillHead(torch.arange(6), (drawn(6, 12, seed=2), Linear(12, V, bias=False)), Knobs())(hidden, head).backward()
    assert hidden.grad is not None and hidden.grad.abs().sum() > 0
    assert head.weight.grad is None


@pytest.mark.parametrize("is_linear", [True, False])
def test_autocast_multiplies_in_bfloat16_and_sums_in_float32(is_linear: bool) -> None:
    student, teacher = Linear(32, V, bias=False), Linear(32, V, bias=False).requires_grad_(False)
    hidden, other, targets = drawn(40, 32, seed=1).requires_grad_(), drawn(40, 32, seed=2), torch.arange(40)
    with torch.no_grad():
        student.weight.copy_(drawn(V, 32, seed=3) / 6)
        teacher.weight.copy_(drawn(V, 32, seed=4) / 6)
    teacher.to(torch.bfloat16)  # as it is loaded for such a run, its rows in float32
    with torch.autocast("cpu", torch.bfloat16):
        found = DistillHead(targets, (other, teacher), Knobs())(hidden, student if is_linear else WithBias(student))
    found.backward()
    wanted = plain_loss(student(hidden), teacher.float()(other), targets, Knobs())
    assert found.dtype == torch.float32 and hidden.grad is not None and hidden.grad.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=0.1)
    (exact,) = torch.autograd.grad(wanted, hidden)
    assert (hidden.grad - exact).norm() < 0.03 * exact.norm()
    assert not torch.equal(found, wanted)


def samples() -> Tokens:
    """Two, of which the beginnings are asked."""
    random = np.random.default_rng(0)
    made = []
    for length, asked in ((9, 4), (6, 2)):
        made.append((random.integers(0, 300, length).astype(np.int64), np.arange(length) >= asked))
    return Tokens.of(made)


def grown(objective: Any, model: Any, micro: Tokens) -> dict[str, Tensor]:
    model.zero_grad()
    objective.loss(model, micro).total.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_answered_is_learned_from_the_teacher(kind: Divergence) -> None:
    """Against the logits of both models, sample by sample; and another token asked last changes what the teacher says."""
    model, teacher, micro = small_rollouts.model(1).train(), small_rollouts.model(2), samples()
    found = Distilled(teacher, Knobs(kind, 1.5, 0.7)).loss(model, micro)
    logits, known = (one(micro.ids, micro.batch())[micro.rows] for one in (model, teacher))
    assert found.weight == len(micro.targets) == 9 == len(logits)
    wanted = plain_loss(logits, known, micro.targets, Knobs(kind, 1.5, 0.7))
    torch.testing.assert_close(found.total, wanted, rtol=1e-5, atol=1e-4)
    assert found.metrics["cross_entropy"][1] == found.metrics["divergence"][1] == 9
    gradients = grown(Distilled(teacher, Knobs(kind, 1.5, 0.7)), model, micro)
    model.zero_grad()
    plain_loss(model(micro.ids, micro.batch())[micro.rows], known, micro.targets, Knobs(kind, 1.5, 0.7)).backward()
    for name, one in model.named_parameters():
        torch.testing.assert_close(gradients[name], one.grad, rtol=1e-3, atol=1e-4)


def test_the_teacher_is_in_eval_mode_and_has_no_gradients() -> None:
    teacher, model = small_rollouts.model(2).train(), small_rollouts.model(1).train()
    before = {name: one.clone() for name, one in teacher.state_dict().items()}
    objective = Distilled(teacher, Knobs())
    assert not teacher.training
    objective.loss(model, samples()).total.backward()
    assert all(one.grad is None and not one.requires_grad for one in teacher.parameters())
    assert all(torch.equal(one, before[name]) for name, one in teacher.state_dict().items())
    assert not teacher.training and model.training


def test_an_evaluation_is_the_plain_cross_entropy() -> None:
    model, micro = small_rollouts.model(1).eval(), samples()
    found = Distilled(small_rollouts.model(2), Knobs("reverse", 2.0, 1.0)).loss(model, micro)
    wanted = NextToken().loss(model, micro)
    assert torch.equal(found.total, wanted.total) and found.weight == wanted.weight


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("v_proj", "lm_head")])
def test_an_adapter_learns_from_the_teacher_beside_a_frozen_base(targets: tuple[str, ...]) -> None:
    """Also where it stands at the head, which is no plain `Linear` then."""
    model, teacher = new_model(small_rollouts.raw() | {"tie_word_embeddings": False}, seed=1), small_rollouts.model(2)
    micro, knobs = samples(), Knobs("jsd", 1.0, 0.8)
    attach(model, LoraSettings(r=4, target_modules=targets))
    with torch.no_grad():
        for number, one in enumerate(adapter_parameters(model, "default")):
            one.copy_(drawn(*one.shape, seed=number) / 5)
    gradients = grown(Distilled(teacher, knobs), model.train(), micro)
    assert len(gradients) == len(adapter_parameters(model, "default")) > 0
    model.zero_grad()
    known = teacher(micro.ids, micro.batch())[micro.rows]
    plain_loss(model(micro.ids, micro.batch())[micro.rows], known, micro.targets, knobs).backward()
    for name, one in model.named_parameters():
        if one.grad is not None:
            torch.testing.assert_close(gradients[name], one.grad, rtol=1e-3, atol=1e-4)
