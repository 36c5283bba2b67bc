"""The price of a divergence goes where it holds the target."""

from __future__ import annotations

import pytest

from openbook.training.kl_control import KlControl


def test_without_a_target_the_price_stays() -> None:
    control = KlControl(0.05)
    control.saw(100.0, 64)
    assert control.price == 0.05


@pytest.mark.parametrize(("divergence", "error"), [(6.0, 0.0), (6.6, 0.1), (60.0, 0.2), (3.0, -0.2), (5.4, -0.1)])
def test_with_one_it_rises_above_it_and_falls_below_it_by_a_fifth_at_most(divergence: float, error: float) -> None:
    control = KlControl(0.1, target=6.0, horizon=1_000)
    control.saw(divergence, 64)
    assert control.price == pytest.approx(0.1 * (1 + error * 64 / 1_000))
