"""Preferences on a model: the same step for every split, references that need no second model, log-probabilities as elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from openbook.core.errors import BadData
from openbook.lm.adapters.attach import activate, adapter_parameters, attach, base_alone, detach
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.score import token_logprobs
from openbook.training.objectives.preference import LikedOrNot, PreferredAnswers, answer_logprobs, reference_logprobs
from openbook.training.objectives.preference_names import DEFAULTS, WITH_REFERENCE, Knobs, PairLoss
from openbook.training.parallel import Ranks
from openbook.training.reference import known_logprobs
from openbook.training.sources.answers import Answer, Answers, LikedAnswers, PreferredPairs
from small_runs import SHAPE

LOSSES: list[PairLoss] = ["sigmoid", "hinge", "ipo", "cdpo", "simpo", "orpo", "cpo"]
PAIRS = 5


def model_of(seed: int = 0) -> Family:
    raw = {"model_type": "llama", "vocab_size": 40, "max_position_embeddings": 64} | SHAPE
    return new_model(raw, seed=seed).requires_grad_(True).eval()


def answers(count: int, seed: int = 0) -> list[Answer]:
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        prompt, length = int(draw.integers(1, 6)), int(draw.integers(1, 9))
        ids = draw.integers(0, 40, prompt + length)
        found.append((ids, np.arange(prompt + length) >= prompt))
    return found


def pairs_of(places: Sequence[int], reference: Tensor | None) -> PreferredPairs:
    """Of pair p the answers p and PAIRS + p."""
    both = [*places, *(PAIRS + one for one in places)]
    known = answers(2 * PAIRS)
    own = None if reference is None else reference[both]
    return replace(PreferredPairs.of([known[one] for one in both]), reference=own)


def liked_of(places: Sequence[int], reference: Tensor, strange: Tensor) -> LikedAnswers:
    known, strangers = answers(2 * PAIRS), answers(2 * PAIRS, seed=9)
    return replace(
        LikedAnswers.of([known[one] for one in places]),
        is_good=torch.tensor([one % 3 == 0 for one in places]),
        strangers=Answers.of([strangers[one] for one in places]),
        reference=reference[list(places)],
        stranger_reference=strange[list(places)],
    )


def gradients(model: Family, objective: Any, micros: Sequence[Any]) -> tuple[float, list[Tensor], dict[str, float]]:
    """Of a step of these micro-batches, as the loop takes it."""
    model.zero_grad()
    if hasattr(objective, "prepare"):
        micros = objective.prepare(model, micros, Ranks())
    weight, total, sums = sum(map(objective.weight, micros)), 0.0, dict[str, list[float]]()
    for micro in micros:
        found = objective.loss(model, micro)
        (found.total / weight).backward()
        total += float(found.total.detach())
        for name, pair in found.metrics.items():
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), pair, strict=True)]
    grads = [one.grad.clone() for one in model.parameters() if one.grad is not None]
    return total / weight, grads, {name: a / b for name, (a, b) in sums.items() if b}


def assert_same(first: Any, second: Any) -> None:
    assert second[0] == pytest.approx(first[0], abs=1e-5)
    for one, other in zip(first[1], second[1], strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    assert second[2] == pytest.approx(first[2], abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_of_pairs_is_the_same_for_every_split(loss: PairLoss) -> None:
    model, reference = model_of(), torch.linspace(-9, -5, 2 * PAIRS)
    objective = PreferredAnswers(loss, Knobs(**DEFAULTS[loss]))
    splits = [[[0, 1, 2, 3, 4]], [[0], [1], [2], [3], [4]], [[3, 0], [4, 2, 1]]]
    first, *others = (gradients(model, objective, [pairs_of(one, reference) for one in split]) for split in splits)
    for other in others:
        assert_same(first, other)


def test_a_step_of_single_answers_is_the_same_for_every_split() -> None:
    """The divergence is that of the whole step: means of parts would be another loss."""
    model = model_of()
    with torch.no_grad():
        own, strange = (answer_logprobs(model, Answers.of(answers(2 * PAIRS, seed))) for seed in (0, 9))
    reference, others = own - 0.5, strange - torch.linspace(-1.0, 3.0, 2 * PAIRS)
    objective = LikedOrNot(Knobs(beta=0.5, desirable=1.5))
    splits = [[list(range(10))], [[one] for one in range(10)], [[9, 0, 5], [1, 2, 3, 4, 6, 7, 8]]]
    first, *rest = (
        gradients(model, objective, [liked_of(one, reference, others) for one in split]) for split in splits
    )
    assert first[2]["divergence"] == pytest.approx(1.0, abs=1e-4)
    for other in rest:
        assert_same(first, other)


def test_a_negative_divergence_counts_as_none() -> None:
    model = model_of()
    with torch.no_grad():
        own, strange = (answer_logprobs(model, Answers.of(answers(2 * PAIRS, seed))) for seed in (0, 9))
    found = gradients(model, LikedOrNot(Knobs(beta=0.5)), [liked_of([0, 1], own, strange + 2)])
    assert found[2]["divergence"] == 0.0
    assert found[0] == pytest.approx(0.5, abs=1e-6)


@torch.no_grad()
def test_log_probabilities_are_those_of_scoring() -> None:
    model, known = model_of(), answers(7)
    found = answer_logprobs(model, Answers.of(known))
    for one, (ids, learned) in zip(found, known, strict=True):
        each = token_logprobs(model, torch.from_numpy(ids), Batch.of([len(ids)]))
        assert float(one) == pytest.approx(float(each[torch.from_numpy(learned)].sum()), abs=1e-4)


def test_counts_are_the_tokens_of_answers() -> None:
    known = answers(7)
    made = Answers.of(known)
    assert made.counts.tolist() == [learned.sum() for _, learned in known]
    for place, (ids, learned) in enumerate(known):
        assert made.shown_at(place) == (ids.tolist(), learned.tolist())


def lora_of(model: Family) -> Family:
    attach(model, LoraSettings(r=4))
    for parameter in adapter_parameters(model, "default"):
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("loss", sorted(WITH_REFERENCE - {"kto"}))
def test_the_adapter_turned_off_is_the_reference_that_was_computed_before(loss: PairLoss, tmp_path: Path) -> None:
    model, known = model_of(), answers(2 * PAIRS)
    before = torch.from_numpy(known_logprobs(model, known, tmp_path, Ranks()))
    lora_of(model)
    objective = PreferredAnswers(loss, Knobs(**DEFAULTS[loss]))
    beside, computed = (gradients(model, objective, [pairs_of(range(PAIRS), one)]) for one in (None, before))
    assert abs(beside[2]["reward_chosen"]) + abs(beside[2]["reward_rejected"]) > 1e-3
    assert_same(computed, beside)


def test_the_adapter_is_on_again_behind_the_reference() -> None:
    model = lora_of(model_of())
    made = Answers.of(answers(4))
    with torch.no_grad():
        on = answer_logprobs(model, made)
        off = reference_logprobs(model, made)
        assert not torch.equal(on, off) and torch.equal(answer_logprobs(model, made), on)
        with pytest.raises(RuntimeError, match="stop"), base_alone(model):
            raise RuntimeError("stop")
        assert torch.equal(answer_logprobs(model, made), on)
        activate(model, None)
        with base_alone(model):
            pass
        assert torch.equal(answer_logprobs(model, made), off)
        detach(model, "default")
        with base_alone(model):
            assert torch.equal(answer_logprobs(model, made), off)


def test_dropout_is_off_in_the_reference() -> None:
    model = model_of()
    attach(model, LoraSettings(r=4, dropout=0.9))
    made = Answers.of(answers(4))
    model.train()
    first, second = (reference_logprobs(model, made) for _ in range(2))
    assert torch.equal(first, second) and model.training


def test_known_log_probabilities_are_read_where_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, known = model_of(), answers(6)
    first = known_logprobs(model, known, tmp_path, Ranks())
    with torch.no_grad():
        np.testing.assert_allclose(first, answer_logprobs(model, Answers.of(known)).numpy(), atol=1e-4)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr("openbook.training.reference.reference_logprobs", None)
    assert np.array_equal(known_logprobs(model, known, tmp_path, Ranks()), first)
    for other in (model_of(seed=1), model):
        with pytest.raises(TypeError):  # it is computed, which is turned off here
            known_logprobs(other, known[:5] if other is model else known, tmp_path, Ranks())
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:50])
    assert np.array_equal(known_logprobs(model, known, tmp_path, Ranks()), first)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_one_weight_that_changed_is_another_reference(tmp_path: Path) -> None:
    """By a little, its sign kept."""
    model, known = model_of(), answers(2)
    known_logprobs(model, known, tmp_path, Ranks())
    with torch.no_grad():
        model.get_parameter("layers.1.mlp.down.weight")[3, 3] *= 1.0001
    known_logprobs(model, known, tmp_path, Ranks())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadData, match="could not be written"):
        known_logprobs(model_of(), answers(2), tmp_path / "file", Ranks())


class _Together:
    """Ranks as threads: what each says is known to all when all have said it."""

    def __init__(self, count: int) -> None:
        self._barrier, self._said = Barrier(count, timeout=60), [None] * count

    def exchanged(self, rank: int, value: Any) -> list[Any]:
        self._said[rank] = value
        self._barrier.wait()
        found = list(self._said)
        self._barrier.wait()
        return found


class _Thread(Ranks):
    def __init__(self, rank: int, count: int, together: _Together) -> None:
        super().__init__(rank, count)
        self._together = together

    def wait(self) -> None:
        self._together.exchanged(self.rank, None)

    def any(self, flag: bool) -> bool:
        return any(self._together.exchanged(self.rank, flag))

    def max(self, value: float) -> float:
        return max(self._together.exchanged(self.rank, value))

    def sum(self, values: Sequence[float]) -> list[float]:
        return [math.fsum(one) for one in zip(*self._together.exchanged(self.rank, values), strict=True)]


@pytest.mark.parametrize("seen", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_ranks_that_do_not_see_the_same_files_compute_together(tmp_path: Path, seen: tuple[int, ...]) -> None:
    """Disks of their own: one that read while others compute would never meet them again."""
    model, known, together = model_of(), answers(5), _Together(3)
    first = known_logprobs(model, known, tmp_path / "first", Ranks())
    (path,) = (tmp_path / "first").iterdir()
    for rank in range(3):
        folder = tmp_path / str(rank)
        folder.mkdir()
        if rank in seen:
            (folder / path.name).write_bytes(path.read_bytes())
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(known_logprobs, model, known, tmp_path / str(rank), _Thread(rank, 3, together))
            for rank in range(3)
        ]
        for job in jobs:
            np.testing.assert_allclose(job.result(timeout=120), first, atol=1e-5)
