"""The models under $OPENBOOK_HOME/models: which there are, how they are named, and what may be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.local import local_models, local_name, model_directory, models_home, remove


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "acme/tiny", "acme/other", "mine/1_Pooling", "beta/tiny"):
        folder = models_home() / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    for name in ("small.gguf", "acme/q8.gguf", "acme/tiny/inner.gguf", "acme/other/model.safetensors"):
        (models_home() / name).write_bytes(b"12345")
    (models_home() / "unfinished").mkdir()
    return models_home()


def test_directories_of_one_level_and_two_and_gguf_files_are_models(models: Path) -> None:
    names = ["acme/other", "acme/q8.gguf", "acme/tiny", "beta/tiny", "mine", "small.gguf"]
    assert [local_name(one) for one in local_models()] == names, "what lies in a model is none"
    assert [model_directory(name) for name in names] == [models / name for name in names]


def test_a_short_name_is_enough_where_it_means_one(models: Path) -> None:
    assert model_directory("other") == models / "acme" / "other"
    assert model_directory("q8") == model_directory("q8.gguf") == models / "acme" / "q8.gguf"
    with pytest.raises(
        ModelUnavailable, match=r"2 models are called 'tiny': acme/tiny, beta/tiny: give the whole name"
    ):
        model_directory("tiny")
    with pytest.raises(
        ModelUnavailable, match=r"'none\.gguf' is no directory, no \.gguf file and no model here"
    ) as raised:
        model_directory("none.gguf")
    assert "mine, small.gguf" in raised.value.remedy


def test_a_whole_name_wins_over_an_end_that_is_the_same(models: Path) -> None:
    (models / "tiny").mkdir()
    (models / "tiny" / "config.json").write_text("{}")
    assert model_directory("tiny") == models / "tiny"


def test_a_path_wins_over_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert model_directory("mine") == Path("mine")


def test_models_are_deleted_one_by_one_with_the_folder_of_their_owner(models: Path) -> None:
    assert remove("small") == 5
    assert remove("other") == 7
    assert remove("q8.gguf") == 5
    assert remove("acme/tiny") == 7
    assert not (models / "acme").exists()
    (models / "mine" / "as.gguf").write_bytes(b"123")
    assert remove("mine") == 7
    assert [local_name(one) for one in local_models()] == ["beta/tiny"]


def test_nothing_else_is_deleted(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UsageError, match="is not under"):
        remove(str(tmp_path / "elsewhere"))
    with pytest.raises(ModelUnavailable, match=r"no directory, no \.gguf file and no model here"):
        remove("acme/none")
    monkeypatch.chdir(models)
    with pytest.raises(UsageError, match=r"acme is no model, it holds acme/other, acme/q8\.gguf, acme/tiny: name one"):
        remove("acme")
    monkeypatch.chdir(models / "mine")
    with pytest.raises(UsageError, match="the name of the model is empty"):
        remove("")
    assert len(local_models()) == 6
