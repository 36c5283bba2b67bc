"""GradCache: the gradient of a step is the same for every split, with dropout too, and vectors are those of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from openbook.library.embed.pooling import pool
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.families.base import Family
from openbook.lm.load import load_model
from openbook.lm.sentence import Pooling
from openbook.lm.tokenizers.encoder import EncoderTokenizer, open_encoder_tokenizer
from openbook.training.data.groups import Group
from openbook.training.objectives.contrastive import Contrastive, QueryGroups, pooled
from openbook.training.objectives.info_nce import InfoNce
from openbook.training.parallel import Ranks
from openbook.training.tasks.contrastive import read_texts
from small_groups import base, groups

ROWS = [*groups(8, 2), groups(1, 2)[0]._replace(negatives=())]  # the last query is the first again


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Family, EncoderTokenizer]:
    path = base(tmp_path)
    model = load_model(path, torch.float32).train().requires_grad_(True)
    return model, open_encoder_tokenizer(path, 24)


def micros(tokenizer: EncoderTokenizer, size: int, rows: list[Group] = ROWS) -> list[QueryGroups]:
    return [read_texts(rows[at : at + size], tokenizer, {}) for at in range(0, len(rows), size)]


def learned(model: Family, objective: Contrastive, parts: list[QueryGroups]) -> tuple[float, list[Tensor]]:
    """Loss and gradients of a step, as the loop sums them."""
    model.zero_grad()
    total = 0.0
    for one in objective.prepare(model, parts, Ranks()):
        found = objective.loss(model, one)
        assert found.weight == objective.weight(one)
        found.total.backward()  # type: ignore[no-untyped-call]
        total += float(found.total.detach())
    return total, [one.grad for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize(
    "loss",
    [InfoNce(0.5), InfoNce(0.5, is_symmetric=True), InfoNce(0.5, dims=(16, 32))],
    ids=["plain", "symmetric", "dims"],
)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_split_into_micro_batches_changes_nothing(
    opened: tuple[Family, EncoderTokenizer], loss: InfoNce, size: int
) -> None:
    model, tokenizer = opened
    objective = Contrastive(loss)
    expected, whole = learned(model, objective, micros(tokenizer, len(ROWS)))
    found, parts = learned(model, objective, micros(tokenizer, size))
    assert found == pytest.approx(expected, rel=1e-5)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


def test_micro_batches_on_their_own_are_another_loss(opened: tuple[Family, EncoderTokenizer]) -> None:
    """So that the test above can fail."""
    model, tokenizer = opened
    objective = Contrastive(InfoNce(0.5))
    expected, _ = learned(model, objective, micros(tokenizer, len(ROWS)))
    alone = sum(float(objective.loss(model, one).total.detach()) for one in micros(tokenizer, 2))
    assert alone < 0.8 * expected


def test_dropout_is_drawn_again_as_it_was(opened: tuple[Family, EncoderTokenizer]) -> None:
    """The vectors that are learned are those whose loss was taken: the surrogate's gradient is that of the loss itself."""
    model, tokenizer = opened
    attach(model, LoraSettings(r=4, dropout=0.5, target_modules=("all-linear",)), seed=1)
    for name, one in model.named_parameters():
        if one.requires_grad and name.endswith(".b"):
            nn.init.normal_(one, std=0.3, generator=torch.Generator().manual_seed(2))
    model.train()
    objective, parts = Contrastive(InfoNce(0.5)), micros(tokenizer, 3)
    torch.manual_seed(7)
    total, found = learned(model, objective, parts)
    after = torch.get_rng_state()
    torch.manual_seed(7)  # the same draws, all kept for one backward pass
    model.zero_grad()
    vectors = [objective.vectors(model, one) for one in parts]
    assert torch.equal(after, torch.get_rng_state())
    queries = torch.cat([own[: one.queries] for own, one in zip(vectors, parts, strict=True)])
    passages = torch.cat([own[one.queries :] for own, one in zip(vectors, parts, strict=True)])
    keys = parts[0].keys.joined([one.keys for one in parts])
    totals, _ = InfoNce(0.5)(queries, passages, keys)
    totals.sum().backward()  # type: ignore[no-untyped-call]
    assert total == pytest.approx(float(totals.sum().detach()), rel=1e-5)
    expected = [one.grad for one in model.parameters() if one.grad is not None]
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len"])
def test_vectors_are_pooled_as_in_use(pooling: Pooling) -> None:
    hidden = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    expected = pool(hidden.numpy(), np.array([0, 4, 5, 9]), pooling)
    np.testing.assert_allclose(pooled(hidden, [4, 1, 4], pooling).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_query_and_its_positive_are_shown(opened: tuple[Family, EncoderTokenizer]) -> None:
    _, tokenizer = opened
    (micro,) = micros(tokenizer, len(ROWS))
    query, positive = tokenizer.encode([ROWS[0].query, ROWS[0].positive])
    assert micro.shown()[0] == [*query.ids, *positive.ids]
