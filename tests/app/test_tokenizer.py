"""`openbook tokenizer` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "en.txt").write_text("The ferry that leaves at noon returns at night.\n" * 30)
    (folder / "zh.md").write_text("渡轮上午八点十五分离港，中午返回。\n" * 30, "utf-8")
    (folder / "f.py").write_text("def leave(at: str) -> None:\n    return at\n" * 10)
    return folder


def test_train_show_and_compare(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    told = json.loads(cli("tokenizer", "train", corpus, made, "--vocab-size", 320, "--special", "<|x|>", "--json"))
    assert (told["vocab_size"], told["files"], told["failed"]) == (320, 3, {})
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= {one.name for one in made.iterdir()}
    shown = json.loads(cli("tokenizer", "show", "a<|x|> 渡🚢", "--tokenizer", made, "--json"))
    assert shown["bytes"] == len("a<|x|> 渡🚢".encode())
    assert [one["text"] for one in shown["tokens"]][:2] == ["a", "<|x|>"]
    assert shown["bytes_per_token"] == pytest.approx(shown["bytes"] / len(shown["tokens"]), abs=1e-4)
    assert "bytes per token" in cli("tokenizer", "show", "The ferry 渡轮")
    rows = json.loads(cli("tokenizer", "compare", "default", made, corpus, "--json"))
    assert set(rows) == {"English", "Chinese", "code"}
    assert rows["Chinese"]["A"]["tokens"] < rows["Chinese"]["B"]["tokens"]
    table = cli("tokenizer", "compare", "default", made, corpus)
    assert "bytes/token" in table
    assert "Chinese" in table


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_other_kinds(cli: Cli, corpus: Path, tmp_path: Path, kind: str) -> None:
    assert "made" in cli("tokenizer", "train", corpus, tmp_path / "out", "--kind", kind, "--vocab-size", 400)
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text("utf-8"))["model"]["type"].lower() == kind


def test_a_model_is_made_with_what_was_trained(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    cli("tokenizer", "train", corpus, tmp_path / "t", "--vocab-size", 300)
    made = cli("model", "new", tmp_path / "m", "--size", "1m", "--tokenizer", tmp_path / "t", "--max-seq-len", 64)
    assert "300 tokens" in made


def test_errors_name_the_remedy(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    cli("tokenizer", "train", tmp_path / "none", tmp_path / "out", code=2)
    assert "is not there" in cli.errors
    cli("tokenizer", "train", corpus, corpus, code=2)
    assert "exists already" in cli.errors
    cli("tokenizer", "train", corpus, tmp_path / "out", "--kind", "words", code=2)
    assert "known are bpe" in cli.errors
    cli("tokenizer", "train", corpus, tmp_path / "out", "--pattern", "x", code=2)
    assert "known are gpt-2, qwen2, llama-bpe" in cli.errors
    cli("tokenizer", "show", "x", "--tokenizer", tmp_path, code=1)
    assert "no tokenizer.json" in cli.errors
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    cli("tokenizer", "train", tmp_path / "bad.txt", tmp_path / "out", code=2)
    assert "none of the files could be read" in cli.errors
    out = cli("tokenizer", "train", corpus, tmp_path / "bad.txt", tmp_path / "out", "--vocab-size", 300)
    assert "from 3 files" in out
    assert "bad.txt" in out


def test_options_that_a_kind_does_not_have_are_refused(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    cli("tokenizer", "train", corpus, tmp_path / "out", "--lowercase", code=2)
    assert "a bpe tokenizer has no lowercase" in cli.errors
    cli("tokenizer", "train", corpus, tmp_path / "out", "--kind", "wordpiece", "--chat", "chatml", code=2)
    assert "a wordpiece tokenizer has no chat" in cli.errors
    assert not (tmp_path / "out").exists()


def test_a_special_token_that_is_there_anyway_is_told_no_tale_about(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    made = cli("tokenizer", "train", corpus, tmp_path / "out", "--vocab-size", 300, "--special", "<|im_end|>")
    assert "300 tokens" in made
    assert "note:" not in cli.errors


def test_standard_input_is_shown_and_must_be_utf8(cli: Cli) -> None:
    assert "5 tokens, 7 characters, 11 bytes" in cli("tokenizer", "show", "-", stdin="a\n\n\n渡轮a")
    command = [sys.executable, "-m", "openbook", "tokenizer", "show", "-"]
    done = subprocess.run(command, input=b"abc\xff", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"standard input is no UTF-8: byte 3 is 0xff" in done.stderr


def test_a_corpus_without_text_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    cli("tokenizer", "train", tmp_path / "empty.txt", tmp_path / "out", code=2)
    assert "the files hold no text" in cli.errors
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty.txt").write_text("")
    cli("tokenizer", "compare", "default", "default", tmp_path / "empty.txt", code=2)
    assert "the corpus holds no text" in cli.errors
