"""Span corruption: the loss and the gradients of transformers' T5, sums for every split, and a run that learns."""

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
from torch.nn.utils.rnn import pad_sequence

from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.data.shards import Sample, write_shards
from openbook.training.log import read_log
from openbook.training.loop import Loop, Pace
from openbook.training.objectives.spans import SpanCorruption
from openbook.training.optimizer import Optimization
from openbook.training.recipe_parts import SpansPart
from openbook.training.run import train
from openbook.training.sources.pieces import Cut, Piece, Pieces, drawn
from openbook.training.sources.spans import Spans, Spoiled, Spoiling, spoiled
from openbook.training.special_tokens import with_special_tokens
from small_runs import recipe

TOKENIZER = with_special_tokens(default_tokenizer(500), "spans")
SPOILING = Spoiling(TOKENIZER, SpansPart())
TINY = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": TOKENIZER.vocab_size,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": TOKENIZER.pad_id,
    "pad_token_id": TOKENIZER.pad_id,
    "eos_token_id": TOKENIZER.eos_id,
    "dropout_rate": 0.0,
}


def pieces(lengths: tuple[int, ...] = (30, 9, 17, 30, 4, 22)) -> list[Piece]:
    draw = np.random.default_rng(2)
    texts = [draw.integers(0, 400, length) for length in lengths]
    return [Piece(ids, np.ones(len(ids), np.bool_), drawn(3, 0, number)) for number, ids in enumerate(texts)]


def gradients(model: Any, micros: list[Spoiled]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    objective, total = SpanCorruption(), 0.0
    weight = sum(objective.weight(one) for one in micros)
    for one in micros:
        found = objective.loss(model, one)
        (found.total / weight).backward()
        total += float(found.total.detach())
    return total / weight, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def test_it_equals_transformers(tmp_path: Path) -> None:
    """The same loss, and the same gradient of every parameter, for padded rows there and ragged ones here."""
    save_model(new_model(TINY, seed=4), tmp_path)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path, attn_implementation="eager").eval()
    ours = load_model(tmp_path).requires_grad_(True)
    own = spoiled(pieces(), SPOILING)
    loss, found = gradients(ours, [own])
    ids = pad_sequence(own.ids.split(own.lengths), batch_first=True)
    mask = pad_sequence([torch.ones(length) for length in own.lengths], batch_first=True)
    labels = pad_sequence(own.targets.split(own.target_lengths), batch_first=True, padding_value=-100)
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels).loss
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-5)
    grads = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    links = {link.ours: link.theirs for link in ours.links()}
    assert len(found) == len(grads)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, grads[links[name]], rtol=1e-4, atol=1e-6)


def test_the_split_into_micro_batches_changes_nothing() -> None:
    model, count = new_model(TINY, seed=4).requires_grad_(True), len(pieces())
    loss, whole = gradients(model, [spoiled(pieces(), SPOILING)])
    for size in (1, 4):
        parts = [spoiled(pieces()[at : at + size], SPOILING) for at in range(0, count, size)]
        other, found = gradients(model, parts)
        assert other == pytest.approx(loss, abs=1e-5)
        for name, expected in whole.items():
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)


def test_a_fresh_model_guesses() -> None:
    loss, _ = gradients(new_model(TINY, seed=4).requires_grad_(True), [spoiled(pieces(), SPOILING)])
    assert loss == pytest.approx(math.log(TOKENIZER.vocab_size), rel=0.03)


def test_it_learns(tmp_path: Path) -> None:
    """In 60 steps, that what is missing in a text of one token repeated is that token."""
    samples = [Sample([300 + number % 8] * 16) for number in range(64)]
    source = Pieces(
        write_shards(samples, tmp_path / "shards", TOKENIZER.vocab_size, {}),
        Cut("single", 20, SPOILING.taken),
        batch_size=16,
        micro_batch_size=16,
        seed=1,
    )
    model = new_model(TINY, seed=4).requires_grad_(True)
    loop = Loop(model, Spans(source, SPOILING), SpanCorruption(), Optimization(lr=1e-2), Pace(60, warmup_steps=5))
    losses = [step.loss for step in loop.steps()]
    assert losses[0] > 6
    assert losses[-1] < 1.0


SHAPE = {"d_model": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 48}


def test_a_run_that_is_gone_on_with_is_the_same_to_the_bit(tmp_path: Path) -> None:
    model = {"family": "t5", "size": "1m", "tokenizer": "characters", "shape": SHAPE}
    small = recipe(tmp_path, objective="spans", model=model, max_seq_len=24)
    done = train(small)
    whole = [row["loss"] for row in read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    for step in (9, 12):
        shutil.rmtree(tmp_path / "run" / f"step-{step:08d}", ignore_errors=True)
    train(small, resume=True)
    again = [row["loss"] for row in read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    assert again == whole
    assert done.model is not None
    assert transformers.T5ForConditionalGeneration.from_pretrained(done.model).config.vocab_size > 100
