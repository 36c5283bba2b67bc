"""Models of one name are told apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.training.generate.generate import generate
from openbook.training.generate.identity import identity_of
from openbook.training.generate.prompts import read_prompts
from openbook.training.generate.settings import GenerateSettings
from training.generate.teachers import RuleTeacher


def local(folder: Path, weights: bytes = b"weights") -> RuleTeacher:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    os.utime(folder / "model.safetensors", ns=(10**18, 10**18))
    return at(folder)


def at(source: Path) -> RuleTeacher:
    teacher = RuleTeacher(lambda _: "It is so.")
    teacher.source = source  # type: ignore[attr-defined]
    return teacher


def test_a_name_is_all_there_is_of_a_server() -> None:
    assert identity_of(RuleTeacher(lambda _: "")) == "rule"


def test_a_place_and_weight_files_make_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = identity_of(local(tmp_path / "a" / "model"))
    assert one.startswith("rule ")
    assert one != identity_of(local(tmp_path / "b" / "model"))
    (tmp_path / "a" / "model" / "notes.txt").write_text("read me")
    monkeypatch.chdir(tmp_path / "a")
    assert one == identity_of(local(Path("model")))
    assert one != identity_of(local(tmp_path / "a" / "model", b"other weights"))
    assert one == identity_of(local(tmp_path / "a" / "model"))
    os.utime(tmp_path / "a" / "model" / "model.safetensors", ns=(10**18, 2 * 10**18))
    assert one != identity_of(at(tmp_path / "a" / "model"))


def test_a_job_of_one_is_not_gone_on_with_by_the_other(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "One?"}\n{"prompt": "Two?"}\n', "utf-8")
    prompts, out = read_prompts([tmp_path / "prompts.jsonl"]), tmp_path / "out.jsonl"
    settings = GenerateSettings(n=1, max_tokens=50)
    first, other = local(tmp_path / "a" / "model"), local(tmp_path / "b" / "model")
    first._left = 1
    with pytest.raises(KeyboardInterrupt):
        generate(prompts, first, settings, out)
    with pytest.raises(UsageError, match="teacher changed"):
        generate(prompts, other, settings, out)
    assert generate(prompts, local(tmp_path / "a" / "model"), settings, out).rows
