"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openbook.serving.link.wire import EngineSettings


@dataclass(frozen=True)
class ServerSettings:
    """`engine`: what the engine process loads; `name`: what clients call the model. Times in seconds.

    `max_queue`: sequences that may wait beside the `max_num_seqs` that run. `write_timeout_s`: how long a client may take no
    byte of a stream before it is dropped; `read_timeout_s`: how long it may take to send a request. `embedder`: None for the
    default one. `allows_runtime_adapters`: whether anybody may load and unload adapters where there are no keys.
    `allows_weight_updates`: whether a trainer may bring new weights. `watched`: files and folders whose
    changes come into `library`.
    """

    engine: EngineSettings
    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys_file: Path | None = None
    max_queue: int = 256
    max_connections: int = 1_000
    drain_s: float = 30.0
    write_timeout_s: float = 30.0
    read_timeout_s: float = 30.0
    max_body_bytes: int = 8 << 20
    embedder: Path | None = None
    reranker: Path | None = None
    library: str | None = None
    watched: tuple[str, ...] = ()
    allows_runtime_adapters: bool = False
    allows_weight_updates: bool = False
