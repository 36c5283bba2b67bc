"""The engine on its thread: whatever ends, is cancelled or breaks, nobody waits for ever."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lm.checkpoints import TINY
from openbook.core.errors import ModelUnavailable
from openbook.core.messages import SamplingParams
from openbook.lm.load import new_model
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.loop import EngineLoop, Ticket

MODEL = new_model(TINY, seed=3).requires_grad_(False)
LONG = SamplingParams(max_tokens=50, ignore_eos=True)


def tokens_of(ticket: Ticket) -> list[int]:
    """What the ticket gives; fails where its reader would wait for ever."""
    found: list[Any] = []

    def read() -> None:
        try:
            found.append([event.chosen.token for event in ticket])
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the reader of a ticket waits for ever"
    if isinstance(found[0], Exception):
        raise found[0]
    return list(found[0])


def loop() -> EngineLoop:
    return EngineLoop(EngineCore(MODEL, num_blocks=64, block_size=4))


def test_the_reader_of_a_cancelled_request_does_not_wait_for_ever() -> None:
    with loop() as one:
        ticket = one.submit([1, 2, 3], LONG)
        ticket.cancel()
        ticket.cancel()
        assert len(tokens_of(ticket)) < 50
        assert len(tokens_of(one.submit([1, 2, 3], LONG))) == 50


def test_a_ticket_is_read_once() -> None:
    with loop() as one:
        ticket = one.submit([1, 2, 3], LONG)
        assert len(tokens_of(ticket)) == 50
        ticket.cancel()
        assert tokens_of(ticket) == []


def test_a_request_handed_in_while_the_engine_closes_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    one = loop()
    monkeypatch.setattr(one.engine, "check", lambda *_: one.close())
    with pytest.raises(ModelUnavailable, match="is closed"):
        tokens_of(one.submit([1, 2, 3], LONG))


def test_a_fault_in_a_step_reaches_everybody_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise RuntimeError("no memory")

    with loop() as one:
        monkeypatch.setattr(one.engine, "step", fault)
        ticket = one.submit([1, 2, 3], LONG)
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match="no memory"):
                tokens_of(ticket)
        with pytest.raises(ModelUnavailable, match="no memory"):
            one.submit([1], LONG)
        ticket.cancel()


def test_nothing_is_kept_of_requests_that_are_done() -> None:
    with loop() as one:
        for number in range(300):
            ticket = one.submit([number, 2, 3], SamplingParams(max_tokens=1 + number % 3, ignore_eos=True))
            if number % 5 == 0:
                ticket.cancel()
            tokens_of(ticket)
        tokens_of(one.submit([1], SamplingParams(max_tokens=1)))
        assert not one._tickets
        assert not one._numbers
        assert not one.engine._sequences
        assert one.engine.blocks.num_in_use == 0
