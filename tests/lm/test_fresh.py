"""A new checkpoint: its counts are true, its special ids are its tokenizer's, and what it lacks is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lm.checkpoints import byte_tokenizer
from openbook.core.errors import UsageError
from openbook.lm.fresh import write_fresh
from openbook.lm.load import empty_model
from openbook.lm.presets import DECODERS, SIZES, new_config
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.train import train

FAMILIES = (*DECODERS, "gpt2", "bert", "t5")
LLAMA = {
    "1m": 1.8,
    "5m": 6.5,
    "30m": 27.8,
    "125m": 119.6,
    "0.5b": 365.2,
    "1b": 989.9,
    "1.5b": 1322.9,
    "3b": 2869.1,
    "8b": 7046.7,
}
"""Millions of parameters with the built-in tokenizer, as docs/models.md has them."""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_count_is_of_everything_and_of_the_table(tmp_path: Path, family: str) -> None:
    made = write_fresh(tmp_path, family, "1m", max_seq_len=64)
    model = empty_model(json.loads((tmp_path / "config.json").read_text()), "a test")
    assert made.parameters == sum(one.numel() for one in model.parameters())
    assert made.table == 8_192 * 128 * (2 if family == "t5" else 1)
    assert made.vocab_size == 8_192


def test_the_counts_of_the_page_on_models_are_true() -> None:
    pages = [
        (Path(__file__).parents[2] / "docs" / name).read_text("utf-8") for name in ("models.md", "models.zh-CN.md")
    ]
    assert set(LLAMA) == set(SIZES)
    for size, millions in LLAMA.items():
        model = empty_model(new_config("llama", size, 8_192), "a test")
        assert round(sum(one.numel() for one in model.parameters()) / 1e6, 1) == millions
        assert all(f"| {size} | {millions:,.1f} M |" in page for page in pages)


@pytest.mark.parametrize("family", FAMILIES)
def test_special_ids_are_those_of_the_tokenizer(tmp_path: Path, family: str) -> None:
    write_fresh(tmp_path, family, "1m", max_seq_len=64)
    said, tokenizer = json.loads((tmp_path / "config.json").read_text()), default_tokenizer()
    assert (said["eos_token_id"], said["pad_token_id"]) == (tokenizer.eos_id, tokenizer.pad_id)
    if family == "t5":
        assert said["decoder_start_token_id"] == tokenizer.pad_id


def test_what_a_model_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "bytes").mkdir()
    byte_tokenizer(tmp_path / "bytes", chat_template=None, eos_token=None)
    notes = write_fresh(tmp_path / "llama", "llama", "1m", tmp_path / "bytes", max_seq_len=64).notes
    assert [note.split(":")[0] for note in notes] == [
        "its tokenizer has no chat template",
        "its tokenizer has no eos_token",
    ]
    (note,) = write_fresh(tmp_path / "bert", "bert", "1m", max_seq_len=64).notes
    assert "no [MASK]" in note
    train("wordpiece", ["the ferry leaves at noon"] * 9, 60).save(tmp_path / "words")
    assert write_fresh(tmp_path / "masked", "bert", "1m", tmp_path / "words", max_seq_len=64).notes == ()
    for family in ("llama", "gpt2", "t5"):
        assert write_fresh(tmp_path / f"plain {family}", family, "1m", max_seq_len=64).notes == ()


@pytest.mark.parametrize("seed", [-1, 1 << 63, 10**30])
def test_a_seed_that_cannot_be_is_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UsageError, match="seed is"):
        write_fresh(tmp_path / "new", "llama", "1m", max_seq_len=64, seed=seed)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("places", [0, -1, 1 << 25])
def test_places_that_cannot_be_are_refused(tmp_path: Path, places: int) -> None:
    with pytest.raises(UsageError, match="max_seq_len is"):
        write_fresh(tmp_path / "new", "gpt2", "1m", max_seq_len=places)
    assert not (tmp_path / "new").exists()
