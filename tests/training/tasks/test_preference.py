"""Preferences by a recipe: each loss learns, begins where it must, goes on to the bit, and is the same in two processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import several_processes
from openbook.core.errors import BadData, RunStopped, UsageError
from openbook.lm.stored import Stored
from openbook.training.check import check_run
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.run import open_run, train
from openbook.training.tasks.preference import following_others
from small_preferences import liked, pairs, recipe, save_base

LORA = {"kind": "lora", "r": 4, "target_modules": "all-linear"}
FIRST = {"sigmoid": math.log(2), "hinge": 1.0, "ipo": 25.0, "cdpo": math.log(2), "kto": 0.5}


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


def losses(folder: Path, name: str, key: str = "loss") -> list[float]:
    return [row[key] for row in log(folder, name) if key in row]


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "ipo", "cdpo", "simpo", "orpo", "cpo", "kto"])
@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_each_loss_learns(tmp_path: Path, loss: str, adapter: dict[str, Any] | None) -> None:
    """Whole, with a reference that was computed before; with an adapter, which is turned off for it."""
    rows = liked() if loss == "kto" else pairs()
    lr = 1e-2 if adapter else 2e-3
    train(recipe(tmp_path, "preference", rows, preference={"loss": loss}, adapter=adapter, steps=24, lr=lr))
    found = log(tmp_path)
    if loss in FIRST:
        assert found[0]["loss"] == pytest.approx(FIRST[loss], rel=1e-4)
    held = [row for row in found if "eval_loss" in row]
    assert held[-1]["eval_loss"] < held[0]["eval_loss"]
    assert held[-1]["eval_accuracy"] > 0.9
    assert held[-1]["eval_reward_chosen"] > held[-1]["eval_reward_rejected"]
    assert {"eval_logps_chosen", "eval_token_logps_rejected"} <= held[-1].keys()
    computed = list((tmp_path / "run" / "data").glob("reference-*.npy"))
    assert bool(computed) == (adapter is None and loss in FIRST)


def test_kto_takes_pairs_as_two_answers(tmp_path: Path) -> None:
    said: list[str] = []
    train(recipe(tmp_path, "preference", preference={"loss": "kto"}, steps=2, warmup=0), say=said.append)
    assert "loss before training: 0.5000" in said
    assert log(tmp_path)[0]["weight"] == 8


@pytest.mark.parametrize("loss", ["sigmoid", "kto"])
def test_micro_batches_do_not_change_a_run(tmp_path: Path, loss: str) -> None:
    changes: dict[str, Any] = {"preference": {"loss": loss}, "steps": 6}
    for size in (8, 3, 1):
        train(recipe(tmp_path, "preference", micro_batch_size=size, out=str(tmp_path / str(size)), **changes))
    for size in ("3", "1"):
        for name in ("loss", "norm", "eval_loss"):
            assert losses(tmp_path, size, name) == pytest.approx(losses(tmp_path, "8", name), abs=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "kto"])
@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_it_goes_on_to_the_bit(tmp_path: Path, loss: str, adapter: dict[str, Any] | None) -> None:
    whole = recipe(tmp_path, "preference", preference={"loss": loss}, micro_batch_size=3, adapter=adapter)
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    if adapter is None:
        first, second = (Stored(tmp_path / name / "model") for name in ("run", "halves"))
        assert all(first[name].equal(second[name]) for name in first)
    else:
        one, two = (load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in ("run", "halves"))
        assert all(one[name].equal(two[name]) for name in one)


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Pairs, and answers whose divergence is that of both processes together; the reference is computed by both."""
    save_base(tmp_path / "base")
    jobs = []
    for loss, rows in (("sigmoid", pairs()), ("kto", liked())):
        said: dict[str, Any] = {"preference": {"loss": loss}, "micro_batch_size": 2, "steps": 4, "eval_every": 2}
        train(recipe(tmp_path / loss, "preference", rows, **said, out=str(tmp_path / loss / "one")))
        two = recipe(tmp_path / loss, "preference", rows, **said, out=str(tmp_path / loss / "two"))
        jobs.append({"values": two.model_dump(mode="json")})
    several_processes.run(tmp_path / "processes", jobs)
    for loss in ("sigmoid", "kto"):
        for name in ("loss", "norm", "eval_loss", "accuracy", "eval_reward_chosen"):
            one, two = (losses(tmp_path / loss, at, name) for at in ("one", "two"))
            assert one and two == pytest.approx(one, abs=1e-5), (loss, name)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fsdp", "tensor"])
def test_a_model_that_is_spread_learns_the_same(tmp_path: Path, way: str) -> None:
    """One held-out micro-batch for two processes: nobody's forward pass ends without all."""
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    save_base(tmp_path / "base", **heads)
    jobs = []
    for loss in ("sigmoid", "kto"):
        said: dict[str, Any] = {"preference": {"loss": loss}, "micro_batch_size": 2, "steps": 4, "eval_every": 2}
        train(recipe(tmp_path, "preference", **said, out=str(tmp_path / loss)))
        two = recipe(tmp_path, "preference", **said, parallel=way, out=str(tmp_path / f"{loss}-two"))
        jobs.append({"values": two.model_dump(mode="json")})
    several_processes.run(tmp_path / "processes", jobs)
    for loss in ("sigmoid", "kto"):
        for name in ("loss", "norm", "eval_loss"):
            assert losses(tmp_path, f"{loss}-two", name) == pytest.approx(losses(tmp_path, loss, name), abs=1e-5)


def test_a_reference_of_another_model_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openbook.training import reference

    def changed(*args: Any, **named: Any) -> Any:
        found = reference.known_logprobs(*args, **named)
        found[::2] += 1  # the better answers
        return found

    found = recipe(tmp_path, "preference", preference={"loss": "ipo"})
    monkeypatch.setattr("openbook.training.tasks.preference.known_logprobs", changed)
    with pytest.raises(RunStopped, match=r"and must be 25\.0"):
        train(found)


def test_virtual_tokens_change_the_first_loss_and_are_let_be(tmp_path: Path) -> None:
    said: list[str] = []
    adapter = {"kind": "prefix", "num_virtual_tokens": 2}
    train(recipe(tmp_path, "preference", adapter=adapter, steps=1, warmup=0), say=said.append)
    assert any(line.startswith("the base alone: 0.6931") for line in said)


def test_one_pair_is_shown_with_what_is_learned(tmp_path: Path) -> None:
    said: list[str] = []
    check_run(open_run(recipe(tmp_path, "preference"), Ranks()), said.append)
    text = "\n".join(said)
    better, worse = text.split("the worse answer of")
    assert "the better answer of" in better and "'yes|" in better.replace("y|es", "yes")
    assert "trained special '<|im_end|>'" in worse and "masked" in worse


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"48 answers have no other one .*sigmoid"):
        train(recipe(tmp_path, "preference", liked()))
    bad = [one for one in liked() if one["label"]]
    with pytest.raises(BadData, match="all 24 answers to learn from are liked"):
        train(recipe(tmp_path, "preference", bad, preference={"loss": "kto"}))
    with pytest.raises(UsageError, match="batch_size"):
        train(recipe(tmp_path, "preference", liked(), preference={"loss": "kto"}, batch_size=1))
    with pytest.raises(UsageError, match="trained model"):
        train(recipe(tmp_path, "preference", model={"size": "1m"}))
    with pytest.raises(UsageError, match="gamma is no setting of orpo"):
        recipe(tmp_path, "preference", preference={"loss": "orpo", "gamma": 1.0})


def test_a_reward_model_writes_nothing(tmp_path: Path) -> None:
    first = train(recipe(tmp_path, "reward", steps=1, warmup=0))
    with pytest.raises(UsageError, match="decoder that writes"):
        train(recipe(tmp_path, "preference", model={"path": str(first.model)}, out=str(tmp_path / "two")))


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=2, max_size=40).filter(lambda one: len(set(one)) > 1))
def test_the_next_answer_to_another_prompt(prompts: list[bytes]) -> None:
    """However many in a row have the same prompt."""
    for place, other in enumerate(following_others(prompts)):
        steps = (other - place) % len(prompts)
        assert prompts[other] != prompts[place]
        assert all(prompts[(place + step) % len(prompts)] == prompts[place] for step in range(steps))


def test_answers_to_one_prompt_tell_kto_nothing(tmp_path: Path) -> None:
    rows = [one | {"prompt": "the same"} for one in liked()]
    with pytest.raises(BadData, match="all 48 answers are to one prompt"):
        train(recipe(tmp_path, "preference", rows, preference={"loss": "kto"}))


def test_rows_that_are_sorted_by_label_are_told(tmp_path: Path) -> None:
    rows = sorted(liked(), key=lambda one: not one["label"])
    kto: dict[str, Any] = {"preference": {"loss": "kto"}, "steps": 1, "warmup": 0}
    with pytest.raises(BadData, match="all 16 answers held out are disliked"):
        train(recipe(tmp_path, "preference", rows, **kto))
    said: list[str] = []
    mixed = [*rows[:-3], *rows[:1], rows[-1], rows[-2]]
    train(recipe(tmp_path, "preference", mixed, **kto, out=str(tmp_path / "mixed")), say=said.append)
    assert any("sorted by label" in line for line in said)
    said.clear()
    train(recipe(tmp_path, "preference", liked(), **kto, out=str(tmp_path / "even")), say=said.append)
    assert not any("sorted by label" in line for line in said)
