"""`openbook data generate` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chat_server import ChatServer, refused, said
from command_line import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"What is {at} + 1?", "answer": str(at + 1)} for at in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_answers_that_pass_become_rows_and_a_second_call_goes_on(cli: Cli, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = ("data", "generate", prompts, "--out", out, "-n", 2, "--verify", "number", "--model")
    with ChatServer(said("So it is 1."), said("It is 9."), refused(400, "too much")).running() as server:
        shown = cli(*command, f"{server.url}#tiny", "--max-requests", 2)
        assert "1 of 3 prompts asked, 1 of them have rows" in shown and "what it may cost is spent" in shown
        assert "1 kept, 1 rejected" in shown or "1 rejected, 1 kept" in shown
        assert len(out.read_text("utf-8").splitlines()) == 1
        shown = cli(*command, f"{server.url}#tiny")
        assert "stopped: all answers to 2 prompts failed" in shown and "too much" in shown
        assert len(out.read_text("utf-8").splitlines()) == 1
    with ChatServer(refused(400, "too much")).running() as server:
        cli("data", "generate", prompts, "--out", tmp_path / "none.jsonl", "--model", f"{server.url}#tiny", code=1)
        assert "failed" in cli.errors and "too much" in cli.errors
    with ChatServer(said("It is 3.")).running() as server:
        cli(*command, f"{server.url}#tiny", "--keep", 2, code=2)
        assert "of another job: keep changed" in cli.errors
        told = json.loads(cli(*command, f"{server.url}#tiny", "--json"))
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["messages"][1]["content"] for row in rows] == ["So it is 1.", "It is 3."]
    assert told["fates"] == {"kept": 2, "rejected": 3, "duplicate": 1}
    assert (told["rows"], told["answered"], told["done"]) == (2, 2, 3)


def test_seeds_are_expanded(cli: Cli, tmp_path: Path) -> None:
    seeds, out = tmp_path / "seeds.jsonl", tmp_path / "out.jsonl"
    seeds.write_text('{"instruction": "Name a river in Spain.", "output": "The Ebro."}\n', "utf-8")
    script = [
        said("Task 2: Explain why bread rises in the oven.\nTask 3: Name one river in Spain."),
        said("The yeast makes gas."),
    ]
    with ChatServer(*script).running() as server:
        command = ("data", "generate", seeds, "--expand", "self-instruct", "--rows", 1, "--at-once", 1, "--with-seeds")
        shown = cli(*command, "--model", f"{server.url}#tiny", "--out", out)
    assert "2 tasks proposed" in shown and "left out: 1, task: like another" in shown
    assert "1 new rows, and 1 seeds among them" in shown
    origins = [json.loads(line)["origin"] for line in out.read_text("utf-8").splitlines()]
    assert sorted(origins) == ["seed", "self-instruct"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--verify", "nobody"), "verifier 'nobody' is not known"),
        (("--verify", "regex"), "regex:PATTERN"),
        (("--expand", "guess"), "self-instruct, evol"),
        (("--expand", "evol", "--verify", "number"), "--expand looks at every row itself"),
        (("--prefer", "best"), "shortest, random"),
        (("--max-requests", 0), "max_requests is 0"),
        (("--temperature", 0), "at temperature 0 all 4 answers are the same"),
    ],
)
def test_what_cannot_be_is_told(
    cli: Cli, prompts: Path, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    cli("data", "generate", prompts, "--model", "http://127.0.0.1:9/v1#x", "--out", tmp_path / "o", *options, code=2)
    assert said in cli.errors
