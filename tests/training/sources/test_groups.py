"""Steps of groups: whole, the same for every split, and the same again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from openbook.training.data.groups import Group
from openbook.training.sources.groups import GroupSource, evaluated_groups
from small_groups import groups

ROWS = groups(11, 6)


def source(micro: int = 6, rank: int = 0, world: int = 1, negatives: int = 2) -> GroupSource[list[Group]]:
    named = {"negatives": negatives, "batch_size": 6, "micro_batch_size": micro, "seed": 3, "rank": rank}
    return GroupSource(ROWS, list, world_size=world, **named)


def flat(parts: Sequence[Sequence[Group]]) -> list[Group]:
    return [one for part in parts for one in part]


def test_the_split_changes_nothing() -> None:
    whole, parts = source(), source(2)
    for _ in range(5):
        expected, found = whole.next_step(), parts.next_step()
        assert [len(part) for part in found] == [2, 2, 2]
        assert flat(expected) == flat(found)


def test_ranks_share_a_step() -> None:
    whole, halves = source(), [source(rank=rank, world=2) for rank in range(2)]
    for _ in range(5):
        assert sorted(flat(whole.next_step())) == sorted(flat([*halves[0].next_step(), *halves[1].next_step()]))
    with pytest.raises(ValueError, match="no multiple"):
        source(world=4)


def test_an_epoch_has_each_group_once_with_other_negatives_than_the_next() -> None:
    seen = flat([part for one in [source()] for _ in range(11) for part in one.next_step()])  # 66 groups: six epochs
    for epoch in range(6):
        assert sorted(one.query for one in seen[11 * epoch : 11 * epoch + 11]) == sorted(one.query for one in ROWS)
    drawn = {one.negatives for one in seen if one.positive == ROWS[0].positive}
    assert len(drawn) > 2
    assert all(len(one) == 2 and set(one) <= set(ROWS[0].negatives) for one in drawn)


def test_it_goes_on_where_it_was() -> None:
    whole, second = source(), source()
    whole.next_step()
    second.resume(whole.state())
    for _ in range(4):
        assert whole.next_step() == second.next_step()


def test_a_group_with_few_negatives_brings_all() -> None:
    assert all(len(one.negatives) == 6 for one in flat(source(negatives=9).next_step()))


def test_strangers_are_of_other_documents() -> None:
    rows = [one._replace(title=f"title {number % 3}") for number, one in enumerate(ROWS)]
    title_of = {one.positive: one.title for one in rows}
    named = {"negatives": 2, "batch_size": 6, "micro_batch_size": 6, "seed": 3}
    one, again = (GroupSource(rows, list, strangers=2, **named) for _ in range(2))
    for _ in range(5):
        found = flat(one.next_step())
        assert found == flat(again.next_step())
        for group in found:
            own, strangers = group.negatives[:2], group.negatives[2:]
            assert len(strangers) == 2
            assert all(title_of[text] != group.title for text in strangers)
            assert len(own) == 2
    lonely = GroupSource([ROWS[0]] * 3, list, strangers=2, **named)
    assert all(len(group.negatives) == 2 for group in flat(lonely.next_step()))


def test_another_positive_of_the_same_query_is_no_stranger() -> None:
    named = {"negatives": 0, "batch_size": 2, "micro_batch_size": 2, "seed": 3}
    rows = [Group("when?", "in May"), Group("when?", "in spring"), Group("where?", "in Rome")]
    drawn = flat([part for _ in range(9) for part in GroupSource(rows, list, strangers=1, **named).next_step()])
    for _ in range(9):
        drawn += flat(GroupSource(rows, list, strangers=1, **{**named, "seed": len(drawn)}).next_step())
    assert {one.negatives for one in drawn if one.query == "when?"} == {("in Rome",)}


def test_what_is_held_out_is_always_the_same() -> None:
    shown = flat(list(evaluated_groups(ROWS, list, negatives=1, most=9)))
    assert [one.query for one in shown] == [one.query for one in ROWS[:9]]
    assert [one.negatives for one in shown] == [one.negatives[:1] for one in ROWS[:9]]


def test_what_is_held_out_has_strangers_too() -> None:
    first, second = (flat(list(evaluated_groups(ROWS, list, negatives=0, strangers=2, most=9))) for _ in range(2))
    assert first == second
    assert all(len(one.negatives) == 2 and one.positive not in one.negatives for one in first)
