"""InfoNCE: what a guess costs, the formula by hand, and passages that are no negatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from openbook.training.objectives.info_nce import InfoNce, Keys, false_negatives

QUERIES = ["where", "when", "who", "where"]
POSITIVES = ["rome", "may", "nero", "italy"]
NEGATIVES = ["paris", "nero", "june"]
KEYS = Keys.of(QUERIES, POSITIVES, NEGATIVES)


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_a_guess_costs_ln_of_the_passages() -> None:
    keys = Keys.of(["a", "b", "c"], ["d", "e", "f"], ["g", "h"])
    totals, _ = InfoNce()(torch.ones(3, 6), torch.ones(5, 6), keys)
    assert totals.tolist() == pytest.approx([math.log(5)] * 3)
    totals, _ = InfoNce(is_symmetric=True)(torch.ones(3, 6), torch.ones(5, 6), keys)
    assert totals.tolist() == pytest.approx([(math.log(5) + math.log(3)) / 2] * 3)


def test_answers_of_others_are_no_negatives() -> None:
    """The fourth query is the first again, so that each one's positive is one of the other; "nero" is a negative of some."""
    own, left_out = false_negatives(KEYS)
    assert own.tolist() == [0, 1, 2, 3]
    assert [row.nonzero()[:, 0].tolist() for row in left_out] == [[3], [], [5], [0]]


@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("dims", [(), (2, 4)])
def test_it_is_the_formula(is_symmetric: bool, dims: tuple[int, ...]) -> None:
    queries, passages = vectors(4), vectors(7, 1)
    _, left_out = false_negatives(KEYS)
    expected = [0.0] * 4
    for size in (*dims, 6):
        q, p = F.normalize(queries[:, :size], dim=1), F.normalize(passages[:, :size], dim=1)
        shares = ((q @ p.T) / 0.1).exp() * ~left_out
        for row in range(4):
            one = -math.log(shares[row, row] / shares[row].sum())
            back = -math.log(shares[row, row] / shares[:, row].sum())
            expected[row] += ((one + back) / 2 if is_symmetric else one) / (len(dims) + 1)
    totals, right = InfoNce(0.1, is_symmetric, dims)(queries, passages, KEYS)
    assert totals.tolist() == pytest.approx(expected, rel=1e-5)
    nearest = (F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T).masked_fill(left_out, -9).argmax(dim=1)
    assert right.tolist() == (nearest == torch.arange(4)).tolist()


def test_the_layout_of_parts_changes_nothing() -> None:
    """Two parts, each with its positives before its negatives."""
    whole, _ = InfoNce()(vectors(4), vectors(7, 1), KEYS)
    parts = Keys.joined(
        [Keys.of(QUERIES[:3], POSITIVES[:3], NEGATIVES[:1]), Keys.of(QUERIES[3:], POSITIVES[3:], NEGATIVES[1:])]
    )
    moved = vectors(7, 1)[[0, 1, 2, 4, 3, 5, 6]]
    found, _ = InfoNce()(vectors(4), moved, parts)
    assert found.tolist() == pytest.approx(whole.tolist())


def test_lengths_that_the_vectors_do_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.\.6"):
        InfoNce(dims=(7,))(vectors(4), vectors(7), KEYS)
