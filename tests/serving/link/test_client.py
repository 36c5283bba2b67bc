"""The engine in a process of its own: the same tokens, cancels, errors, and its death seen from the other side."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch

from lm.checkpoints import tiny
from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError
from openbook.core.messages import SamplingParams
from openbook.lm.adapters.attach import adapter_parameters, attach
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.load import load_model
from openbook.serving.engine.engine import Engine
from openbook.serving.engine.events import Chosen, Event
from openbook.serving.link.client import EngineClient
from openbook.serving.link.wire import (
    EngineSettings,
    pack_error,
    pack_event,
    pack_params,
    unpack_error,
    unpack_event,
    unpack_params,
)

LONG = SamplingParams(max_tokens=50, ignore_eos=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("link")
    tiny(directory)
    return directory


@pytest.fixture(autouse=True)
def few_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPENBOOK_THREADS", "1")
    yield


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[EngineClient]:
    client = await EngineClient.start(EngineSettings(str(directory), threads=1, max_num_seqs=4))
    try:
        await client.ready()
        yield client
    finally:
        await client.close()


class Answer:
    """Gathers what comes for one request."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Event | OpenbookError] = asyncio.Queue()
        self.deliver = self.said.put_nowait

    async def tokens(self) -> list[int]:
        found = []
        while True:
            event = await asyncio.wait_for(self.said.get(), 60)
            if isinstance(event, OpenbookError):
                raise event
            found.append(event.chosen.token)
            if event.finish_reason is not None:
                return found


def test_what_is_packed_comes_back() -> None:
    params = SamplingParams(
        temperature=0.5, stop=("a", "b"), seed=3, logit_bias=((1, -1.0), (2, 2.0)), stop_token_ids=(4,), logprobs=2
    )
    assert unpack_params(pack_params(params)) == params
    assert pack_params(SamplingParams()) == {}
    scores = (Chosen(8, -2.0, ((8, -2.0),)), Chosen(9, -3.0))
    event = Event(7, Chosen(5, -0.5, ((5, -0.5), (6, -1.0))), "length", False, 16, prompt=scores)
    assert unpack_event(pack_event(7, event)) == event
    error = unpack_error(pack_error(UsageError("too long", "shorten it")))
    assert isinstance(error, UsageError) and error.remedy == "shorten it"


def test_tokens_are_those_of_the_engine_in_this_process(checkpoint: Path) -> None:
    prompts = [[1, 2, 3], [4, 5], list(range(40)), [9]]
    with Engine.load(checkpoint) as engine:
        expected = [list(out.tokens) for out in engine.generate(prompts, LONG)]

    async def ask() -> list[list[int]]:
        async with running(checkpoint) as client:
            answers = [Answer() for _ in prompts]
            for prompt, answer in zip(prompts, answers, strict=True):
                client.submit(prompt, LONG, answer.deliver)
            return [await answer.tokens() for answer in answers]

    assert asyncio.run(ask()) == expected


def test_a_cancelled_request_is_silent_and_leaves_no_blocks(checkpoint: Path) -> None:
    async def ask() -> None:
        async with running(checkpoint) as client:
            first, second = Answer(), Answer()
            number = client.submit([1, 2, 3], LONG, first.deliver)
            await asyncio.wait_for(first.said.get(), 60)
            client.cancel(number)
            heard = first.said.qsize()
            client.submit([1, 2], LONG, second.deliver)
            await second.tokens()
            assert first.said.qsize() == heard
            while client.stats.blocks_in_use or client.stats.running:  # the frame behind the last token
                await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_what_the_engine_refuses_ends_that_request_alone(checkpoint: Path) -> None:
    async def ask() -> None:
        async with running(checkpoint) as client:
            bad, good = Answer(), Answer()
            client.submit(list(range(100)), LONG, bad.deliver)
            client.submit([1], LONG, good.deliver)
            with pytest.raises(UsageError, match=r"100 tokens, the limit is 64"):
                await bad.tokens()
            assert len(await good.tokens()) == 50

    asyncio.run(ask())


def test_a_prompt_is_scored(checkpoint: Path) -> None:
    async def ask() -> None:
        async with running(checkpoint) as client:
            scores = await client.score(list(range(40)), 2)
            assert [one.token for one in scores] == list(range(1, 40))
            assert all(one.logprob is not None and len(one.likeliest) == 2 for one in scores)
            assert await client.score([5], 1) == ()
            with pytest.raises(UsageError, match="100 tokens"):
                await client.score(list(range(100)), 1)

    asyncio.run(ask())


def test_a_killed_engine_ends_every_request_and_takes_no_more(checkpoint: Path) -> None:
    async def ask() -> int:
        async with running(checkpoint) as client:
            answer = Answer()
            client.submit([1, 2, 3], LONG, answer.deliver)
            os.kill(client.pid, signal.SIGKILL)
            with pytest.raises(ModelUnavailable, match="ended"):
                await answer.tokens()
            assert not client.is_alive
            with pytest.raises(ModelUnavailable, match="ended"):
                client.submit([1], LONG, answer.deliver)
            return await client.close()

    assert asyncio.run(ask()) == -signal.SIGKILL


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    async def ask() -> None:
        client = await EngineClient.start(EngineSettings(str(tmp_path)))
        try:
            with pytest.raises(ModelUnavailable, match=r"config\.json"):
                await client.ready()
            assert not client.is_alive
        finally:
            assert await client.close() == 1

    asyncio.run(ask())


def test_the_process_ends_when_its_socket_does(checkpoint: Path) -> None:
    async def ask() -> int:
        client = await EngineClient.start(EngineSettings(str(checkpoint), threads=1))
        await client.ready()
        answer = Answer()
        client.submit([1, 2, 3], LONG, answer.deliver)
        return await client.close()

    assert asyncio.run(ask()) == 0


def test_adapters_come_and_go(checkpoint: Path, tmp_path: Path) -> None:
    base = load_model(checkpoint)
    attach(base, LoraSettings(r=2, alpha=8.0), "one")
    with torch.no_grad():
        for parameter in adapter_parameters(base, "one"):
            parameter += 1.0
    save_adapter(base, "one", tmp_path / "one")

    async def tokens(client: EngineClient, adapter: str | None) -> list[int]:
        answer = Answer()
        client.submit([1, 2, 3], LONG, answer.deliver, adapter=adapter)
        return await answer.tokens()

    async def ask() -> None:
        client = await EngineClient.start(EngineSettings(str(checkpoint), threads=1, max_adapters=1))
        try:
            assert (await client.ready()).max_adapters == 1
            with pytest.raises(ModelUnavailable, match="not a directory"):
                await client.load_adapter("one", str(tmp_path / "two"))
            assert client.adapters == {}
            await client.load_adapter("one", str(tmp_path / "one"))
            assert client.adapters == {"one": 0}
            plain, changed = await asyncio.gather(tokens(client, None), tokens(client, "one"))
            assert plain != changed == await tokens(client, "one")
            os.kill(client.pid, signal.SIGSTOP)
            number = client.submit([1, 2, 3], LONG, Answer().deliver, adapter="one")
            early = asyncio.create_task(client.unload_adapter("one"))
            await asyncio.sleep(0)  # it has been asked for, before the request is cancelled
            client.cancel(number)
            os.kill(client.pid, signal.SIGCONT)
            with pytest.raises(UsageError, match="1 requests that use adapter 'one' are under way"):
                await early
            await client.unload_adapter("one")
            assert client.adapters == {}
            with pytest.raises(UsageError, match="no adapter 'one'"):
                await tokens(client, "one")
            os.kill(client.pid, signal.SIGSTOP)
            loading = asyncio.create_task(client.load_adapter("one", str(tmp_path / "one")))
            await asyncio.sleep(0)
            os.kill(client.pid, signal.SIGKILL)
            with pytest.raises(ModelUnavailable, match="ended"):
                await loading
        finally:
            await client.close()

    asyncio.run(ask())


def test_who_is_cancelled_as_the_answer_comes_ends_nobody_else(checkpoint: Path) -> None:
    async def scene() -> None:
        async with running(checkpoint) as client:
            asked = asyncio.create_task(client.score([1, 2, 3], 0))
            await asyncio.sleep(0)
            (number,) = client._deliver
            asked.cancel()
            client._take(["step", [pack_event(number, Event(number, Chosen(1), "length"))], [], None])
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert len(await client.score([1, 2, 3], 0)) == 2

    asyncio.run(scene())


def test_frames_that_cannot_be_read_end_every_request(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with running(checkpoint) as client:
            monkeypatch.setattr(client, "_take", lambda said: {}[said[0]])
            answer = Answer()
            client.submit([1, 2, 3], LONG, answer.deliver)
            said = await answer.said.get()
            assert isinstance(said, ModelUnavailable) and "not understood (KeyError)" in said.message
            assert not client.is_alive

    asyncio.run(scene())
    assert "cannot be read" in caplog.text
