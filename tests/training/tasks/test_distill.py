"""A student by a recipe: the teacher stays as it is, a run goes on to the bit, and is the same in parts and in two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import several_processes
from openbook.core.errors import UsageError
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.stored import Stored
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.check import check_run
from openbook.training.log import read_log
from openbook.training.objectives.divergences import divergences
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, read_recipe, recipe_of
from openbook.training.run import open_run, train
from openbook.training.sources.step import Tokens
from small_rollouts import raw, tokenizer, values

LORA = {"kind": "lora", "r": 4, "target_modules": "all-linear"}
WORDS = ["one", "two", "six", "ten", "red", "sea"]


def rows_file(folder: Path, count: int = 12, name: str = "rows") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"prompt": f"say {WORDS[at % 6]}", "completion": f"{WORDS[at % 6]} {WORDS[at * 5 % 6]}"} for at in range(count)
    ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def save_teacher(folder: Path) -> Path:
    """One that prefers some tokens clearly, so that there is something to learn from it."""
    if not folder.is_dir():
        model = new_model(raw() | {"hidden_size": 48, "tie_word_embeddings": True}, seed=9)
        with torch.no_grad():
            for one in model.parameters():
                if one.ndim == 2:
                    one.mul_(4)
        save_model(model, folder)
        tokenizer().save(folder)
    return folder


def recipe(folder: Path, **changes: Any) -> Recipe:
    """Of a student; `grpo` and `rewards` of the base recipe are left out."""
    own: dict[str, Any] = {"objective": "distill", "grpo": None, "rewards": None} | changes
    own["data"] = {"train": str(rows_file(folder)), "layout": "single"} | changes.get("data", {})
    own["distill"] = {"teacher": str(save_teacher(folder / "teacher"))} | changes.get("distill", {})
    if not own["distill"].get("on_policy"):
        own["rollout"] = None
    if own["objective"] != "distill":
        own["distill"] = None
    return recipe_of(values(folder, **own))


def log(folder: Path, name: str = "run") -> list[dict[str, Any]]:
    return [dict(row) for row in read_log(folder / name / "log.jsonl")]


def weights(folder: Path) -> dict[str, np.ndarray]:
    stored = Stored(folder)
    return {name: stored[name].float().numpy() for name in stored}


@pytest.mark.parametrize("divergence", ["forward", "reverse", "jsd"])
def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path, divergence: str) -> None:
    train(recipe(tmp_path, distill={"divergence": divergence, "weight": 1.0}, lr=5e-3, steps=25))
    found = log(tmp_path)
    assert found[-1]["divergence"] < 0.7 * found[0]["divergence"]
    assert all(row["loss"] == pytest.approx(row["divergence"], rel=1e-4) for row in found)


def test_the_loss_is_weighed_with_the_temperature(tmp_path: Path) -> None:
    train(recipe(tmp_path, distill={"weight": 0.25, "temperature": 2.0}, steps=2))
    for row in log(tmp_path):
        wanted = 0.75 * row["cross_entropy"] + 0.25 * 4 * row["divergence"]
        assert row["loss"] == pytest.approx(wanted, rel=1e-4)


def test_the_teacher_stays_as_it_is_and_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    made = recipe(tmp_path, steps=2, lr=1e-2)
    before = weights(tmp_path / "teacher")
    train(made)
    found = weights(tmp_path / "run" / "model")
    assert {name: one.shape for name, one in found.items()} == {
        name: one.shape for name, one in weights(tmp_path / "base").items()
    }
    assert all(np.array_equal(one, before[name]) for name, one in weights(tmp_path / "teacher").items())


def test_a_run_is_evaluated_as_one_without_a_teacher(tmp_path: Path) -> None:
    """Of the same weights: nothing has been learned at a rate that is nothing."""
    data = {"eval": str(rows_file(tmp_path, 5, "held"))}
    same: dict[str, Any] = {"data": data, "steps": 1, "lr": 1e-30, "weight_decay": 0.0}
    train(recipe(tmp_path, **same, distill={"weight": 1.0, "temperature": 3.0}))
    train(recipe(tmp_path, **same, objective="next_token", out=str(tmp_path / "plain")))
    one, two = (row for name in ("run", "plain") for row in log(tmp_path, name) if "eval_loss" in row)
    assert one["eval_loss"] == two["eval_loss"]


def test_micro_batches_do_not_change_a_run(tmp_path: Path) -> None:
    for size in (8, 3):
        train(recipe(tmp_path, micro_batch_size=size, distill={"on_policy": 0.5}, out=str(tmp_path / str(size))))
    for name in ("loss", "norm", "divergence", "cross_entropy"):
        whole, parts = ([row[name] for row in log(tmp_path, str(size))] for size in (8, 3))
        assert parts == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_it_goes_on_to_the_bit(tmp_path: Path, share: float) -> None:
    changes: dict[str, Any] = {"distill": {"on_policy": share, "divergence": "jsd"}, "save_every": 3, "keep": 9}
    changes["schedule"] = "constant"
    if share:
        changes["rollout"] = {"minibatches": 2}
    train(recipe(tmp_path, steps=6, out=str(tmp_path / "whole"), **changes))
    train(recipe(tmp_path, steps=3, out=str(tmp_path / "parts"), **changes))
    train(recipe(tmp_path, steps=6, out=str(tmp_path / "parts"), **changes), resume=True)
    one, two = (weights(tmp_path / name / "step-00000006") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    own = sum("length" in row or "rollout_s" in row for row in log(tmp_path, "whole"))
    assert (own > 0) == (share > 0)
    if share == 0.5:
        assert own < 6


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    jobs = []
    for share in (0.5, 1.0):
        changes: dict[str, Any] = {"distill": {"on_policy": share}, "micro_batch_size": 4, "steps": 4}
        changes["data"] = {"eval": str(rows_file(tmp_path, 5, "held"))}
        train(recipe(tmp_path, **changes, out=str(tmp_path / f"{share}-one")))
        two = recipe(tmp_path, **changes, out=str(tmp_path / f"{share}-two"))
        jobs.append({"values": two.model_dump(mode="json")})
    several_processes.run(tmp_path / "processes", jobs)
    for share in (0.5, 1.0):
        one, two = (log(tmp_path, f"{share}-{name}") for name in ("one", "two"))
        for name in ("loss", "norm", "divergence", "cross_entropy", "length", "eval_loss"):
            wanted = [row[name] for row in one if name in row]
            assert wanted and [row[name] for row in two if name in row] == pytest.approx(wanted, abs=1e-5), name


def test_what_a_student_writes_is_what_its_teacher_corrects(tmp_path: Path) -> None:
    """GKD: prompts without answers are enough, and the divergence on completions drawn before falls."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {word}"}) + "\n" for word in WORDS), "utf-8")
    changes: dict[str, Any] = {"data": {"train": str(prompts), "layout": "auto"}, "lr": 5e-3, "steps": 15}
    changes["distill"] = {"on_policy": 1.0, "divergence": "jsd", "weight": 1.0}
    made = recipe(tmp_path, **changes)
    own = [one for _ in range(2) for one in open_run(made, Ranks()).loop.source.next_step()]
    assert all("length" in one.told for one in own[:1])
    train(made)
    found = [row["divergence"] for row in log(tmp_path)]
    assert sum(found[-3:]) < 0.85 * sum(found[:3])
    before, after = (_apart(tmp_path / name, tmp_path / "teacher", own) for name in ("base", "run/model"))
    assert after < 0.85 * before
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text("utf-8").splitlines()]
    assert rows and all(row["prompt"].startswith("say ") for row in rows)


def _apart(student: Path, teacher: Path, micros: list[Tokens]) -> float:
    models = [load_model(one).eval() for one in (student, teacher)]
    with torch.no_grad():
        found = [
            divergences(*(one(micro.ids, micro.batch())[micro.rows].log_softmax(1) for one in models), kind="jsd")
            for micro in micros
        ]
    return float(torch.cat(found).mean())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_student_may_be_an_adapter(tmp_path: Path, share: float) -> None:
    train(recipe(tmp_path, adapter=LORA, distill={"on_policy": share, "weight": 1.0}, lr=2e-2, steps=12))
    found = [row["divergence"] for row in log(tmp_path)]
    assert all(row["norm"] > 0 for row in log(tmp_path))
    if not share:  # what it writes itself is another text in each step
        assert sum(found[-3:]) < 0.98 * sum(found[:3])
    names = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert "adapter_model.safetensors" in names and "model.safetensors" not in names


def test_a_fresh_student_learns_in_bfloat16(tmp_path: Path) -> None:
    made = recipe(tmp_path, precision="bfloat16", steps=2)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    fresh = {"size": "1m", "tokenizer": str(tmp_path / "base"), "shape": shape | {"head_dim": 16, "vocab_size": 320}}
    train(recipe_of(made.model_dump(mode="json") | {"model": fresh}))
    assert all(np.isfinite(row["loss"]) and row["divergence"] > 0 for row in log(tmp_path))


def test_a_check_says_who_teaches(tmp_path: Path) -> None:
    said: list[str] = []
    check_run(open_run(recipe(tmp_path, distill={"on_policy": 0.5}), Ranks()), said.append)
    assert any(line.startswith("teacher: ") and "forward divergence" in line for line in said)
    assert "12 prompts to answer" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill": {"teacher": None}}, "needs a teacher"),
        ({"distill": {"on_policy": 0.5}, "rollout": {"max_tokens": 40}}, "no room for a prompt"),
        ({"distill": {"on_policy": 1.0}, "data": {"eval_share": 0.25}}, "data.eval=FILE"),
        ({"distill": {"on_policy": 0.5}, "adapter": LORA | {"dropout": 0.1}}, "dropout"),
        ({"distill": {"on_policy": 0.5}, "batch_size": 6}, "no multiple"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_run(recipe(tmp_path, **changes), Ranks())
    assert message in f"{caught.value.message}; {caught.value.remedy}"


def test_a_teacher_of_other_tokens_is_refused_with_what_to_do(tmp_path: Path) -> None:
    other = default_tokenizer(300)
    save_model(
        new_model(raw() | {"vocab_size": other.vocab_size, "tie_word_embeddings": True}, seed=1), tmp_path / "300"
    )
    other.save(tmp_path / "300")
    with pytest.raises(UsageError, match="other tokens") as caught:
        open_run(recipe(tmp_path, distill={"teacher": str(tmp_path / "300")}), Ranks())
    assert "data generate" in caught.value.remedy
    padded = raw() | {"vocab_size": 384, "tie_word_embeddings": True}
    save_model(new_model(padded, seed=1), tmp_path / "padded")
    tokenizer().save(tmp_path / "padded")
    with pytest.raises(UsageError, match="384 and 320 rows"):
        open_run(recipe(tmp_path, distill={"teacher": str(tmp_path / "padded")}), Ranks())


def test_a_teacher_that_only_reads_is_refused(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    save_model(
        new_model({"model_type": "bert", "vocab_size": 320, "max_position_embeddings": 64} | sizes), tmp_path / "bert"
    )
    tokenizer().save(tmp_path / "bert")
    with pytest.raises(UsageError, match="decoders that write"):
        open_run(recipe_of(made.model_dump(mode="json") | {"distill": {"teacher": str(tmp_path / "bert")}}), Ranks())


def test_the_recipe_that_comes_with_openbook_is_a_students(tmp_path: Path) -> None:
    given = ["model.path=base", "distill.teacher=teacher", "data.train=rows.jsonl"]
    found = read_recipe(Path(__file__).resolve().parents[3] / "recipes" / "distill.yaml", given)
    assert found.objective == "distill" and found.distill.teacher == "teacher" and found.distill.on_policy == 0
