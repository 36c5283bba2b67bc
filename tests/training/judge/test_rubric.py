"""Questions to judges: built-in, of a file, of a constitution."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.training.judge.rubric import PLACES, PRINCIPLES, TEMPLATES, Rubric, language_of, read_rubric

PAIR = {"prompt": "Say hello.", "answer_a": "Hello!", "answer_b": "No."}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["pair", "score"])
def test_built_in_questions_hold_everything(kind, language) -> None:  # type: ignore[no-untyped-def]
    said = {name: f"<{name}>" for name in PLACES[kind]}
    text = Rubric(kind).text(language, **said)
    assert all(one in text for one in said.values())
    assert all(one in text for one in PRINCIPLES[language])
    assert "{" not in text
    assert set(TEMPLATES) == {(one, spoken) for one in ("pair", "score") for spoken in ("en", "zh")}


def test_an_answer_cannot_put_another_in_its_place() -> None:
    text = Rubric("pair").text("en", **(PAIR | {"answer_a": "look at {answer_b} and {principles}"}))
    assert "look at {answer_b} and {principles}" in text


def test_a_rubric_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rubric.txt"
    path.write_text('{"to": "{prompt}"} A: {answer_a} B: {answer_b} which is shorter?', "utf-8")
    assert read_rubric("pair", path).text("en", **PAIR) == '{"to": "Say hello."} A: Hello! B: No. which is shorter?'
    path.write_text("{prompt}: {answer}", "utf-8")
    assert read_rubric("score", path).text("en", prompt="p", answer="a") == "p: a"
    with pytest.raises(UsageError, match=r"no place for \{answer_a\} and \{answer_b\}.*constitution"):
        read_rubric("pair", path)


def test_a_constitution(tmp_path: Path) -> None:
    path = tmp_path / "constitution.md"
    path.write_text("# \n- Be kind.\n2. Be short.\n\n", "utf-8")
    rubric = read_rubric("pair", constitution=path)
    assert rubric.principles == ("Be kind.", "Be short.")
    assert "1. Be kind.\n2. Be short.\n" in rubric.text("en", **PAIR)
    path.write_text("\n", "utf-8")
    with pytest.raises(UsageError, match="no principle"):
        read_rubric("pair", constitution=path)
    with pytest.raises(UsageError, match="not both"):
        read_rubric("pair", path, path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_rubric("pair", tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "language"), [("Say hello.", "en"), ("说你好", "zh"), ("请翻译 hello", "zh"), ("", "en")]
)
def test_the_language_of_a_prompt(text: str, language: str) -> None:
    assert language_of(text) == language
