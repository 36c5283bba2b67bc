"""A recipe from its first step to its last: what is learned, kept, logged, stopped and gone on with."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import RunStopped, UsageError
from openbook.lm.dense import dense
from openbook.lm.load import load_model
from openbook.lm.stored import Stored
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training import checkpoint, loop, run
from openbook.training.log import read_log
from openbook.training.run import train
from openbook.training.status import Outcome, Status
from small_runs import recipe


def losses(out: Path, name: str = "loss") -> list[float]:
    return [row[name] for row in read_log(out / "log.jsonl") if name in row]


def same(a: Path, b: Path) -> bool:
    first, second = Stored(a), Stored(b)
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_leaves_a_model(tmp_path: Path) -> None:
    said: list[str] = []
    done = train(recipe(tmp_path, steps=60, eval_every=20, log_every=1), say=said.append)
    out = tmp_path / "run"
    first, *_, last = losses(out)
    assert first == pytest.approx(math.log(len("abcdefghilmnorstuvwx") + 5), abs=0.3)
    assert last < 2.2
    assert done.ended == "done"
    assert done.best_loss == min(losses(out, "eval_loss"))
    assert done.model == out / "model"
    assert not (out / "model" / "training").exists()
    assert (out / "report.html").read_text("utf-8").count("<polyline") >= 5
    assert any(line.startswith("loss before training") for line in said)
    tokenizer, model = Tokenizer.load(out / "model"), load_model(out / "model")
    ids = tokenizer.encode("one and ")
    assert tokenizer.decode(ids) == "one and "
    assert dense(model, torch.tensor([ids])).shape == (1, len(ids), tokenizer.vocab_size)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw8bit"},
        {"optimizer": "muon"},
        {"ema": 0.9},
        {"precision": "bfloat16"},
        {"precision": "bfloat16-pure"},
        {"precision": "float16"},
        {"gradient_checkpointing": True},
        {"micro_batch_size": 1},
    ],
    ids=str,
)
def test_a_run_that_is_gone_on_with_is_the_same_to_the_bit(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the eighth step is taken, after checkpoints of the third, fourth and sixth."""
    whole = recipe(tmp_path, **changes)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})
    train(whole)
    take = loop.Loop.step

    def killed(self: loop.Loop[Any]) -> loop.Step:
        if self.done == 7:
            raise KeyboardInterrupt
        return take(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(halves)
    torch.manual_seed(77)
    train(halves, resume=True)
    assert losses(tmp_path / "run") == losses(tmp_path / "halves")
    assert losses(tmp_path / "run", "eval_loss") == losses(tmp_path / "halves", "eval_loss")
    assert same(tmp_path / "run" / "step-00000012", tmp_path / "halves" / "step-00000012")
    assert same(tmp_path / "run" / "model", tmp_path / "halves" / "model")


def test_the_first_interrupt_ends_it_after_its_step(tmp_path: Path) -> None:
    one = recipe(tmp_path, save_every=None, eval_every=None)

    def interrupt(status: Status) -> None:
        if status.step.number == 5:
            signal.raise_signal(signal.SIGINT)

    done = train(one, watch=interrupt)
    assert (done.ended, done.done) == ("interrupted", 5)
    assert [path.name for path in checkpoint.checkpoints(tmp_path / "run")] == ["step-00000005"]
    assert train(one, resume=True).ended == "done"
    whole = recipe(tmp_path, save_every=None, eval_every=None, out=str(tmp_path / "whole"))
    train(whole)
    assert same(tmp_path / "run" / "model", tmp_path / "whole" / "model")


def test_evaluation_is_the_same_however_often_it_is_done(tmp_path: Path) -> None:
    """It draws nothing and changes nothing: the run with it is the run without it."""
    often = recipe(tmp_path, eval_every=1)
    never = recipe(tmp_path, eval_every=None, out=str(tmp_path / "never"))
    train(often)
    train(never)
    assert same(tmp_path / "run" / "step-00000012", tmp_path / "never" / "step-00000012")
    assert losses(tmp_path / "run", "eval_loss")[-1] == losses(tmp_path / "never", "eval_loss")[-1]


def test_it_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    """The rate is far too high after a good start."""
    one = recipe(
        tmp_path,
        steps=200,
        lr=0.3,
        schedule="constant",
        warmup=100,
        eval_every=5,
        save_every=None,
        early_stopping=3,
        keep=1,
    )
    done = train(one)
    assert done.ended == "stopped early"
    assert done.best_step == done.done - 15
    assert same(tmp_path / "run" / "model", tmp_path / "run" / f"step-{done.best_step:08d}")


def test_a_place_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(recipe(tmp_path, steps=2))
    with pytest.raises(UsageError, match="--resume"):
        train(recipe(tmp_path, steps=2))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        train(recipe(tmp_path, out=str(tmp_path / "file")))


def test_a_last_step_that_was_saved_before_it_was_found_the_best_stays_the_best(tmp_path: Path) -> None:
    """15 is saved because 3 divides it, and evaluated because it is the last; 12 was the best until then."""
    changes = {"steps": 15, "eval_every": 4, "save_every": 3}
    first = train(recipe(tmp_path, **changes))
    assert first.best_step == 15
    kept = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    again = train(recipe(tmp_path, **changes), resume=True)
    assert (again.best_step, again.best_loss) == (15, first.best_loss)
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == kept


def test_a_resumed_run_that_is_done_stays_as_it_is(tmp_path: Path) -> None:
    first = train(recipe(tmp_path, steps=4))
    again = train(recipe(tmp_path, steps=4), resume=True)
    assert (again.done, again.best_loss) == (first.done, first.best_loss)
    assert len(losses(tmp_path / "run")) == 4


def test_what_a_step_read_is_written_down_when_its_loss_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = loop.Loop.step

    def broken(self: loop.Loop[Any]) -> loop.Step:
        if self.done == 3:
            with torch.no_grad():
                self.trained[0][:] = torch.nan
        return take(self)

    monkeypatch.setattr(loop.Loop, "step", broken)
    with pytest.raises(RunStopped, match=r"stopped-step-00000003\.json") as error:
        train(recipe(tmp_path, eval_every=None))
    assert "nan" in error.value.message
    (micro,) = json.loads((tmp_path / "run" / "stopped-step-00000003.json").read_text("utf-8"))
    assert micro["lengths"] == [16] * 4
    assert "and" in "".join(micro["texts"])
    assert checkpoint.step_of(checkpoint.checkpoints(tmp_path / "run")[-1]) == 3


def test_a_full_disk_ends_it_with_the_older_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint._write

    def full(path: Path, tensors: Any) -> None:
        if "step-00000006" in str(path):
            raise OSError(28, "No space left on device")
        write(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", full)
        with pytest.raises(RunStopped, match="No space left") as error:
            train(recipe(tmp_path, eval_every=None))
    assert "--resume" in error.value.remedy
    out = tmp_path / "run"
    assert [path.name for path in out.iterdir() if "step-" in path.name] == ["step-00000003"]
    assert train(recipe(tmp_path, eval_every=None), resume=True).done == 12


def test_too_little_memory_names_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: object) -> loop.Step:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(loop.Loop, "step", none_left)
    with pytest.raises(RunStopped, match="memory") as error:
        train(recipe(tmp_path))
    assert "micro_batch_size=" in error.value.remedy
    assert "gradient_checkpointing" in error.value.remedy


def test_a_fresh_model_that_begins_elsewhere_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = run.open_model

    def wrong(*arguments: Any) -> Any:
        begun = opened(*arguments)
        with torch.no_grad():
            begun.model.get_parameter("tokens.weight").mul_(100)
        return begun

    monkeypatch.setattr(run, "open_model", wrong)
    with pytest.raises(RunStopped, match="a guess among its tokens"):
        train(recipe(tmp_path))


def test_epochs_are_steps(tmp_path: Path) -> None:
    done: Outcome = train(recipe(tmp_path, steps=None, epochs=0.05, eval_every=None, save_every=None))
    characters = (tmp_path / "text.txt").stat().st_size
    assert done.done == pytest.approx(0.05 * 0.9 * characters / 16 / 4, abs=1)


def test_a_run_that_stopped_early_does_not_go_on(tmp_path: Path) -> None:
    one = recipe(
        tmp_path, steps=60, lr=0.3, schedule="constant", warmup=30, eval_every=2, save_every=None, early_stopping=2
    )
    first = train(one)
    assert first.ended == "stopped early"
    again = train(one, resume=True)
    assert again.done == first.done
