"""Programs run, and their results come back; where no sandbox runs, none is pretended."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from core.sandbox.targets import fault, sandbox_or_skip
from openbook.core.errors import UsageError
from openbook.core.sandbox import sandbox as module
from openbook.core.sandbox.launch import Tier
from openbook.core.sandbox.outcome import Limits, SandboxUnavailable
from openbook.core.sandbox.sandbox import Sandbox, fault_of, why_no_sandbox

TIERS: list[Tier] = ["landlock", "bubblewrap", "unsafe"]
every_tier = pytest.mark.parametrize("tier", TIERS)


@every_tier
def test_code_sees_its_files_and_its_input(tier: Tier) -> None:
    code = """
import sys, helper
print(helper.double(int(sys.stdin.read())), open("data/numbers.txt").read(), file=sys.stderr)
sys.exit(3)
"""
    files: dict[str, bytes | str] = {"helper.py": "def double(x): return 2 * x", "data/numbers.txt": b"1 2"}
    outcome = sandbox_or_skip(tier).run(code, files=files, stdin="21")
    assert (outcome.exit, outcome.stdout, outcome.stderr) == (3, b"", b"42 1 2\n")
    assert (outcome.truncated, outcome.killed_by) == (False, None)


@every_tier
def test_a_command_runs(tier: Tier) -> None:
    sandbox = sandbox_or_skip(tier)
    assert sandbox.run(["echo", "a b"]).stdout == b"a b\n"
    assert sandbox.run(["/bin/cat", "file"], files={"file": b"\x00\xff"}).stdout == b"\x00\xff"


@every_tier
def test_processes_may_be_allowed(tier: Tier) -> None:
    code = "import subprocess; print(subprocess.run(['/bin/echo', 'x'], capture_output=True).stdout)"
    assert sandbox_or_skip(tier).run(code, limits=Limits(processes=4)).stdout == b"b'x\\n'\n"


@every_tier
def test_a_signal_reads_as_in_a_shell(tier: Tier) -> None:
    outcome = sandbox_or_skip(tier).run("import os; os.kill(os.getpid(), 6)")
    assert (outcome.exit, outcome.killed_by) == (128 + signal.SIGABRT, None)


@every_tier
def test_input_larger_than_a_pipe_waits_for_nobody(tier: Tier) -> None:
    sandbox, given = sandbox_or_skip(tier), b"x" * (3 << 20)
    assert sandbox.run("import sys; print(len(sys.stdin.read()))", stdin=given).stdout == b"3145728\n"
    assert sandbox.run("print('unread')", stdin=given).stdout == b"unread\n"


@every_tier
def test_libraries_work(tier: Tier) -> None:
    """What verifiers use: the standard library's heavier parts, threads, and numpy."""
    code = """
import asyncio, concurrent.futures, decimal, fractions, hashlib, json, random, re, sqlite3, statistics, tempfile, uuid
import numpy
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(abs, range(-9, 0))) == 45
assert asyncio.run(asyncio.sleep(0, 7)) == 7
with tempfile.TemporaryDirectory() as folder, open(folder + "/x", "w") as file: file.write("x")
with tempfile.TemporaryFile() as file: file.write(b"x")
database = sqlite3.connect("x.db"); database.execute("create table t (a)"); database.commit()
assert numpy.allclose(numpy.linalg.inv(numpy.eye(50) * 2), numpy.eye(50) / 2)
print("all of it", uuid.uuid4().version, random.SystemRandom().random() < 1)
"""
    outcome = sandbox_or_skip(tier).run(code)
    assert outcome.stdout == b"all of it 4 True\n", outcome.stderr.decode()


@every_tier
def test_more_paths_can_be_opened_for_reading(tier: Tier, tmp_path: Path) -> None:
    sandbox_or_skip(tier)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "case").write_text("shown")
    (tmp_path / "other").write_text("hidden")
    sandbox = Sandbox(tier, readable=[tmp_path / "tests"])
    assert sandbox.run(["cat", str(tmp_path / "tests" / "case")]).stdout == b"shown"
    if tier != "unsafe":
        assert sandbox.run(["cat", str(tmp_path / "other")]).exit != 0
        assert sandbox.run(["touch", str(tmp_path / "tests" / "new")]).exit != 0


@every_tier
def test_threads_share_a_sandbox(tier: Tier) -> None:
    sandbox, results = sandbox_or_skip(tier), {}

    def one(number: int) -> None:
        results[number] = sandbox.run(f"print({number})").stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}\n".encode() for number in range(6)}


@every_tier
def test_no_descriptor_is_left_open(tier: Tier) -> None:
    sandbox = sandbox_or_skip(tier)
    sandbox.run("1")
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    sandbox.run("1")
    sandbox.run("while True: print('x')", limits=Limits(output_bytes=1000))
    with pytest.raises(UsageError):
        sandbox.run(["/nowhere"])
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a\0b"])
def test_files_stay_in_the_folder(name: str) -> None:
    with pytest.raises(UsageError, match="relative name"):
        Sandbox("unsafe").run("1", files={name: ""})


@every_tier
def test_a_program_that_is_none_is_said(tier: Tier) -> None:
    sandbox = sandbox_or_skip(tier)
    with pytest.raises(UsageError, match="cannot be started"):
        sandbox.run(["/nowhere/program"])
    with pytest.raises(UsageError, match="neither in its folder nor in PATH"):
        sandbox.run(["nowhere-program"])
    with pytest.raises(UsageError, match="no arguments"):
        sandbox.run([])
    with pytest.raises(UsageError, match="another name"):
        sandbox.run("1", files={"program.py": ""})


def test_the_best_that_runs_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for running in ("bubblewrap", "landlock"):
        monkeypatch.setattr(module, "fault_of", lambda tier, running=running: None if tier == running else "not here")
        monkeypatch.setattr(module, "find_bubblewrap", lambda: Path("/usr/bin/bwrap"))
        assert Sandbox.best().tier == running
        assert why_no_sandbox() is None


def test_without_means_programs_are_refused_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fault_of", lambda tier: f"no {tier} here")
    with pytest.raises(SandboxUnavailable, match=r"no bubblewrap here.*no landlock here.*unsafe_local=True"):
        Sandbox.best()
    reason = why_no_sandbox()
    assert reason is not None and "no landlock here" in reason
    assert Sandbox.best(unsafe_local=True).tier == "unsafe"


def test_what_is_asked_for_is_not_taken_where_better_runs() -> None:
    if fault("landlock") is not None and fault("bubblewrap") is not None:
        pytest.skip("no sandbox runs here")
    assert Sandbox.best(unsafe_local=True).tier != "unsafe"


def test_a_kernel_without_landlock_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "landlock_abi", lambda: 2)
    assert "version 2" in str(fault_of("landlock"))


def test_bubblewrap_that_is_there_but_does_not_run_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module, "find_bubblewrap", lambda: broken)
    assert "No permissions to create new namespace" in str(fault_of("bubblewrap"))


def test_another_processor_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine", lambda: None)
    assert "processor" in str(fault_of("landlock"))


@pytest.mark.parametrize("tier", ["landlock", "bubblewrap"])
def test_a_program_that_cannot_be_shut_in_does_not_run(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = sandbox_or_skip(tier)
    monkeypatch.setattr("openbook.core.sandbox.launch.seccomp_filter", lambda *_: b"\xff" * 8)
    with pytest.raises(SandboxUnavailable, match="seccomp"):
        sandbox.run("print('ran')")
