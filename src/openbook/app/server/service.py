"""What every route needs: the engine, the tokenizer, who may ask, who is inside, what is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from openbook.app.server.admission import Admission
from openbook.app.server.errors import Refused
from openbook.app.server.keys import Caller, Keys
from openbook.app.server.library import LibraryAnswers
from openbook.app.server.metrics import Metrics
from openbook.app.server.settings import ServerSettings
from openbook.app.server.texts import Texts
from openbook.app.server.watching import Watching
from openbook.core.errors import ModelUnavailable, OpenbookError
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.link.client import EngineClient

if TYPE_CHECKING:
    from openbook.app.server.answers import Answers


class Service:
    """Of one server, at `url`. Routes run on one event loop; what takes long (rendering, tokenizing) runs on `threads`."""

    def __init__(
        self, settings: ServerSettings, engine: EngineClient, tokenizer: Tokenizer, keys: Keys, url: str
    ) -> None:
        self.settings, self.engine, self.tokenizer, self.keys = settings, engine, tokenizer, keys
        self.admission = Admission(settings.engine.max_num_seqs, settings.max_queue)
        self.metrics = Metrics(settings.name)
        self.threads = ThreadPoolExecutor(2, "openbook-text")
        self.texts = Texts(settings)
        self.library = LibraryAnswers(settings, url) if settings.library is not None else None
        self.watching = Watching(settings) if settings.library is not None and settings.watched else None
        self.is_draining = False
        self.created = int(time.time())
        self.under_way: set[Answers] = set()

    @property
    def is_ready(self) -> bool:
        return self.engine.is_ready and not self.is_draining

    def tokens_room(self, adapter: str | None = None) -> int:
        """The most tokens of prompt and answer: the context, or the whole cache where that is smaller. Virtual tokens of adapters
        take their part of both.
        """
        facts, virtual = self.engine.facts, self.engine.adapters
        size = facts.block_size
        own = virtual.get(adapter, 0) if adapter is not None else 0
        free = facts.num_blocks - sum(-(-count // size) for count in virtual.values()) + own // size
        return min(facts.max_seq_len, free * size) - own

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """Who asks. Refuses those without a key, and everybody while the model is loaded, ends, or is gone."""
        caller = self.keys.caller(headers.get("authorization"))
        if self.is_draining:
            raise Refused(
                503, "the server is shutting down: ask again later", code="shutting_down", headers={"Retry-After": "30"}
            )
        if self.engine.fault is not None:
            raise Refused(503, str(self.engine.fault), code="engine_ended")
        if not self.engine.is_ready:
            raise Refused(
                503,
                "the model is still being loaded: ask again when /ready says 200",
                code="loading",
                headers={"Retry-After": "5"},
            )
        return caller

    def adapter_of(self, name: str | None) -> str | None:
        """The adapter that a model's name stands for, None for the base, which is also meant where nothing is said. 404 for a
        model that is not served.
        """
        if name is None or name == self.settings.name:
            return None
        if name not in self.engine.adapters:
            served = ", ".join(repr(one) for one in (self.settings.name, *self.engine.adapters))
            raise Refused(
                404, f"the model {name!r} is not served here: use {served}", param="model", code="model_not_found"
            )
        return name

    async def drain(self) -> None:
        """Takes nothing more; waits for what is under way, up to the limit, then ends it with an error."""
        self.is_draining = True
        try:
            async with asyncio.timeout(self.settings.drain_s):
                while self.under_way:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.end_all(ModelUnavailable("the server is shutting down", "ask again later"))

    def end_all(self, error: OpenbookError) -> None:
        for answers in list(self.under_way):
            answers.fail(error)

    async def close(self) -> int:
        """The exit code of the engine process."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        await self.texts.close()
        if self.watching is not None:
            await asyncio.to_thread(self.watching.close)
        if self.library is not None:
            await self.library.close()
        return await self.engine.close()
