from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openbook.assistant.desk import Library
from openbook.core.errors import ModelUnavailable, OpenbookError, UsageError
from openbook.library.embed.open import describe_embedder, open_embedder
from openbook.library.embed.remote import RemoteEmbedder, describe_url


class Stub(ThreadingHTTPServer):
    """An embeddings endpoint: answers what `script` says first, then (length of the text, 1, 0)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, bytes]] = []
        self.seen: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        status, content = self.server.script.pop(0) if self.server.script else (200, b"")
        if not content:
            rows = [{"index": i, "embedding": [len(text), 1, 0]} for i, text in enumerate(body["input"])]
            content = json.dumps({"data": rows[::-1]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def embedder(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteEmbedder]:
    monkeypatch.delenv("OPENBOOK_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    remote = RemoteEmbedder(describe_url(f"{stub.url}#small"), pause_s=0)
    yield remote
    remote.close()


def test_batches_order_and_length(stub: Stub, embedder: RemoteEmbedder) -> None:
    texts = ["x" * n for n in range(1, 151)]
    vectors = embedder.embed(texts, "passage")
    assert vectors.shape == (150, 3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[:, 0] / vectors[:, 1], range(1, 151), rtol=1e-5)
    assert [len(body["input"]) for _, _, body in stub.seen] == [64, 64, 22]
    assert stub.seen[0][0] == "/v1/embeddings"
    assert stub.seen[0][2]["model"] == "small"
    assert embedder.dimension == 3


def test_our_key_comes_before_the_general_one(
    stub: Stub, embedder: RemoteEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder.embed(["a"], "query")
    monkeypatch.setenv("OPENBOOK_API_KEY", "first")
    embedder.close()
    embedder.embed(["a"], "query")
    assert [key for _, key, _ in stub.seen] == ["Bearer second", "Bearer first"]


def test_a_busy_server_is_asked_again(stub: Stub, embedder: RemoteEmbedder) -> None:
    stub.script = [(429, b"busy"), (503, b"starting")]
    assert embedder.embed(["abc"], "query").shape == (1, 3)
    stub.script = [(500, b"boom")] * 4
    with pytest.raises(ModelUnavailable, match="answered 500: boom, 4 times"):
        embedder.embed(["abc"], "query")


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (401, b"no key", "OPENBOOK_API_KEY"),
        (404, b"no model", "model's name after #"),
        (200, b"<html>", "no JSON"),
        (200, b'{"error": 1}', "another shape"),
        (200, b'{"data": []}', "for 1 texts"),
        (200, b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}', "for 1 texts"),
    ],
)
def test_a_wrong_answer_is_named(
    stub: Stub, embedder: RemoteEmbedder, status: int, content: bytes, message: str
) -> None:
    stub.script = [(status, content)]
    with pytest.raises(ModelUnavailable, match=message):
        embedder.embed(["abc"], "query")
    assert len(stub.seen) == 1


def test_another_dimension_than_before_is_an_error(stub: Stub, embedder: RemoteEmbedder) -> None:
    embedder.embed(["abc"], "query")
    stub.script = [(200, b'{"data": [{"index": 0, "embedding": [1, 2]}]}')]
    with pytest.raises(ModelUnavailable, match="sent 2 numbers a text after 3"):
        embedder.embed(["abc"], "query")


def test_nobody_listens() -> None:
    embedder = RemoteEmbedder(describe_url("http://127.0.0.1:9/v1"), pause_s=0)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        embedder.embed(["abc"], "query")
    embedder.close()


def test_urls(stub: Stub) -> None:
    described = describe_embedder(f"{stub.url}/embeddings#m")
    assert described is not None
    assert (described.name, described.dimension) == ("m", None)
    assert described.hash == describe_url("https://elsewhere/v1#m").hash
    assert isinstance(open_embedder(stub.url), RemoteEmbedder)
    for wrong in ("http://", "http://user:secret@host/v1"):
        with pytest.raises(UsageError):
            describe_url(wrong)
    assert not stub.seen


def test_a_library_embedded_by_an_endpoint_has_vectors_and_searches_by_them(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    (tmp_path / "a.txt").write_text("A short line.")
    (tmp_path / "b.txt").write_text("A line that is a good deal longer than the other one.")
    with Library.open(tmp_path / "library", embedder=f"{stub.url}#small") as library:
        assert library.store.generation().dimension == 3
        library.add(tmp_path / "a.txt", tmp_path / "b.txt")
        assert library.check() == []
        assert len(library.search("line", mode="dense")) == 2
        assert library.search("line")[0].scores["dense"] is not None


def test_a_key_with_a_line_end_is_trimmed_and_one_that_cannot_be_sent_is_not_repeated(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBOOK_API_KEY", "secret-key\r\n")
    remote = RemoteEmbedder(describe_url(f"{stub.url}#small"), pause_s=0)
    assert remote.embed(["x"], "query").shape == (1, 3)
    remote.close()
    monkeypatch.setenv("OPENBOOK_API_KEY", "sécret-key")
    remote = RemoteEmbedder(describe_url(f"{stub.url}#small"), pause_s=0)
    with pytest.raises(OpenbookError) as raised:
        remote.embed(["x"], "query")
    assert "cret-key" not in str(raised.value)
    remote.close()
