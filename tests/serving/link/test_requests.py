"""What the engine process says when its engine stops by itself: every request is told, and the process may end."""

from __future__ import annotations

import socket
import threading

import pytest

from lm.checkpoints import TINY
from openbook.core.messages import SamplingParams
from openbook.core.sandbox.frames import receive
from openbook.lm.load import new_model
from openbook.serving.engine.core import EngineCore
from openbook.serving.engine.loop import EngineLoop
from openbook.serving.link.outbox import Outbox
from openbook.serving.link.requests import Requests
from openbook.serving.link.wire import pack_params


def test_an_engine_that_stops_tells_every_request_and_closes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = socket.socketpair()
    with theirs, ours, ours.makefile("rb") as frames, theirs.makefile("rb") as commands:
        outbox = Outbox(theirs)
        loop = EngineLoop(EngineCore(new_model(TINY)), outbox.flush)
        outbox.loop = loop
        begun = threading.Event()

        def broken() -> list[object]:
            begun.wait(10)
            raise RuntimeError("the processor caught fire")

        monkeypatch.setattr(loop.engine, "step", broken)
        requests = Requests(loop, outbox)
        for number in (4, 7):
            requests.take(["submit", number, [1, 2, 3], pack_params(SamplingParams(max_tokens=5)), b"", None])
        begun.set()
        told: dict[int, str] = {}
        while len(told) < 2:
            _, _, errors, _ = receive(frames)
            told |= {number: error[1] for number, error in errors}
        assert set(told) == {4, 7} and all("caught fire" in text for text in told.values())
        assert receive(commands) is None  # the main thread of the process reads the end, and ends
        assert not loop.is_alive
        requests.take(["submit", 9, [1], {}, b"", None])
        assert receive(frames)[2][0][0] == 9
        loop.close()


def test_a_request_that_was_answered_or_cancelled_is_forgotten() -> None:
    theirs, ours = socket.socketpair()
    with theirs, ours, ours.makefile("rb") as frames:
        outbox = Outbox(theirs)
        with EngineLoop(EngineCore(new_model(TINY)), outbox.flush) as loop:
            outbox.loop = loop
            requests = Requests(loop, outbox)
            for number in range(20):
                requests.take(["submit", number, [1, 2, 3], pack_params(SamplingParams(max_tokens=1)), b"", None])
                if number % 3 == 0:
                    requests.take(["cancel", number])
            requests.take(["submit", 99, [5], pack_params(SamplingParams(max_tokens=2, ignore_eos=True)), b"", None])
            done = False
            while not done:
                _, events, _, _ = receive(frames)
                done = any(event[0] == 99 and event[4] for event in events)
            requests.take(["cancel", 99])
            assert not requests._tickets and not requests._ended_early
