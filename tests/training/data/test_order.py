"""Every sample once an epoch, in an order that the seed tells, from any place on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbook.training.data.order import Order


@given(
    count=st.integers(1, 30), seed=st.integers(0, 2**63), takes=st.lists(st.integers(1, 12), min_size=1, max_size=20)
)
def test_each_epoch_has_all_and_goes_on_from_anywhere(count: int, seed: int, takes: list[int]) -> None:
    order, walked = Order(count, seed), list[int]()
    for most in takes:
        place, taken = order.place, order.take(most)
        again = Order(count, seed)
        again.place = place
        assert again.take(most) == taken
        walked += taken
    for epoch in range(len(walked) // count):
        assert sorted(walked[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_differ() -> None:
    order = Order(50, 1)
    assert order.take(50) != order.take(50)
