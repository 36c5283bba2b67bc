"""How a generator is named, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.config import ModelEntry, Settings
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.messages import ChatRequest, Message, SamplingParams
from openbook.lm.fresh import write_fresh
from openbook.serving.endpoint import Endpoint, parse_endpoint
from openbook.serving.models import open_chat_model
from openbook.serving.remote import RemoteChatModel

SETTINGS = Settings(models={"office": ModelEntry(url="https://models.example/v1", model="big")})


@pytest.mark.parametrize(
    ("spec", "endpoint"),
    [
        ("http://127.0.0.1:11434/v1#qwen3:8b", Endpoint("http://127.0.0.1:11434/v1", "qwen3:8b")),
        ("http://127.0.0.1:11434", Endpoint("http://127.0.0.1:11434/v1")),
        ("https://api.example/openai/v1/chat/completions#m", Endpoint("https://api.example/openai/v1", "m")),
        ("office", Endpoint("https://models.example/v1", "big")),
    ],
)
def test_names_become_endpoints(spec: str, endpoint: Endpoint) -> None:
    found = open_chat_model(spec, SETTINGS)
    assert isinstance(found, RemoteChatModel)
    assert found.endpoint == endpoint


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://localhost:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_loopback_is_told_from_other_hosts(url: str, is_loopback: bool) -> None:
    assert parse_endpoint(url).is_loopback is is_loopback


@pytest.mark.parametrize(
    "spec", ["", "ftp://x/v1", "http://", "http://user:pw@host/v1", "http://host/v1?key=1", "http://h:x/v1"]
)
def test_what_is_no_url_is_refused(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_chat_model(spec, SETTINGS)
    assert "pw" not in str(caught.value)


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="did you mean office"):
        open_chat_model("ofice", SETTINGS)


def test_a_directory_is_loaded_once_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path))
    directory = tmp_path / "models" / "acme" / "tiny"
    write_fresh(directory, "llama", "1m", max_seq_len=128)
    chat = open_chat_model(str(directory), SETTINGS)
    assert open_chat_model("acme/tiny", SETTINGS) is open_chat_model("tiny", SETTINGS) is chat
    request = ChatRequest((Message.of("user", "Hello?"),), SamplingParams(max_tokens=3, ignore_eos=True))
    assert chat.complete(request).completion_tokens == 3


def test_a_directory_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"config\.json"):
        open_chat_model(str(tmp_path), SETTINGS)
