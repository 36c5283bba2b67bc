"""Verifier programs, in the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import UsageError
from openbook.core.sandbox.outcome import SandboxUnavailable
from openbook.core.sandbox.sandbox import Sandbox, why_no_sandbox
from openbook.training.rewards.program import ProgramReward
from openbook.training.rewards.sampled import Fault
from reward_samples import sampled

pytestmark = pytest.mark.skipif(bool(why_no_sandbox()), reason=str(why_no_sandbox()))
CODE = """
import json, sys
given = json.load(sys.stdin)
said = given["completion"]
if said == "raise":
    raise KeyError("colour")
if said == "hang":
    while True:
        pass
if said == "flood":
    print("x" * 1_000_000)
if said == "memory":
    bytearray(1 << 30)
if said == "network":
    import socket
    socket.socket().connect(("127.0.0.1", 80))
if said == "words":
    print("very good")
else:
    print("checking", given["row"]["gold"], given["prompt"][0]["role"])
    print(float(said == given["row"]["gold"]))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "verify.py"
    path.write_text(CODE, "utf-8")
    return path


def test_a_verifier_prints_the_reward(file: Path) -> None:
    reward = ProgramReward(str(file), "verify")
    assert list(reward([sampled("a", gold="a"), sampled("b", gold="a"), sampled("猫", gold="猫")])) == [1.0, 0.0, 1.0]
    assert list(reward([])) == []


def test_a_program_of_another_language(tmp_path: Path) -> None:
    path = tmp_path / "verify.sh"
    path.write_text('#!/bin/sh\nread -r line\ncase "$line" in *right*) echo 1;; *) echo 0;; esac\n', "utf-8")
    path.chmod(0o755)
    assert list(ProgramReward(str(path), "verify")([sampled("right"), sampled("left")])) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("completion", "kind", "said"),
    [
        ("raise", "error", "KeyError: 'colour'"),
        ("hang", "timeout", "limit"),
        ("flood", "error", "output"),
        ("memory", "error", "MemoryError"),
        ("network", "error", "PermissionError"),
        ("words", "nonsense", "very good"),
    ],
)
def test_what_a_verifier_may_not_do(file: Path, completion: str, kind: str, said: str) -> None:
    reward = ProgramReward(str(file), "verify", timeout_s=1.5, memory_bytes=256 << 20)
    (score,) = reward([sampled(completion, gold="a")])
    assert isinstance(score, Fault)
    assert (score.kind, said in score.message) == (kind, True), score


def test_a_verifier_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.py is not there"):
        ProgramReward(str(tmp_path / "none.py"), "verify")


def test_without_a_sandbox_it_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openbook.core.sandbox import sandbox

    def no_tier(_: Any) -> str:
        return "switched off"

    monkeypatch.setattr(sandbox, "fault_of", no_tier)
    with pytest.raises(SandboxUnavailable):
        ProgramReward(str(file), "verify")
    reward = ProgramReward(str(file), "verify", unsafe_local=True)
    assert list(reward([sampled("a", gold="a")])) == [1.0]
    assert isinstance(Sandbox.best(unsafe_local=True), Sandbox)
