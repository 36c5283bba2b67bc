"""Masked language modelling: the loss and the gradients of transformers' BERT, sums for every split, and a run that learns."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers

from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.data.shards import Sample, write_shards
from openbook.training.log import read_log
from openbook.training.loop import Loop, Pace
from openbook.training.objectives.masked import MaskedLm
from openbook.training.optimizer import Optimization
from openbook.training.recipe_parts import MaskedPart
from openbook.training.run import train
from openbook.training.sources.masked import Masked, MaskedTokens, Masking, masked
from openbook.training.sources.pieces import Cut, Piece, Pieces, drawn
from openbook.training.special_tokens import with_special_tokens
from small_runs import recipe

TOKENIZER = with_special_tokens(default_tokenizer(700), "masked")
TINY = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "vocab_size": TOKENIZER.vocab_size,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def pieces(lengths: tuple[int, ...] = (30, 9, 17, 30, 4, 22)) -> list[Piece]:
    draw = np.random.default_rng(2)
    texts = [draw.integers(0, 600, length) for length in lengths]
    return [Piece(ids, np.ones(len(ids), np.bool_), drawn(3, 0, number)) for number, ids in enumerate(texts)]


def micro(own: list[Piece]) -> MaskedTokens:
    return masked(own, Masking(TOKENIZER, MaskedPart(share=0.3)))


def gradients(model: Any, micros: list[MaskedTokens]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    objective, total = MaskedLm(), 0.0
    weight = sum(objective.weight(one) for one in micros)
    for one in micros:
        found = objective.loss(model, one)
        (found.total / weight).backward()
        total += float(found.total.detach())
    return total / weight, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def test_it_equals_transformers(tmp_path: Path) -> None:
    """The same loss, and the same gradient of every parameter, for padded rows there and ragged ones here."""
    model = new_model(TINY, seed=4)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(torch.randn(one.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    save_model(model, tmp_path)
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    ours = load_model(tmp_path).requires_grad_(True)
    own = micro(pieces())
    loss, found = gradients(ours, [own])
    ids, labels, mask = (torch.zeros(len(own.lengths), max(own.lengths), dtype=torch.int64) for _ in range(3))
    labels -= 100
    marks = torch.full((len(own.ids),), -100)
    marks[own.rows] = own.targets
    for row, (part, wanted) in enumerate(zip(own.ids.split(own.lengths), marks.split(own.lengths), strict=True)):
        ids[row, : len(part)], labels[row, : len(part)], mask[row, : len(part)] = part, wanted, 1
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels).loss
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-5)
    grads = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    links = {link.ours: link.theirs for link in ours.links()}
    assert len(found) == len(grads)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, grads[links[name]], rtol=1e-4, atol=1e-6)


def test_the_split_into_micro_batches_changes_nothing() -> None:
    model, all_pieces = new_model(TINY, seed=4).requires_grad_(True), pieces()
    loss, whole = gradients(model, [micro(all_pieces)])
    for size in (1, 4):
        parts = [micro(pieces()[at : at + size]) for at in range(0, len(all_pieces), size)]
        other, found = gradients(model, parts)
        assert other == pytest.approx(loss, abs=1e-5)
        for name, expected in whole.items():
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)


def test_a_fresh_model_guesses() -> None:
    loss, _ = gradients(new_model(TINY, seed=4).requires_grad_(True), [micro(pieces())])
    assert loss == pytest.approx(math.log(TOKENIZER.vocab_size), rel=0.03)


def test_only_hidden_rows_meet_the_head() -> None:
    model = new_model(TINY, seed=4)
    seen: list[int] = []
    model.lm_head.dense.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))  # type: ignore[union-attr]
    own = micro(pieces())
    MaskedLm().loss(model.requires_grad_(True), own)
    assert seen == [len(own.rows)]
    assert len(own.rows) < len(own.ids) / 2


def test_accuracy_counts_what_is_restored() -> None:
    """Of a model that always says one token."""
    model, own = new_model(TINY, seed=4), micro(pieces())
    with torch.no_grad():
        model.lm_head.decoder.bias[int(own.targets[0])] = 100.0  # type: ignore[union-attr]
        found = MaskedLm().loss(model, own).metrics["accuracy"]
    assert found == (float((own.targets == own.targets[0]).sum()), own.weight)


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def small(folder: Path, **changes: Any) -> Any:
    model = {"family": "bert", "size": "1m", "tokenizer": "characters", "shape": SHAPE}
    return recipe(folder, **({"objective": "masked", "model": model, "max_seq_len": 32, "batch_size": 16} | changes))


def test_it_learns(tmp_path: Path) -> None:
    """In 60 steps, that a text of one token repeated has it everywhere."""
    samples = [Sample([300 + number % 8] * 12) for number in range(64)]
    source = Pieces(
        write_shards(samples, tmp_path / "shards", TOKENIZER.vocab_size, {}),
        Cut("single", 14, lambda length: length + 2),
        batch_size=16,
        micro_batch_size=16,
        seed=1,
    )
    model = new_model(TINY, seed=4).requires_grad_(True)
    pace = Pace(60, warmup_steps=5)
    loop = Loop(model, Masked(source, Masking(TOKENIZER, MaskedPart())), MaskedLm(), Optimization(lr=1e-2), pace)
    losses = [step.loss for step in loop.steps()]
    assert losses[0] > 6
    assert losses[-1] < 1.5  # ln 8 is 2.08


def test_a_run_that_is_gone_on_with_is_the_same_to_the_bit(tmp_path: Path) -> None:
    train(small(tmp_path))
    whole = [row["loss"] for row in read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    for step in (9, 12):
        shutil.rmtree(tmp_path / "run" / f"step-{step:08d}", ignore_errors=True)
    train(small(tmp_path), resume=True)
    again = [row["loss"] for row in read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    assert again == whole
