"""The life of a server: the port first, then the model, requests, and on SIGTERM an end in order."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Awaitable, Callable

import uvicorn

from openbook.app.server.app import make_app
from openbook.app.server.connections import protocol
from openbook.app.server.keys import Keys, read_keys
from openbook.app.server.service import Service
from openbook.app.server.settings import ServerSettings
from openbook.core.errors import OpenbookError, UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.lm.tokenizers.vocabulary import check_vocabulary
from openbook.serving.link.client import EngineClient

_BACKLOG = 2_048
_OWN_FILES = 256
_SEND_BUFFER_BYTES = 128 << 10
"""Of a connection: left to itself the kernel keeps megabytes for each client that does not read."""
_LAST_WORDS_S = 5.0
"""After the time to drain, for the error events that end streams to be read."""

Ready = Callable[[Service, str], None]


def serve(settings: ServerSettings, on_phase: Callable[[str], None], on_ready: Ready) -> int:
    """Serves until SIGTERM or Ctrl-C; the exit code: 1 when the engine ended by itself, 0 otherwise.

    `on_ready` is told the address. Raises UsageError for a port that is taken and a file of keys that cannot be read, and
    what `Engine.load` raises.
    """
    _allow_files(settings.max_connections + _OWN_FILES)
    keys = read_keys(settings.keys_file) if settings.keys_file else Keys()
    with _bound(settings.host, settings.port) as listener:
        return asyncio.run(_serve(settings, keys, listener, on_phase, on_ready))


async def _serve(
    settings: ServerSettings, keys: Keys, listener: socket.socket, on_phase: Callable[[str], None], on_ready: Ready
) -> int:
    engine = await EngineClient.start(settings.engine, on_phase)
    try:
        tokenizer = await asyncio.to_thread(Tokenizer.load, settings.engine.directory)
        service = Service(settings, engine, tokenizer, keys, _address(listener))
    except BaseException:
        await engine.close()
        raise
    server = _Server(_config(service), service.drain)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    serving = asyncio.create_task(server.serve([listener]))
    loading = asyncio.create_task(engine.ready())
    error: OpenbookError | None = None
    try:
        await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            try:
                facts = await loading
                check_vocabulary(tokenizer, facts.vocab_size)
                on_ready(service, _address(listener))
            except OpenbookError as refused:
                error = refused
                server.should_exit = True
        await serving
    finally:
        loading.cancel()
        server.should_exit = True
        await service.close()
    if error is not None:
        raise error
    return 1 if engine.fault is not None else 0


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    return uvicorn.Config(
        make_app(service),
        http=protocol(settings.max_connections, settings.read_timeout_s),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.drain_s + _LAST_WORDS_S),
        backlog=_BACKLOG,
    )


class _Server(uvicorn.Server):
    """uvicorn's, which ends with exit code 0 on a signal, and drains first."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.ensure_future(self._drain())
        try:
            await super().shutdown(sockets)
        finally:
            draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await draining

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """The signals are handled until the engine has ended too, not only while requests are served."""
        return contextlib.nullcontext()


def _allow_files(count: int) -> None:
    """Raises the limit of open files, as far as the system lets us, so that connections are refused by our own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket. UsageError for an address that is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # connections inherit it
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"{host}:{port} cannot be used ({error})", "give another --port or --host") from None
    return listener


def _address(listener: socket.socket) -> str:
    """One that this machine can reach; a server that listens on all addresses is also on the loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
