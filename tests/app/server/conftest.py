"""One model and one server for all tests that do not end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from app.server.serving import Server, serving, write_checkpoint


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "tiny"
    write_checkpoint(directory)
    return directory


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(model, tmp_path_factory.mktemp("home"), "--max-num-seqs", 8) as one:
        yield one


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return server.client()
