"""What is checked before the first step, and the sample that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import RunStopped
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.training import check
from openbook.training.check import _check_beginnings, check_run, marked
from openbook.training.loop import Loop
from openbook.training.parallel import Ranks
from openbook.training.run import open_run
from openbook.training.sources.step import Tokens
from small_runs import recipe


def micro(*samples: list[int]) -> Tokens:
    pairs = [(torch.tensor(one).numpy(), torch.ones(len(one), dtype=torch.bool).numpy()) for one in samples]
    return Tokens.of(pairs)


class WithBeginning:
    bos_id = 1


def test_two_tokens_of_beginning_are_stopped() -> None:
    _check_beginnings([micro([1, 5, 1, 1], [1, 7])], WithBeginning())  # type: ignore[arg-type]
    with pytest.raises(RunStopped, match="twice"):
        _check_beginnings([micro([1, 5, 6], [1, 1, 7])], WithBeginning())  # type: ignore[arg-type]


def test_tokens_are_told_apart() -> None:
    tokenizer = character_tokenizer(["abc"])
    ids = [*tokenizer.encode("ab"), tokenizer.id_of("<unk>"), *tokenizer.encode("c")]
    found = list(marked(ids, [True, False, True, True], tokenizer))
    assert found == [("masked", "a|b"), ("trained special", "<unk>"), ("trained", "c")]


def test_a_fresh_model_of_a_few_characters_is_no_fault(tmp_path: Path) -> None:
    """Its tied table likes the character that it stands on: half a nat more than a guess, which has 1.6."""
    path = tmp_path / "few.txt"
    path.write_text("abcbacab\n" * 100, "utf-8")
    run = open_run(
        recipe(tmp_path, model={"size": "1m", "tokenizer": "characters"}, data={"train": str(path)}, eval_every=None),
        Ranks(),
    )
    assert any("loss before training" in line for line in list(check.first_checks(run.loop, run.begun, run.task)))


def test_a_check_takes_nothing_from_the_run(tmp_path: Path) -> None:
    """It says what a run would do, and writes nothing of it."""
    run = open_run(recipe(tmp_path), Ranks())
    said: list[str] = []
    check_run(run, said.append)
    text = "\n".join(said)
    for part in (
        "tokens to learn from",
        "the loss counts 64 (100.0 %)",
        "loss before training",
        "memory: ",
        "12 steps",
    ):
        assert part in text
    assert "masked" in text
    assert not list((tmp_path / "run").glob("step-*"))


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "available_bytes", lambda: 1_000_000)

    def step(self: Loop[Any]) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr(Loop, "step", step)
    with pytest.raises(RunStopped, match="does not fit"):
        check_run(open_run(recipe(tmp_path), Ranks()), lambda _: None)
