"""Reranking: sums that no split changes, what theory says of a guess, and the same as written down by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.lm.heads import load_with_head
from openbook.lm.tokenizers.encoder import EncoderTokenizer, open_encoder_tokenizer
from openbook.training.objectives.rerank import PairGroups, Rerank, RerankLoss
from small_groups import base, groups

ROWS = groups(8, 3)
BOTH: tuple[RerankLoss, ...] = ("listwise", "pointwise")


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Family, EncoderTokenizer]:
    path = base(tmp_path)
    model = load_with_head(path, "ForSequenceClassification", 1, torch.float32).model.train().requires_grad_(True)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)  # type: ignore[union-attr]
    return model, open_encoder_tokenizer(path, 24)


def gradients(model: Family, loss: RerankLoss, micros: list[PairGroups]) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients per unit of weight."""
    objective = Rerank(loss)
    weight = sum(objective.weight(one) for one in micros)
    model.zero_grad()
    total = 0.0
    for one in micros:
        found = objective.loss(model, one)
        assert found.weight == objective.weight(one)
        found.total.backward()  # type: ignore[no-untyped-call]
        total += float(found.total.detach())
    return total / weight, [one.grad / weight for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("loss", BOTH)
def test_the_split_into_micro_batches_changes_nothing(
    opened: tuple[Family, EncoderTokenizer], loss: RerankLoss
) -> None:
    model, tokenizer = opened
    uneven = [ROWS[0]._replace(negatives=()), ROWS[1]._replace(negatives=ROWS[1].negatives[:1]), *ROWS[2:]]
    expected, whole = gradients(model, loss, [PairGroups.of(uneven, tokenizer)])
    for size in (1, 3):
        parts = [PairGroups.of(uneven[at : at + size], tokenizer) for at in range(0, len(uneven), size)]
        found, other = gradients(model, loss, parts)
        assert found == pytest.approx(expected, abs=1e-6)
        for a, b in zip(whole, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("loss", "expected"), [("listwise", math.log(4)), ("pointwise", math.log(2))])
def test_a_guess_costs_what_theory_says(
    opened: tuple[Family, EncoderTokenizer], loss: RerankLoss, expected: float
) -> None:
    model, tokenizer = opened
    torch.nn.init.zeros_(model.classifier.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.zeros_(model.classifier.bias)  # type: ignore[union-attr, arg-type]
    found, _ = gradients(model, loss, [PairGroups.of(ROWS, tokenizer)])
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", BOTH)
def test_it_is_the_formula_pair_by_pair(opened: tuple[Family, EncoderTokenizer], loss: RerankLoss) -> None:
    """Each pair alone through the model, in the order of its group."""
    model, tokenizer = opened
    model.eval()
    expected, right = 0.0, 0
    for group in ROWS:
        scores = []
        for text in (group.positive, *group.negatives):
            pair = PairGroups.of([group._replace(positive=text, negatives=())], tokenizer)
            scores.append(model(pair.ids, pair.batch(), segments=pair.segments, head="sentence")[0, 0])
        row = torch.stack(scores)
        wanted = torch.tensor([1.0, 0.0, 0.0, 0.0])
        right += int(row.argmax() == 0)
        alone = (
            F.cross_entropy(row[None], torch.tensor([0])),
            F.binary_cross_entropy_with_logits(row, wanted, reduction="sum"),
        )
        expected += float(alone[BOTH.index(loss)].detach())
    found = Rerank(loss).loss(model, PairGroups.of(ROWS, tokenizer))
    assert float(found.total.detach()) == pytest.approx(expected, abs=1e-5)
    assert found.metrics["accuracy"] == (right, 8)


def test_a_pair_is_read_as_in_use(opened: tuple[Family, EncoderTokenizer]) -> None:
    """The query whole, the passage cut at its end."""
    _, tokenizer = opened
    long = ROWS[0]._replace(positive="the cat is " + "of " * 40, negatives=())
    micro = PairGroups.of([long], tokenizer)
    (encoded,) = tokenizer.encode_pairs([(long.query, long.positive)])
    assert micro.ids.tolist() == encoded.ids
    assert micro.segments.tolist() == encoded.segments
    assert micro.lengths == [24]
    assert micro.shown() == (encoded.ids, [False] * 24)
    assert micro.ids.tolist()[1:5] == tokenizer.encode([long.query])[0].ids[1:5]
