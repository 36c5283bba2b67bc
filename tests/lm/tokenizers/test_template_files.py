from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.lm.tokenizers.template_files import read_templates, write_templates


def test_files_go_before_settings_and_come_back(tmp_path: Path) -> None:
    assert read_templates(tmp_path, {}) == {}
    assert read_templates(tmp_path, {"chat_template": "a"}) == {"default": "a"}
    several = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    assert read_templates(tmp_path, {"chat_template": several}) == {"default": "a", "tool_use": "b"}
    write_templates(tmp_path, {"default": "x\n", "rag": "y"})
    assert read_templates(tmp_path, {"chat_template": "a"}) == {"default": "x\n", "rag": "y"}
    write_templates(tmp_path, {})
    assert read_templates(tmp_path, {}) == {}


@pytest.mark.parametrize(
    ("said", "cause"),
    [(3, "is int"), (["a"], "cannot be read"), ([{"name": "a"}], "cannot be read"), ({"default": 3}, "is no text")],
)
def test_what_is_no_template_is_named(tmp_path: Path, said: object, cause: str) -> None:
    with pytest.raises(ModelUnavailable, match=cause):
        read_templates(tmp_path, {"chat_template": said})


def test_names_and_bytes_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"is called '\.\./x'"):
        write_templates(tmp_path, {"../x": "a"})
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_templates(tmp_path, {})
