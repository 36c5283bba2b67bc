"""The loss of spans: transformers' own, sums for every split, a guess at the start."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import BertForQuestionAnswering

import small_groups
import small_questions
from openbook.lm.heads import load_with_head
from openbook.lm.load import save_model
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.squad import read_squad
from openbook.training.objectives.extraction import SpanExtraction
from openbook.training.sources.questions import Asked, Questions, Shares


def _micros(folder: Path, size: int) -> list[Asked]:
    data = read_squad([small_questions.written(folder / "train.json", 8)])
    tokenizer = Tokenizer.load(small_groups.base(folder))
    shape = {"batch_size": 8, "micro_batch_size": size, "max_seq_len": 40, "seed": 1, "stride": 8}
    return Questions(data, tokenizer, **shape, shares=Shares(changed=0.4)).next_step()


def test_it_is_the_loss_of_transformers(tmp_path: Path) -> None:
    """Which looks for a span among all tokens: the question's and the last one are hidden from it by hand."""
    (micro,) = _micros(tmp_path, 8)
    model = load_with_head(tmp_path / "base", "ForQuestionAnswering").model
    save_model(model, tmp_path / "saved")
    theirs = BertForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    total, at = 0.0, 0
    for place, length in enumerate(micro.lengths):
        ids, segments = micro.ids[at : at + length][None], micro.segments[at : at + length][None]
        with torch.no_grad():
            out = theirs(input_ids=ids, token_type_ids=segments)
        rows = micro.rows[micro.sequences == place] - at
        for logits, wanted in ((out.start_logits[0], micro.begin[place]), (out.end_logits[0], micro.end[place])):
            target = int((rows == wanted - at).nonzero())
            total += float(torch.nn.functional.cross_entropy(logits[rows][None], torch.tensor([target]))) / 2
        at += length
    found = SpanExtraction().loss(model, micro)
    assert float(found.total.detach()) == pytest.approx(total, rel=1e-5)


def test_gradients_are_the_same_for_every_split(tmp_path: Path) -> None:
    gradients = []
    for size in (8, 3, 1):
        model = load_with_head(small_groups.base(tmp_path), "ForQuestionAnswering").model
        model.requires_grad_(True)
        found = [SpanExtraction().loss(model, micro) for micro in _micros(tmp_path, size)]
        sum(one.total for one in found).backward()  # type: ignore[union-attr,no-untyped-call]
        assert sum(one.weight for one in found) == 8
        gradients.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-5, rtol=1e-4)


def test_an_untrained_head_guesses(tmp_path: Path) -> None:
    (micro,) = _micros(tmp_path, 8)
    model = load_with_head(tmp_path / "base", "ForQuestionAnswering").model
    assert model.classifier is not None
    model.classifier.weight.data.zero_()
    found = SpanExtraction().loss(model, micro)
    counts = torch.bincount(micro.sequences).tolist()
    assert float(found.total) == pytest.approx(sum(map(math.log, counts)), rel=1e-5)
