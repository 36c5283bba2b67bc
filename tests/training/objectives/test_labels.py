"""The loss of labels: transformers' own, sums for every split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification

import small_groups
from openbook.lm.heads import load_with_head
from openbook.lm.load import save_model
from openbook.training.objectives.labels import Labels
from openbook.training.sources.labelled import Sample, labelled

SAMPLES = [Sample([2, 6 + n, 9, 3, 11, 12][: 4 + n % 3], [0] * (4 + n % 3), n % 3) for n in range(9)]


def test_it_is_the_loss_of_transformers(tmp_path: Path) -> None:
    model = load_with_head(small_groups.base(tmp_path), "ForSequenceClassification", 3).model
    save_model(model, tmp_path / "saved")
    theirs = BertForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    total = 0.0
    for one in SAMPLES:
        with torch.no_grad():
            total += float(theirs(torch.tensor([one.ids]), labels=torch.tensor([one.label])).loss)
    found = Labels().loss(model, labelled(SAMPLES))
    assert float(found.total.detach()) == pytest.approx(total, rel=1e-5) and found.weight == 9


def test_gradients_are_the_same_for_every_split(tmp_path: Path) -> None:
    base, gradients = small_groups.base(tmp_path), []
    for size in (9, 4, 1):
        model = load_with_head(base, "ForSequenceClassification", 3).model
        model.requires_grad_(True)
        for at in range(0, 9, size):
            Labels().loss(model, labelled(SAMPLES[at : at + size])).total.backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-5, rtol=1e-4)
