"""A process that answers calls: one that dies fails its own calls and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.serving.link import worker
from openbook.serving.link.worker import Worker


@pytest.fixture(autouse=True)
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process finds its module beside this file."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_it_begins_again_when_it_died() -> None:
    async def scene() -> None:
        one = Worker("dying_process", None)
        try:
            assert await asyncio.gather(*(one.call(k) for k in range(5))) == list(range(5))
            with pytest.raises(ModelUnavailable, match="ended with code 3"):
                await one.call("die")
            assert await one.call("again") == "again"
        finally:
            await one.close()

    asyncio.run(scene())


def test_a_death_is_not_told_to_the_calls_of_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        one = Worker("dying_process", None)
        later: list[asyncio.Task[Any]] = []

        async def wait_for_code(wait: Callable[[], int]) -> int:
            later.append(asyncio.create_task(one.call("for the next")))
            while one.num_waiting < 2:
                await asyncio.sleep(0)
            return wait()

        monkeypatch.setattr(worker.asyncio, "to_thread", wait_for_code)
        try:
            with pytest.raises(ModelUnavailable):
                await one.call("die")
            assert await later[0] == "for the next"
        finally:
            await one.close()

    asyncio.run(scene())
