"""What is read of a corpus, and what is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from openbook.core.errors import UnreadableFile, UsageError
from openbook.lm.tokenizers.compression import LANGUAGES, compression, language_of, split_by_language
from openbook.lm.tokenizers.corpus import corpus_files, read_texts, texts_of
from openbook.lm.tokenizers.default import default_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("hidden")
    (tmp_path / "a.txt").write_text("The ferry.\n渡轮八点离港。\n\nВсё хорошо\n", "utf-8")
    (tmp_path / "b" / "code.py").write_text("def f(x):\n    return x\n")
    with gzip.open(tmp_path / "b" / "c.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"text": "one", "n": 3}) + "\n\n")
        file.write(json.dumps({"messages": [{"role": "user", "content": "two"}]}) + "\n")
    (tmp_path / "d.json").write_text('["three", {"k": "four"}]')
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_folders_are_walked_in_order_and_json_gives_its_texts(folder: Path) -> None:
    files = corpus_files([folder])
    assert [file.path.name for file in files] == ["a.txt", "c.jsonl.gz", "code.py", "d.json"]
    texts = list(read_texts(files))
    assert texts[1:] == ["one", "user", "two", "def f(x):\n    return x\n", "three", "four"]
    assert texts[0].startswith("The ferry")


def test_a_file_that_cannot_be_read_ends_it_or_is_told(folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff\xfe")
    (folder / "bad.jsonl").write_text("{")
    told: list[tuple[str, str]] = []
    texts = list(read_texts(corpus_files([folder]), broken=lambda path, why: told.append((path.name, why))))
    assert "two" in texts
    assert [name for name, _ in told] == ["bad.jsonl", "bad.txt"]
    with pytest.raises(UnreadableFile, match=r"bad\.txt cannot be read"):
        list(read_texts(corpus_files([folder / "bad.txt"])))
    (folder / "cut.txt.gz").write_bytes(gzip.compress(b"text" * 1000)[:20])
    with pytest.raises(UnreadableFile, match="cannot be read"):
        list(texts_of(corpus_files([folder / "cut.txt.gz"])[0]))


def test_nothing_to_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        corpus_files([tmp_path / "none"])
    with pytest.raises(UsageError, match="no text was found"):
        corpus_files([tmp_path])


def test_languages_are_told_apart_line_by_line(folder: Path) -> None:
    lines = split_by_language(corpus_files([folder]))
    assert lines["Chinese"] == ["渡轮八点离港。\n"]
    assert lines["code"] == ["def f(x):\n", "    return x\n"]
    assert lines["other"] == ["Всё хорошо\n"]
    assert "The ferry.\n" in lines["English"]
    assert language_of("1234 !!") == "other"
    for language in LANGUAGES:
        measured = compression(default_tokenizer(), lines[language], language)
        assert measured.bytes == len("".join(lines[language]).encode())
        assert measured.tokens > 0
        assert measured.bytes_per_token == measured.bytes / measured.tokens
    assert compression(default_tokenizer(), [], "code").bytes_per_token == 0.0
