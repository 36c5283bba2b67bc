"""Environments of a user's own file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.training.rollouts.calculator import Calculator
from openbook.training.rollouts.environment import open_environment

SOURCE = """
from __future__ import annotations

from dataclasses import InitVar, dataclass

from words_beside import WORD


@dataclass
class Echo:
    row: InitVar[dict]
    word: str = WORD

    def __post_init__(self, row) -> None:
        pass

    def step(self, completion):
        return [{"role": "user", "content": self.word}]


number = 5
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "words_beside.py").write_text("WORD = 'again'\n", "utf-8")
    path = tmp_path / "echo.py"
    path.write_text(SOURCE, "utf-8")
    yield path
    for name in ("words_beside", "openbook_environment_echo"):
        sys.modules.pop(name, None)


def test_a_class_of_a_file_and_a_module_beside_it(file: Path) -> None:
    assert open_environment("calculator") is Calculator
    assert open_environment(f"{file}:Echo")({}).step("hm") == [{"role": "user", "content": "again"}]


def test_what_is_none_is_said(file: Path) -> None:
    for name in ("Nothing", "number"):
        with pytest.raises(UsageError, match=f"no function or class '{name}'"):
            open_environment(f"{file}:{name}")
    with pytest.raises(UsageError, match="is not there"):
        open_environment(f"{file}x:Echo")


def test_a_file_whose_own_attribute_is_missing_is_not_called_short_of_a_class(file: Path) -> None:
    file.write_text("import math\n\nmath.nothing\n\n\ndef Echo(row): ...\n", "utf-8")
    with pytest.raises(UsageError, match=r"cannot be run: AttributeError.*nothing"):
        open_environment(f"{file}:Echo")
