"""The fitted numbers: evaluated as written, in step with the code, and thresholds that follow what the user allows."""

from __future__ import annotations

import numpy as np
import pytest

from openbook.assistant.answer.confidence import SUMMARY_COLUMNS, threshold
from openbook.assistant.answer.features import COLUMNS
from openbook.assistant.answer.scorer import Network, fitted
from openbook.core.errors import OpenbookError, UsageError

FITS = ("en-tokens", "en-vectors", "en-words", "zh-words")


def test_a_network_is_the_formula_of_its_docstring():
    row = {
        "columns": ["a", "b"],
        "mean": [1.0, 0.0],
        "scale": [2.0, 1.0],
        "direct": [0.5, 0.0],
        "hidden": [[1.0, 1.0], [-1.0, 0.0]],
        "bias": [0.0, 1.0],
        "out": [2.0, 3.0],
        "offset": 0.25,
    }
    # x = (3, 4) is (1, 4) when scaled; hidden (5, 0); 2 * 5 + 0.5 * 1 + 0.25
    assert Network.from_json(row, ("a", "b"))(np.array([[3.0, 4.0]])) == pytest.approx([10.75])


def test_numbers_for_other_columns_are_refused():
    row = fitted()["en-tokens"]["sentences"]
    with pytest.raises(OpenbookError, match="other columns"):
        Network.from_json(row, COLUMNS[1:])


@pytest.mark.parametrize("fit", FITS)
def test_every_fit_is_in_step_with_the_code(fit):
    Network.from_json(fitted()[fit]["sentences"], COLUMNS)
    Network.from_json(fitted()[fit]["confidence"], SUMMARY_COLUMNS)
    shares = fitted()[fit]["max_wrong"]["share"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("fit", FITS)
def test_the_less_may_be_wrong_the_higher_the_bar(fit):
    points = [threshold(fit, share) for share in (0.0, 0.01, 0.05, 0.1, 0.3, 1.0)]
    assert points == sorted(points, reverse=True)
    assert points[-1] == 0.0
    assert 0 < points[2] < 1


def test_a_share_out_of_range_is_named():
    with pytest.raises(UsageError, match=r"max_wrong 1\.5"):
        threshold("en-tokens", 1.5)


def test_the_weights_name_their_sources():
    assert all(name in fitted()["attribution"] for name in ("SQuAD", "CMRC2018", "DRCD", "CC BY-SA"))
