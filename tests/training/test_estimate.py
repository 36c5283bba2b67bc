"""The estimate of a step's memory: what each setting takes off it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openbook.lm.load import new_model
from openbook.training.estimate import estimate, largest_that_fits
from small_runs import SHAPE, recipe, text_file

CONFIG = {"model_type": "llama", "vocab_size": 70, "max_position_embeddings": 64, "tie_word_embeddings": True} | SHAPE


def found(folder: Path, rows: int = 4, **changes: Any) -> Any:
    data = {"train": str(text_file(folder)), "eval_share": 0.1}
    return estimate(recipe(folder, data=data, **changes), new_model(CONFIG).requires_grad_(True), rows)


def test_each_knob_takes_less(tmp_path: Path) -> None:
    plain = found(tmp_path)
    count = plain.weights // 4
    assert plain.optimizer == 8 * count
    assert 2 * count < found(tmp_path, optimizer="adamw8bit").optimizer < 2.2 * count
    assert found(tmp_path, gradient_checkpointing=True).activations < plain.activations
    assert found(tmp_path, ema=0.9).optimizer == 12 * count
    assert found(tmp_path, rows=2).activations < plain.activations


def test_the_loss_keeps_no_logits(tmp_path: Path) -> None:
    """With a large table of tokens, logits would be most of it."""
    wide = new_model(CONFIG | {"vocab_size": 50_000}).requires_grad_(True)
    logits, gradient = 4 * 16 * 50_000 * 4, 50_000 * 32 * 4
    taken = estimate(recipe(tmp_path), wide, 4).activations
    assert taken < found(tmp_path).activations + gradient + logits / 2


def test_what_is_said_to_fit_fits(tmp_path: Path) -> None:
    one, model = recipe(tmp_path), new_model(CONFIG).requires_grad_(True)
    rows = largest_that_fits(one, model, 8_000_000)
    assert rows is not None
    assert rows > 0
    taken = estimate(one, model, rows)
    assert taken.total - taken.weights <= 8_000_000 * 1.02
    assert largest_that_fits(one, model, 1_000) == 0


def test_a_group_is_as_many_sequences_as_it_has_pairs(tmp_path: Path) -> None:
    plain = found(tmp_path, rows=4)
    assert found(tmp_path, rows=1, objective="rerank").activations == plain.activations
    assert (
        found(tmp_path, rows=2, objective="contrastive", contrastive={"negatives": 0}).activations == plain.activations
    )
    assert found(tmp_path, rows=2, objective="preference").activations == plain.activations
    assert found(tmp_path, rows=2, objective="reward").activations == plain.activations
    assert found(tmp_path, rows=4, objective="preference", preference={"loss": "kto"}).activations == plain.activations
    three = {"others": 1, "strangers": 0.5}
    assert found(tmp_path, rows=1, objective="next_sentence", next_sentence=three).activations == plain.activations
