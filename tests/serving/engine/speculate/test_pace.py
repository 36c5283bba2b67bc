"""Proposals are made while they pay, and tried again after a rest."""

from __future__ import annotations

from openbook.serving.engine.speculate.pace import LEAST, LONGEST_REST, REST, Pace


def asked(pace: Pace, running: int, accepted: int, steps: int) -> int:
    """How often it pays when `accepted` of four proposals are right every time."""
    paid = 0
    for _ in range(steps):
        if pace.pays(running):
            paid += 1
            pace.note(4, accepted)
    return paid


def test_what_pays_alone_does_not_pay_in_company() -> None:
    assert asked(Pace(), 1, 1, 100) == 100
    assert asked(Pace(), 16, 1, 40) == LEAST // 4
    assert asked(Pace(), 16, 4, 100) == 100
    assert asked(Pace(), 1, 0, 40) == LEAST // 4


def test_it_tries_again_after_a_rest() -> None:
    pace = Pace()
    tries = LEAST // 4
    assert asked(pace, 1, 0, tries + 1 + REST) == tries
    assert asked(pace, 1, 4, 50) == 50


def test_only_the_last_proposals_count() -> None:
    pace = Pace()
    asked(pace, 1, 4, 1_000)
    assert asked(pace, 1, 0, 20) < 16


def test_each_rest_in_vain_is_twice_as_long_as_the_last() -> None:
    pace = Pace()
    tries, rests, rest = LEAST // 4, [], 0
    for _ in range(4_000):
        if pace.pays(1):
            pace.note(4, 0)
            if rest:
                rests.append(rest)
            rest = 0
        else:
            rest += 1
    assert rests[:4] == [REST + 1, 2 * REST + 1, 4 * REST + 1, 8 * REST + 1]
    assert max(rests) <= LONGEST_REST + 1
    assert asked(pace, 1, 4, LONGEST_REST + 50) >= 50 - tries
    assert asked(pace, 1, 0, 3 * REST) >= tries, "what paid in between is not held against it"


def test_a_proposer_that_costs_must_be_right_more_often() -> None:
    assert asked(Pace(0.0), 1, 1, 100) == 100
    assert asked(Pace(0.3), 1, 1, 40) == LEAST // 4
    assert asked(Pace(0.3), 1, 2, 100) == 100
    assert asked(Pace(0.9), 1, 4, 100) == 0, "it could never pay"
