"""A reward model by a recipe: it learns, goes on to the bit, and says the same scores in use and in transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_bert
from openbook.core.errors import BadData, ModelUnavailable, RunStopped, UsageError
from openbook.lm.fresh import write_merged
from openbook.lm.reward import RewardModel, step_ids
from openbook.lm.stored import Stored
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.run import open_run, train
from small_preferences import liked, pairs, recipe, save_base, solutions, written


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_it_learns_and_scores_as_in_its_evaluation(tmp_path: Path) -> None:
    said: list[str] = []
    done = train(recipe(tmp_path, "reward", steps=30, lr=5e-3), say=said.append)
    rows = log(tmp_path)
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert "loss before training: 0.6931" in said
    held = [row for row in rows if "eval_loss" in row]
    assert held[-1]["eval_accuracy"] == 1.0 and held[-1]["eval_margin"] > 1.0
    assert done.model is not None
    model, others = RewardModel.load(done.model), pairs()[48:]
    prompts = [asked(one["prompt"]) for one in others]
    chosen, rejected = (model.scores(prompts, [one[side] for one in others]) for side in ("chosen", "rejected"))
    margins = [a - b for a, b in zip(chosen, rejected, strict=True)]
    best = min(row["eval_loss"] for row in held)
    assert sum(math.log1p(math.exp(-one)) for one in margins) / len(margins) == pytest.approx(best, abs=1e-4)
    assert model.scores(prompts[:1], [others[0]["chosen"]]) == pytest.approx(
        chosen[:1], abs=1e-5
    )  # whatever is beside it


def test_transformers_says_the_same_scores(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    done = train(recipe(tmp_path, "reward", steps=12, lr=5e-3))
    assert done.model is not None
    model = RewardModel.load(done.model)
    theirs = AutoModelForSequenceClassification.from_pretrained(done.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(done.model)
    assert theirs.config.num_labels == 1
    for one in pairs(4):
        chat = [*asked(one["prompt"]), {"role": "assistant", "content": one["chosen"]}]
        ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            wanted = float(theirs(ids).logits)
        assert model.scores([asked(one["prompt"])], [one["chosen"]]) == pytest.approx([wanted], abs=1e-5)


def test_padding_in_which_answers_end_is_no_padding(tmp_path: Path) -> None:
    """transformers would take the score one token too early."""
    base = save_base(tmp_path / "base")
    raw = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(raw | {"pad_token_id": raw["eos_token_id"]}))
    done = train(recipe(tmp_path, "reward", steps=1, warmup=0))
    assert done.model is not None
    assert json.loads((done.model / "config.json").read_text())["pad_token_id"] is None


def test_what_a_decoder_forgets_is_how_far_its_vectors_turn(tmp_path: Path) -> None:
    """It has no head over the vocabulary any more: perplexity cannot be asked."""
    said: list[str] = []
    train(recipe(tmp_path, "reward", steps=2, forgetting=None), say=said.append)
    told = [line for line in said if line.startswith("forgetting")]
    assert told and all("cosine of vectors 1 before" in line for line in told)


def test_the_steps_of_solutions(tmp_path: Path) -> None:
    rows = solutions(96)
    done = train(recipe(tmp_path, "reward", rows, steps=60, lr=5e-3))
    assert log(tmp_path)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    held = [row for row in log(tmp_path) if "eval_loss" in row]
    assert held[-1]["eval_accuracy"] > 0.9
    assert done.model is not None
    model = RewardModel.load(done.model)
    found = model.step_scores(asked("tin?"), ["yes oak", "no fig", "yes ash"])
    assert [one > 0.5 for one in found] == [True, False, True]
    assert model.step_scores(asked("tin?"), ["yes oak"]) == pytest.approx(found[:1], abs=1e-5)
    assert model.step_scores(asked("tin?"), []) == []
    with pytest.raises(UsageError, match="the model read 64"):
        model.step_scores(asked("tin?"), ["yes oak"] * 40)


def test_steps_that_follow_do_not_change_the_ids_of_a_step(tmp_path: Path) -> None:
    from openbook.lm.tokenizers.default import default_tokenizer

    tokenizer = default_tokenizer(400)
    for prompts in ("chat", "alpaca", "text"):
        ids, ends = step_ids(tokenizer, asked("a"), ["one", "two"], prompts)  # type: ignore[arg-type]
        first, end = step_ids(tokenizer, asked("a"), ["one"], prompts)  # type: ignore[arg-type]
        assert ids[: len(first)] == first and ends[:1] == end and ends[-1] == len(ids) - 1


def test_an_encoder_learns_pairs_of_texts(tmp_path: Path) -> None:
    words = [*tiny_bert.WORDS]
    base = tiny_bert.write(tmp_path / "base", tiny_bert.weights())
    assert {"cat", "dog"} <= set(words)
    rows = [
        {"prompt": "what is the cat", "chosen": f"the cat is {one}", "rejected": f"the dog is {one}"}
        for one in words[8:28]
    ]
    done = train(recipe(tmp_path, "reward", rows, steps=40, max_seq_len=24, model={"path": str(base)}))
    assert log(tmp_path)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert done.model is not None and log(tmp_path)[-2]["accuracy"] == 1.0
    model = RewardModel.load(done.model)
    good, bad = model.scores([asked("what is the cat")] * 2, ["the cat is of", "the dog is of"])
    assert good > bad
    with pytest.raises(UsageError, match=r"data\.prompts=alpaca is for decoders"):
        data = {"train": str(tmp_path / "rows.jsonl"), "prompts": "alpaca"}
        said: dict[str, Any] = {"data": data, "eval_every": None, "out": str(tmp_path / "two")}
        train(recipe(tmp_path, "reward", rows, max_seq_len=24, model={"path": str(base)}, **said))
    with pytest.raises(UsageError, match="encoder"):
        train(
            recipe(
                tmp_path, "reward", solutions(), model={"path": str(base)}, max_seq_len=24, out=str(tmp_path / "two")
            )
        )


def test_an_adapter_and_its_head_score_over_their_base(tmp_path: Path) -> None:
    adapter = {"kind": "lora", "r": 4, "target_modules": "all-linear"}
    done = train(recipe(tmp_path, "reward", steps=30, lr=1e-2, adapter=adapter))
    assert done.model is not None and not (done.model / "model.safetensors").exists()
    model = RewardModel.load(tmp_path / "base", adapter=done.model)
    one = pairs(1, seed=8)[0]
    good, bad = model.scores([asked(one["prompt"])] * 2, [one["chosen"], one["rejected"]])
    assert good > bad
    with pytest.raises(ModelUnavailable, match="no head for a score"):
        RewardModel.load(tmp_path / "base")
    with pytest.raises(ModelUnavailable, match="is an adapter"):
        RewardModel.load(done.model)
    write_merged(tmp_path / "base", done.model, tmp_path / "merged")
    merged = RewardModel.load(tmp_path / "merged")
    assert merged.settings == model.settings
    again = merged.scores([asked(one["prompt"])] * 2, [one["chosen"], one["rejected"]])
    assert again == pytest.approx([good, bad], abs=1e-4)


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = recipe(tmp_path, "reward", micro_batch_size=3, reward={"center": 0.01})
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    first, second = (Stored(tmp_path / name / "model") for name in ("run", "halves"))
    assert all(first[name].equal(second[name]) for name in first)


def test_scores_stay_around_zero_where_they_are_centered(tmp_path: Path) -> None:
    found = []
    for center in (0.0, 1.0):
        train(recipe(tmp_path, "reward", steps=30, lr=5e-3, reward={"center": center}, out=str(tmp_path / str(center))))
        row = [one for one in log(tmp_path, str(center)) if "eval_loss" in one][-1]
        found.append(abs(row["eval_reward_chosen"] + row["eval_reward_rejected"]))
    assert found[1] < 0.2 and found[1] < found[0]


def test_a_head_that_is_not_zero_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.lm.heads._make_zero", lambda head: torch.nn.init.ones_(head.weight))
    with pytest.raises(RunStopped, match=r"must be 0\.693147"):
        train(recipe(tmp_path, "reward"))


def test_a_reward_model_is_learned_on(tmp_path: Path) -> None:
    """Its head is no fresh one, and its loss is not that of a guess."""
    first = train(recipe(tmp_path, "reward", steps=12, lr=5e-3))
    assert first.model is not None
    train(recipe(tmp_path, "reward", steps=2, warmup=0, model={"path": str(first.model)}, out=str(tmp_path / "two")))
    assert log(tmp_path, "two")[0]["loss"] < 0.6


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="48 answers have no other one"):
        train(recipe(tmp_path, "reward", liked()))
    with pytest.raises(UsageError, match="begins as a trained one"):
        train(recipe(tmp_path, "reward", model={"size": "1m"}, forgetting=None))
    with pytest.raises(UsageError, match=r"data\.layout"):
        data = {"train": str(written(tmp_path / "a.jsonl", pairs())), "layout": "packed"}
        train(recipe(tmp_path, "reward", data=data, eval_every=None))
    with pytest.raises(UsageError, match="center"):
        train(recipe(tmp_path, "reward", solutions(), reward={"center": 0.1}))


def test_one_pair_is_shown(tmp_path: Path) -> None:
    from openbook.training.check import check_run

    said: list[str] = []
    check_run(open_run(recipe(tmp_path, "reward"), Ranks()), said.append)
    text = "\n".join(said)
    assert "the better answer of" in text and "the worse answer of" in text and "trained" in text
