"""`openbook data judge` as a user meets it, with a judge behind a URL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chat_server import ChatServer, Reply, refused, said
from command_line import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [{"prompt": f"question {one}", "completions": [f"good {one}", f"bad {one}"]} for one in range(3)]
    rows += [{"prompt": "same", "completions": ["a", "a"]}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return path


def test_pairs_are_labelled_by_a_server(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with ChatServer(said("A")).running() as server:
        url = f"{server.url}#tiny"
        shown = cli("data", "judge", pairs, "--judge", url, "--out", out, "--dry-run")
        assert "Which answer is better?" in shown and "inconsistent" in shown
        assert "6 requests (each pair twice)" in shown and "nothing was written" in shown
        assert not out.exists() and len(server.requests) == 6
        told = cli("data", "judge", pairs, "--judge", url, "--out", out, "--ties", "both")
        assert "3 of 3 pairs judged, 0 labelled, with 6 requests and about 60 tokens" in told
        assert "both orders agree on 0 of 3 (0.0 %)" in told
        assert "1 left out: chosen and rejected are the same" in told
        assert "minds the order" in cli.errors
        assert len(out.read_text("utf-8").splitlines()) == 6
        once = tmp_path / "once.jsonl"
        report = json.loads(cli("data", "judge", pairs, "--judge", url, "--out", once, "--no-swap", "--json"))
        assert (report["labelled"], report["requests"], report["swap_consistency"]) == (3, 3, None)
        assert {"prompt", "chosen", "rejected"} == json.loads(once.read_text("utf-8").splitlines()[0]).keys()
        few = cli("data", "judge", pairs, "--judge", url, "--out", tmp_path / "few.jsonl", "--max-requests", 2)
        assert "stopped" in few


def test_what_is_wrong_is_said_before_anything_is_asked(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("Which is better, {answer_a}?", "utf-8")
    url = "http://127.0.0.1:9/v1#none"
    cli("data", "judge", pairs, "--judge", url, "--rubric", rubric, code=2)
    assert "no place for {prompt} and {answer_b}" in cli.errors
    cli("data", "judge", pairs, "--judge", url, "--ties", "some", code=2)
    assert "drop or both" in cli.errors
    cli("data", "judge", pairs, "--judge", url, "--language", "fr", code=2)
    cli("data", "judge", rubric, "--judge", url, code=1)
    assert "cannot be read" in cli.errors


def test_a_server_that_refuses_is_named(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    with ChatServer(refused(401, "who are you?")).running() as server:
        cli("data", "judge", pairs, "--judge", f"{server.url}#tiny", "--out", tmp_path / "out.jsonl", code=1)
    assert server.url in cli.errors and "OPENBOOK_API_KEY" in cli.errors
    cli("data", "judge", pairs, "--judge", f"{server.url}#tiny", "--out", tmp_path / "out.jsonl", code=1)
    assert "cannot be reached" in cli.errors and "start the server" in cli.errors


def test_an_answer_that_does_not_come_is_not_waited_for(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    with ChatServer(Reply(waits=True)).running() as server:
        out = tmp_path / "out.jsonl"
        cli("data", "judge", pairs, "--judge", f"{server.url}#tiny", "--out", out, "--timeout", "0.3", code=1)
    assert "did not finish within 0.3 s" in cli.errors


def test_prompts_are_answered_first(cli: Cli, tmp_path: Path) -> None:
    path, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps({"prompt": "say something"}) + "\n", "utf-8")
    with ChatServer(said("one"), said("two"), said("A")).running() as server:
        url = f"{server.url}#tiny"
        cli("data", "judge", path, "--judge", url, "--out", out, code=1)
        assert "--answers MODEL" in cli.errors
        report = json.loads(
            cli("data", "judge", path, "--judge", url, "--answers", url, "--out", out, "--no-swap", "--json")
        )
    assert (report["labelled"], len(server.requests)) == (1, 3)
    assert "2 requests" in cli.errors
    (row,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert row["prompt"] == "say something" and {row["chosen"], row["rejected"]} == {"one", "two"}


@pytest.mark.slow
def test_a_judging_that_is_killed_goes_on(cli: Cli, tmp_path: Path) -> None:
    """kill -9 while the third pair is asked about: what came before is kept, and not asked again."""
    path, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    rows = [{"prompt": f"question {one}", "completions": [f"good {one}", f"bad {one}"]} for one in range(4)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    options = ["--out", str(out), "--no-swap", "--connections", "1"]
    with ChatServer(said("A"), said("B"), Reply(waits=True)).running() as server:
        command = [
            sys.executable,
            "-m",
            "openbook",
            "data",
            "judge",
            str(path),
            "--judge",
            f"{server.url}#tiny",
            *options,
        ]
        environment = os.environ | {"OPENBOOK_HOME": str(tmp_path / "home")}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            while len(server.requests) < 3 or not out.exists() or out.read_bytes().count(b"\n") < 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    kept = out.read_bytes()
    with ChatServer(said("A")).running() as server:
        report = json.loads(cli("data", "judge", path, "--judge", f"{server.url}#tiny", *options, "--json"))
    assert (report["labelled"], len(server.requests)) == (4, 2)
    assert out.read_bytes().startswith(kept)
