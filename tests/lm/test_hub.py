"""Fetching a model from a hub that runs on the loopback: whole, again, interrupted, tampered with, forbidden, offline."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm import hub
from openbook.lm.hub import RECORD, pull
from openbook.lm.local import local_models, model_directory, remove
from openbook.lm.pace import LeastRate, Pace

WEIGHTS = bytes(range(256)) * 9_000
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "1_Pooling/config.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "onnx/model.safetensors": b"other",
    "README.md": b"# words",
    "../../escaped.json": b"{}",
}


class Hub(ThreadingHTTPServer):
    """A hub with one repository. `cut`: bytes after which the first answer for the weights breaks off.

    `listing` and `redirect` are what it says instead of the truth; `is_endless`: files have no end, `sent` counts their bytes.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.cut = 0
        self.status = 200
        self.files = dict(FILES)
        self.listing: bytes | None = None
        self.redirect = ""
        self.is_endless = False
        self.sent = 0

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error."""


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub = self.server
        hub.asked.append((self.path.partition("?")[0], self.headers.get("range", "")))
        hub.tokens.add(self.headers.get("authorization", ""))
        if hub.status != 200:
            self.answer(hub.status, b"no")
        elif hub.redirect and "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("location", hub.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
        elif hub.listing is not None and self.path.startswith("/api/"):
            self.answer(200, hub.listing)
        elif self.path.startswith("/api/models/acme/tiny/revision/"):
            self.answer(200, json.dumps({"sha": "c0ffee", "siblings": [self.said(name) for name in FILES]}).encode())
        elif self.path.startswith("/acme/tiny/resolve/c0ffee/"):
            self.send(self.path.removeprefix("/acme/tiny/resolve/c0ffee/"))
        else:
            self.answer(404, b"")

    def said(self, name: str) -> dict:
        content = FILES[name]
        large = {"lfs": {"sha256": hashlib.sha256(content).hexdigest()}} if name.endswith(".safetensors") else {}
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        return {"rfilename": name, "size": len(content), "blobId": blob} | large

    def send(self, name: str) -> None:
        if self.server.is_endless:
            self.send_response(200)
            self.end_headers()
            while True:
                self.server.sent += self.wfile.write(bytes(1 << 16))
        content = self.server.files[name]
        start = int((self.headers.get("range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        if name == "model.safetensors" and self.server.cut:
            end, self.server.cut = self.server.cut, 0
            self.wfile.write(content[start:end])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Hub() as one:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{one.server_port}")
        thread = threading.Thread(target=one.serve_forever, args=(0.05,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_a_model_is_fetched_checked_and_not_fetched_twice(server: Hub, tmp_path: Path) -> None:
    seen: list[int] = []
    directory = pull("acme/tiny", lambda stage, done, total, what: seen.append(done))
    assert directory == tmp_path / "home" / "models" / "acme" / "tiny"
    names = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert names == {"config.json", "model.safetensors", "1_Pooling/config.json", RECORD}
    assert (directory / "model.safetensors").read_bytes() == WEIGHTS
    assert seen == sorted(seen)
    assert json.loads((directory / RECORD).read_text())["commit"] == "c0ffee"
    count = len(server.asked)
    pull("acme/tiny")
    assert len(server.asked) == count + 1
    assert not list(tmp_path.rglob("escaped.json"))
    assert local_models() == [directory]
    assert model_directory("acme/tiny") == model_directory("tiny") == directory
    assert remove("acme/tiny") > len(WEIGHTS)
    assert local_models() == []


def test_a_broken_connection_is_taken_up_where_it_broke(server: Hub) -> None:
    server.cut = 1_500_000
    directory = pull("acme/tiny@v1")
    assert directory.name == "tiny@v1"
    assert (directory / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [said for path, said in server.asked if path.endswith("/c0ffee/model.safetensors")]
    assert ranges == ["", "bytes=1500000-"]


def test_what_is_not_what_was_announced_is_refused_and_not_kept(server: Hub) -> None:
    server.files["model.safetensors"] = WEIGHTS[:-1] + b"x"
    with pytest.raises(ModelUnavailable, match="not what the hub announced"):
        pull("acme/tiny")
    assert not list((model_directory("acme/tiny")).glob("model.safetensors*"))
    server.files["model.safetensors"] = WEIGHTS + b"more"
    with pytest.raises(ModelUnavailable, match="not what the hub announced"):
        pull("acme/tiny")


@pytest.mark.parametrize(
    ("status", "cause"), [(401, "does not give you acme/tiny"), (404, "has no revision 'main'"), (503, "answered 503")]
)
def test_refusals_are_told(server: Hub, status: int, cause: str) -> None:
    server.status = status
    with pytest.raises(ModelUnavailable, match=cause) as raised:
        pull("acme/tiny")
    assert raised.value.remedy


def test_the_token_goes_to_the_hub_and_into_no_file(
    server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull("acme/tiny")
    assert server.tokens == {"Bearer hf_secret"}
    assert not any(b"hf_secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_token_in_the_home_of_the_hub_is_used(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_kept\n")
    pull("acme/tiny")
    assert server.tokens == {"Bearer hf_kept"}


def test_what_another_client_has_fetched_is_not_fetched_again(server: Hub, tmp_path: Path) -> None:
    snapshot = tmp_path / "hf" / "hub" / "models--acme--tiny" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(WEIGHTS)
    (snapshot / "config.json").write_bytes(b"tampered with")
    directory = pull("acme/tiny")
    assert (directory / "model.safetensors").read_bytes() == WEIGHTS
    assert (directory / "config.json").read_bytes() == FILES["config.json"]
    assert not any(path.endswith("model.safetensors") for path, _ in server.asked)


def test_offline_says_what_to_do(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE"):
        pull("acme/tiny")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelUnavailable, match="cannot be reached") as raised:
        pull("acme/tiny")
    assert "copy a checkpoint" in raised.value.remedy
    assert not server.asked


@pytest.mark.parametrize("name", ["tiny", "../../etc", "a/b/c", "acme/../x", "acme/tiny@", "-x/y"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a model"):
        pull(name)


def test_a_full_disk_is_told_before_anything_is_fetched(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000})())
    with pytest.raises(ModelUnavailable, match="1,000 are free"):
        pull("acme/tiny")
    assert len(server.asked) == 1


def says(*names: str, **changes: object) -> bytes:
    """A listing of empty files."""
    file = {"size": 0, "blobId": hashlib.sha1(b"blob 0\0").hexdigest()} | changes
    return json.dumps({"sha": "c0ffee", "siblings": [{"rfilename": name} | file for name in names]}).encode()


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"sha": "c0ffee", "siblings": ["x"]}',
        b'{"sha": "c0ffee", "siblings": {"a": 1}}',
        b'{"sha": "../../..", "siblings": []}',
        says("config.json", size=float("inf")),
        says("config.json", size="many"),
        says("config.json", lfs="x"),
        says("config.json", lfs=[1]),
    ],
    ids=lambda listing: listing[:60].decode(),
)
def test_a_listing_that_is_none_is_told(server: Hub, listing: bytes) -> None:
    server.listing = listing
    with pytest.raises(ModelUnavailable, match="no list of files"):
        pull("acme/tiny")


def test_a_listing_without_an_end_fills_no_memory(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_MAX_LISTING_BYTES", 10_000)
    server.listing = says(*(f"{number}.json" for number in range(1_000)))
    with pytest.raises(ModelUnavailable, match="more than 10,000 bytes"):
        pull("acme/tiny")


@pytest.mark.parametrize(
    "name",
    ["../a.json", "/a.json", "a/../../b.json", "a\\b.json", ".hidden.json", "a\0.json", "a\n.json", "a?b.json", "a#b.json",
     "%2e%2e/a.json", "C:a.json", "a" * 300 + ".json"],
)  # fmt: skip
def test_a_name_that_is_a_trick_is_left_out(server: Hub, name: str, tmp_path: Path) -> None:
    server.listing = says(name)
    with pytest.raises(ModelUnavailable, match="holds no checkpoint"):
        pull("acme/tiny")
    assert not (tmp_path / "home").exists()


def test_a_file_that_is_also_a_folder_is_told(server: Hub) -> None:
    server.listing = says("a.json", "a.json/b.json")
    server.files |= {"a.json": b"", "a.json/b.json": b""}
    with pytest.raises(ModelUnavailable, match="cannot be written"):
        pull("acme/tiny")


@pytest.mark.parametrize("size", [{}, {"size": None}, {"size": -1}, {"size": 5}])
def test_a_file_without_an_end_does_not_fill_the_disk(server: Hub, size: dict) -> None:
    server.listing = says("config.json", **({"size": 0, "blobId": "0" * 40} | size))
    server.is_endless = True
    with pytest.raises(ModelUnavailable, match="not what the hub announced"):
        pull("acme/tiny")
    assert server.sent < 50_000_000


def test_an_empty_file_is_fetched(server: Hub) -> None:
    server.listing = says("config.json", "added.txt")
    server.files |= {"config.json": b"", "added.txt": b""}
    assert (pull("acme/tiny") / "added.txt").read_bytes() == b""


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "http://[", "/acme/tiny/resolve/c0ffee/config.json", "ftp://x/y"]
)
def test_a_redirect_to_nowhere_is_told(server: Hub, place: str) -> None:
    server.redirect = place
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        pull("acme/tiny")


@pytest.mark.parametrize(
    "address",
    [
        "http://[",
        "no address",
        "ftp://127.0.0.1",
        "huggingface.co",
        "https:///x",
        "http://h:x",
        "http://h:0",
        "http://h?a=1",
    ],
)
def test_an_endpoint_that_is_no_address_is_told(server: Hub, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError, match=f"HF_ENDPOINT {re.escape(repr(address))} is no address of a hub") as raised:
        pull("acme/tiny")
    assert "https://HOST" in raised.value.remedy


def test_a_secret_in_the_wrong_place_is_not_repeated(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://me:hush@127.0.0.1")
    with pytest.raises(UsageError, match="HF_ENDPOINT holds a user or a password") as raised:
        pull("acme/tiny")
    assert "hush" not in str(raised.value)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hush\nx-more: 1")
    with pytest.raises(UsageError, match="HF_TOKEN holds characters") as raised:
        pull("acme/tiny")
    assert "hush" not in str(raised.value)
    assert not server.asked


@pytest.mark.parametrize("slow", ["listing", "file"])
def test_a_hub_that_sends_a_byte_now_and_then_is_left_and_what_came_is_kept(
    server: Hub, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    step_s = 61 if slow == "listing" else 40  # the listing comes in one piece, the weights in many
    turned = itertools.count(0, step_s).__next__
    monkeypatch.setattr(hub, "Pace", lambda source, least: Pace(source, least, turned))
    cause = "sent [0-9,]+ bytes in [0-9]+ s, the least is 1,000,000,000,000 a second"
    with pytest.raises(ModelUnavailable, match=cause) as raised:
        pull("acme/tiny", least_rate=LeastRate(1e12))
    assert "--least-rate" in raised.value.remedy
    files = [path for path, _ in server.asked if "/resolve/" in path]
    assert bool(files) == (slow == "file")
    directory = pull("acme/tiny", least_rate=LeastRate(0.0))
    assert (directory / "model.safetensors").read_bytes() == WEIGHTS
    assert any(said for _, said in server.asked) == (slow == "file"), "it goes on where it stopped"
