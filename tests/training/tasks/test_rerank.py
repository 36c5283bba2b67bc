"""A reranker by a recipe: it learns, goes on to the bit, and loads where passages are ranked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData, UsageError
from openbook.library.embed.pairs import CrossEncoder
from openbook.lm.fresh import write_merged
from openbook.lm.stored import Stored
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.run import open_run, train
from small_groups import groups, recipe, written

Row = dict[str, Any]


def log(folder: Path) -> list[Row]:
    return [dict(row) for row in read_log(folder / "run" / "log.jsonl")]


@pytest.mark.parametrize(("loss", "batch_size"), [("listwise", 32), ("pointwise", 32)])
def test_it_learns_and_ranks(tmp_path: Path, loss: str, batch_size: int) -> None:
    """Pairs on their own say less: they need more of them."""
    said: list[str] = []
    done = train(recipe(tmp_path, "rerank", steps=60, batch_size=batch_size, rerank={"loss": loss}), say=said.append)
    rows = log(tmp_path)
    held_out = [row for row in rows if "eval_loss" in row]
    guess = math.log(4) if loss == "listwise" else math.log(2)
    assert rows[0]["loss"] == pytest.approx(guess, abs=0.15)
    sure = 0.8 if loss == "listwise" else 0.5
    assert held_out[-1]["eval_accuracy"] > sure  # a guess: 0.25
    assert done.model is not None
    encoder = CrossEncoder(done.model)
    ranked = [encoder.rank(one.query, [*one.negatives, one.positive]) for one in groups(20, seed=9)]
    assert sum(int(scores.argmax() == 4) for scores in ranked) >= 20 * sure - 1
    assert any("queries with" in line for line in said)


def test_pairs_are_cut_in_use_as_in_training(tmp_path: Path) -> None:
    done = train(recipe(tmp_path, "rerank", steps=1, warmup=0, max_seq_len=12))
    assert done.model is not None
    encoder = CrossEncoder(done.model)
    encoder.rank("what is the cat", ["the cat is of and to in that for was on are"])
    assert encoder.truncated == 1
    assert encoder._model._tokenizer.max_tokens == 12


def test_what_lora_learned_ranks_over_its_base(tmp_path: Path) -> None:
    """The adapter in float32 over the base is the model of the last evaluation."""
    adapter = {"kind": "lora", "r": 8, "target_modules": "all-linear", "trained_modules": "pooler"}
    one = recipe(tmp_path, "rerank", steps=60, batch_size=32, lr=5e-3, adapter=adapter)
    done = train(one)
    assert done.model is not None
    assert not (done.model / "model.safetensors").exists()
    encoder = CrossEncoder(tmp_path / "base", adapter=done.model)
    assert encoder._model._tokenizer.max_tokens == 24
    run = open_run(one, Ranks())
    held_out = list(run.task.held_out.args[0])  # type: ignore[attr-defined]
    right = 0
    for group in held_out:
        scores = encoder.rank(group.query, [group.positive, *group.negatives[:3]])
        right += int((scores[0] > scores[1:]).all())
    found = [row["eval_accuracy"] for row in log(tmp_path) if "eval_accuracy" in row]
    assert right / len(held_out) == pytest.approx(found[done.best_step // 4 - 1], abs=1e-6)  # type: ignore[operator]
    assert found[-1] > 0.5


def test_an_adapter_is_folded_in_with_its_head(tmp_path: Path) -> None:
    adapter = {"kind": "lora", "r": 4, "target_modules": "all-linear"}
    done = train(recipe(tmp_path, "rerank", steps=12, lr=5e-3, adapter=adapter))
    assert done.model is not None
    write_merged(tmp_path / "base", done.model, tmp_path / "merged")
    texts = [one.positive for one in groups(8)]
    beside = CrossEncoder(tmp_path / "base", adapter=done.model).logits("what is the cat", texts)
    assert CrossEncoder(tmp_path / "merged").logits("what is the cat", texts) == pytest.approx(beside, abs=1e-5)


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = recipe(tmp_path, "rerank", micro_batch_size=3)
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    first, second = (Stored(tmp_path / name / "model") for name in ("run", "halves"))
    assert all(first[name].equal(second[name]) for name in first)


def test_documents_on_both_sides_are_refused(tmp_path: Path) -> None:
    rows = groups(4)
    data = {"train": str(written(tmp_path / "a.jsonl", rows)), "eval": str(written(tmp_path / "b.jsonl", rows[:1]))}
    with pytest.raises(BadData, match="title 0"):
        train(recipe(tmp_path, "rerank", data=data))


def test_documents_stay_whole_where_a_part_is_held_out(tmp_path: Path) -> None:
    rows = [one._replace(title=f"title {number // 3}") for number, one in enumerate(groups(9))]
    data = {"train": str(written(tmp_path / "a.jsonl", rows)), "eval_share": 0.5}
    said: list[str] = []
    train(recipe(tmp_path, "rerank", data=data, steps=1, warmup=0), say=said.append)
    assert any("held out: 3 of them" in line for line in said)


def test_what_nothing_can_be_learned_from_is_refused(tmp_path: Path) -> None:
    rows = [*groups(4), groups(1)[0]._replace(negatives=())]
    data = {"train": str(written(tmp_path / "a.jsonl", rows))}
    with pytest.raises(BadData, match="1 of 5 queries have no negative"):
        train(recipe(tmp_path, "rerank", data=data, eval_every=None))
    with pytest.raises(UsageError, match="layout"):
        train(recipe(tmp_path, "rerank", data=data | {"layout": "packed"}, eval_every=None))
