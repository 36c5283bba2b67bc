"""Settings: precedence, errors that name the nearest key, and a file that is never half written."""

from __future__ import annotations

import pytest

from openbook.core.config import config_path, load_settings, save_setting
from openbook.core.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBOOK_HOME", str(tmp_path))
    for name in ("OPENBOOK_MAX_WRONG", "OPENBOOK_LIBRARY", "OPENBOOK_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_overrides_win_over_environment_over_file_over_default(monkeypatch):
    assert load_settings().max_wrong == 0.10
    save_setting("max_wrong=0.2")
    assert load_settings().max_wrong == 0.2
    monkeypatch.setenv("OPENBOOK_MAX_WRONG", "0.3")
    assert load_settings().max_wrong == 0.3
    assert load_settings(["max_wrong=0.4"]).max_wrong == 0.4


@pytest.mark.parametrize("name", ["DATA", "BASE", "ENCODER", "ISA", "THREADS"])
def test_what_recipes_and_the_processor_are_told_by_is_no_setting(monkeypatch, name):
    monkeypatch.setenv(f"OPENBOOK_{name}", "/somewhere")
    assert load_settings().max_wrong == 0.10


def test_nested_keys_are_set_and_read():
    save_setting("models.local.url=http://127.0.0.1:11434/v1")
    save_setting("models.local.model=qwen3")
    assert load_settings().models["local"].model == "qwen3"
    save_setting("models=")
    assert load_settings().models == {}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("max_wrnog=0.1", "max_wrong"),
        ("max_wrong=5", "less than 1"),
        ("mode=slow", "pattern"),
        ("max_wrong", "KEY=VALUE"),
        ("models.x=1", "models.x"),
        ("max_wrong=[", "YAML"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(override, said):
    with pytest.raises(UsageError) as raised:
        save_setting(override)
    assert said in str(raised.value)
    assert not config_path().exists()


def test_a_broken_file_is_named():
    config_path().write_text("max_wrong: [")
    with pytest.raises(UsageError, match=r"config\.yaml"):
        load_settings()
    config_path().write_text("- a list")
    with pytest.raises(UsageError, match="no settings"):
        load_settings()
