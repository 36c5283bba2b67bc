"""`openbook model` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def made(cli: Cli) -> Path:
    directory = cli.home / "models" / "acme" / "tiny"
    assert "parameters" in cli("model", "new", directory, "--family", "qwen3", "--size", "1m", "--max-seq-len", 128)
    return directory


def test_a_fresh_model_is_listed_shown_and_loaded(cli: Cli, made: Path) -> None:
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in made.iterdir()}
    assert "acme/tiny" in cli("model", "list")
    (row,) = json.loads(cli("model", "list", "--json"))
    assert row["model_type"] == "qwen3"
    shown = json.loads(cli("model", "show", "tiny", "--context", 64, "--batch", 2, "--json"))
    assert shown["parameters"] == row["parameters"] == sum(shown["parts"].values())
    assert shown["serving"]["weights"] == 4 * shown["parameters"]
    assert shown["serving"]["kv_cache"] == 2 * 4 * 2 * 32 * 64 * 2 * 4
    assert "<|im_start|>" in shown["chat_template"]
    assert shown["tokenizer"] == "8,192 tokens"
    text = cli("model", "show", made)
    assert "memory" in text
    assert "chat template" in text


def test_conversion_and_difference(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("model", "convert", made, tmp_path / "a.gguf", "--to", "gguf", "--dtype", "float32")
    cli("model", "convert", tmp_path / "a.gguf", tmp_path / "back")
    assert "0 tensors differ" in cli("model", "diff", made, tmp_path / "back")
    cli("model", "convert", made, tmp_path / "half", "--dtype", "bfloat16")
    assert "relative" in cli("model", "diff", made, tmp_path / "half")


def test_forms_that_do_not_fit_together_are_told(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("model", "convert", made, tmp_path / "b.gguf", code=2)
    assert "--to gguf" in cli.errors
    assert not (tmp_path / "b.gguf").exists()
    cli("model", "convert", made, tmp_path / "b.gguf", "--to", "gguf")
    cli("model", "convert", tmp_path / "b.gguf", tmp_path / "c.gguf", "--to", "gguf", code=2)
    assert "is a GGUF file already" in cli.errors
    cli("model", "diff", made, tmp_path / "b.gguf", code=2)
    assert "safetensors of it first" in cli.errors


def test_errors_name_the_remedy(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("model", "show", "none", code=1)
    assert "models here: acme/tiny" in cli.errors
    cli("model", "new", made, code=2)
    assert "exists already" in cli.errors
    cli("model", "new", tmp_path / "x", "--size", "9t", code=2)
    assert "known are 1m" in cli.errors
    cli("model", "convert", made, tmp_path / "y", "--to", "onnx", code=2)
    cli("model", "pull", "../etc", code=2)
    cli("model", "pull", "acme/tiny", code=1, HF_ENDPOINT="http://127.0.0.1:1", HF_HUB_OFFLINE="")
    assert "cannot be reached" in cli.errors


def test_a_fresh_model_talks_in_the_terminal(cli: Cli, made: Path) -> None:
    said = cli("run", "tiny", "--max-tokens", 4, "--seed", 1, stdin="Hello?\nAnd then?\n\n")
    assert len(said.splitlines()) >= 2
    cli("run", "tiny", "--quantize", "int2", code=2, stdin="")
    assert "known are int8, int4 and none" in cli.errors


def test_a_gguf_file_among_the_models_is_listed_shown_run_and_deleted(cli: Cli, made: Path) -> None:
    path = cli.home / "models" / "small.gguf"
    cli("model", "convert", made, path, "--to", "gguf", "--dtype", "q8_0")
    rows = {row["name"]: row for row in json.loads(cli("model", "list", "--json"))}
    assert rows["small.gguf"]["dtype"] == "Q8_0"
    assert rows["small.gguf"]["parameters"] == rows["acme/tiny"]["parameters"]
    assert "float32 (stored as Q8_0)" in cli("model", "show", "small")
    assert cli("run", "small.gguf", "--max-tokens", 2, "--seed", 1, stdin="Hello?\n")
    assert "deleted small.gguf" in cli("model", "rm", "small.gguf")
    assert not path.exists()


def test_a_new_model_says_how_large_it_is_and_what_it_lacks(cli: Cli, tmp_path: Path) -> None:
    said = cli("model", "new", tmp_path / "m", "--size", "1m", "--max-seq-len", 64)
    assert "1.8 M parameters, 1.0 M of them in the table of 8,192 tokens" in said
    assert cli.errors == ""
    cli("model", "new", tmp_path / "b", "--family", "bert", "--size", "1m", "--max-seq-len", 64)
    assert "note: its tokenizer has no [MASK]" in cli.errors
    (tmp_path / "m" / "chat_template.jinja").unlink()
    cli("model", "new", tmp_path / "n", "--size", "1m", "--max-seq-len", 64, "--tokenizer", tmp_path / "m")
    assert "note: its tokenizer has no chat template" in cli.errors
    assert "more than the 64 that the model was made for" in cli("model", "show", tmp_path / "m", "--context", 65)


def test_what_cannot_be_merged_is_told(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("model", "merge", made, tmp_path / "none", tmp_path / "out", code=1)
    assert "none' is not a directory" in cli.errors
    cli("model", "merge", made, made, tmp_path / "out", code=1)
    assert "it holds a whole model" in cli.errors
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}')
    cli("model", "merge", made, tmp_path, tmp_path / "out", code=2)
    assert "is a prompt adapter" in cli.errors
    assert not (tmp_path / "out").exists()


def test_a_dtype_that_is_not_written_is_told_with_the_names_of_the_option(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("model", "convert", made, tmp_path / "x.gguf", "--to", "gguf", "--dtype", "q5_k", code=2)
    assert "known are float32, float16, bfloat16, q8_0, q4_0" in cli.errors
    cli("model", "pull", "acme/tiny", code=2, HF_ENDPOINT="ftp://127.0.0.1", HF_HUB_OFFLINE="")
    assert "HF_ENDPOINT 'ftp://127.0.0.1' is no address of a hub" in cli.errors


def test_a_model_that_is_broken_is_listed_with_the_reason(cli: Cli, made: Path) -> None:
    broken = cli.home / "models" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    try:
        rows = cli("model", "list").splitlines()
    finally:
        assert "deleted broken: 0.00 kB" in cli("model", "rm", "broken")
    assert [row.split()[0] for row in rows[:2]] == ["acme/tiny", "broken"]
    assert "cannot be used: config.json cannot be read" in rows[1]
    assert rows[2].startswith("2 models in ")


def test_a_conversation_that_outgrows_the_model_goes_on_without_its_oldest_turns(cli: Cli, made: Path) -> None:
    turns = [f"Tell me more about it, please, for the {number}th time." for number in range(6)]
    options = ("--max-tokens", 8, "--seed", 1, "--system", "Be kind.")
    cli("run", "tiny", *options, stdin="\n".join(turns) + "\n")
    assert "note: the conversation has outgrown the model: the oldest of it is forgotten" in cli.errors
    cli("run", "tiny", *options, stdin="more " * 200 + "\n", code=2)
    assert "the limit is 128 with the answer" in cli.errors
    assert "note:" not in cli.errors
