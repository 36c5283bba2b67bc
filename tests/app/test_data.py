"""`openbook data` as a user meets it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Two are the same, and one line is broken."""
    path = tmp_path / "chats.jsonl"
    said = [*range(150), 3]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"what is {at} and {at}?"},
                {"role": "assistant", "content": f"{2 * at}"},
            ]
        }
        for at in said
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n", "utf-8")
    return path


def test_show_tells_what_is_there(cli: Cli, chats: Path) -> None:
    shown = cli("data", "show", chats, "--tokenizer", "default")
    assert f"{chats}: messages" in shown
    assert "chats by messages: 151 of 2; messages: 151 user, 151 assistant" in shown
    assert "152 rows" not in shown
    assert f"1 left out: broken (first: {chats}:152: no JSON" in shown
    assert f"duplicates: 1 exact, 0 near\n  {chats}:4 = {chats}:151" in shown
    assert "tokens of a sample: mean" in shown
    assert "  trained         '0'" in shown
    assert "  trained special '<|im_end|>'" in shown
    assert "masked          'us|er" in shown


def test_show_as_json_and_against_a_test_set(cli: Cli, chats: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text('{"question": "What is 7 and 7?", "answer": "14"}\n{"question": "Who?", "answer": "me"}\n', "utf-8")
    told = json.loads(cli("data", "show", chats, "--against", test, "--json"))
    assert told["files"] == [{"path": str(chats), "format": "messages"}]
    assert (told["rows"], told["broken"], told["duplicates"]["exact"]) == (152, 1, 1)
    assert told["fields"] == {"messages": 151}
    assert told["tokens_per_sample"] is None
    assert (told["against"]["rows"], told["against"]["questions"], told["against"]["overlapping"]) == (2, 1, 1)
    assert f"{test}:1 = {chats}:8" in cli("data", "show", chats, "--against", test)


def test_convert_writes_what_the_form_can_hold(cli: Cli, chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "alpaca.jsonl.gz"
    assert "151 rows of alpaca" in cli("data", "convert", chats, out, "--to", "alpaca")
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert rows[2] == {"instruction": "what is 2 and 2?", "input": "", "output": "4"}
    cli("data", "convert", chats, out, "--to", "text", code=2)
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"text": "a"}\n{"text": "\\ud800"}\n', "utf-8")
    assert "1 rows were left out" in cli("data", "convert", odd, tmp_path / "new" / "odd.jsonl", "--to", "text")
    mixed = tmp_path / "mixed.json"
    mixed.write_text(json.dumps([{"text": "a"}, {"text": "b"}]), "utf-8")
    cli("data", "convert", mixed, tmp_path / "x.jsonl", "--to", "messages", code=1)
    assert "no row can be written as messages" in cli.errors
    assert not (tmp_path / "x.jsonl").exists()


def test_pack_tells_how_full_rows_are(cli: Cli, chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    told = json.loads(cli("data", "pack", chats, out, "--tokenizer", "default", "--max-seq-len", 256, "--json"))
    assert told["fill_rate"] > 0.9
    assert told["samples"] == 151
    assert (out / "shards.json").is_file()
    cli("data", "pack", chats, out, "--tokenizer", "default", "--max-seq-len", 256, code=2)
    assert "rows of 64 tokens" in cli(
        "data", "pack", chats, tmp_path / "other", "--tokenizer", "default", "--max-seq-len", 64
    )


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["show", "nowhere.jsonl"], 2, "is not there"),
        (["show", "CHATS", "--format", "parquet"], 2, "known are text, alpaca"),
        (["show", "CHATS", "--documents", "page"], 2, "known are file, blank-line, line"),
        (["convert", "CHATS", "out.jsonl", "--to", "xml"], 2, "known are text, messages"),
        (["show", "CHATS", "--max-broken", "0"], 1, "1 of 152 rows are broken"),
        (["show", "CHATS", "--format", "alpaca"], 1, "rows are broken"),
        (["pack", "CHATS", "out", "--tokenizer", "nobody", "--max-seq-len", "9"], 1, "nobody"),
    ],
)
def test_errors_name_the_remedy(cli: Cli, chats: Path, arguments: list[str], code: int, error: str) -> None:
    cli("data", *(str(chats) if one == "CHATS" else one for one in arguments), code=code)
    assert error in cli.errors
    assert "→" in cli.errors
