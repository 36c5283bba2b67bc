"""Limits of untrusted programs: each ends a program or refuses it, is named, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.sandbox.targets import is_alive, sandbox_or_skip
from openbook.core.errors import UsageError
from openbook.core.sandbox.launch import Tier
from openbook.core.sandbox.outcome import Limits
from openbook.core.sandbox.sandbox import Sandbox

TIERS: list[Tier] = ["landlock", "bubblewrap"]
MIB = 1 << 20
every_tier = pytest.mark.parametrize("tier", TIERS)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Private folders are made here, and none is left after a test."""
    here = tmp_path / "folders"
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    yield
    assert list(here.iterdir()) == []


@every_tier
def test_an_endless_loop_ends_for_its_processor_time(tier: Tier) -> None:
    outcome = sandbox_or_skip(tier).run("while True: pass", limits=Limits(cpu_seconds=1, seconds=120))
    assert outcome.killed_by == "cpu"
    assert outcome.exit == 128 + signal.SIGXCPU


@every_tier
def test_ignoring_the_warning_about_processor_time_helps_a_second(tier: Tier) -> None:
    code = "import signal\nfor s in (24, 15, 1, 2): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(cpu_seconds=1, seconds=120))
    assert (outcome.exit, outcome.killed_by) == (128 + signal.SIGKILL, "cpu")


@every_tier
def test_processor_time_cannot_be_raised(tier: Tier) -> None:
    code = "import resource as r; r.setrlimit(r.RLIMIT_CPU, (99, 99))"
    assert b"ValueError" in sandbox_or_skip(tier).run(code).stderr


@every_tier
def test_a_program_that_waits_ends_for_the_time(tier: Tier) -> None:
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('begun', flush=True)\nsignal.pause()"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(seconds=3))
    assert (outcome.exit, outcome.killed_by, outcome.truncated) == (128 + signal.SIGKILL, "time", False)
    assert outcome.seconds >= 3


@every_tier
def test_a_program_that_stops_itself_ends_for_the_time(tier: Tier) -> None:
    outcome = sandbox_or_skip(tier).run("import os; os.kill(os.getpid(), 19)", limits=Limits(seconds=2))
    assert outcome.killed_by == "time"


@every_tier
def test_endless_output_is_cut_at_the_limit(tier: Tier) -> None:
    code = "import sys\nwhile True: print('x' * 1000); print('y' * 1000, file=sys.stderr)"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(output_bytes=50_000))
    assert (outcome.killed_by, outcome.truncated) == ("output", True)
    assert len(outcome.stdout) + len(outcome.stderr) == 50_000


@every_tier
def test_output_up_to_the_limit_is_whole(tier: Tier) -> None:
    outcome = sandbox_or_skip(tier).run("print('x' * 49_999)", limits=Limits(output_bytes=50_000))
    assert (outcome.exit, len(outcome.stdout), outcome.truncated, outcome.killed_by) == (0, 50_000, False, None)


@every_tier
def test_memory_beyond_the_limit_is_refused(tier: Tier) -> None:
    sandbox, code = sandbox_or_skip(tier), f"x = bytearray({300 * MIB}); print('has it')"
    refused = sandbox.run(code, limits=Limits(memory_bytes=200 * MIB))
    assert b"MemoryError" in refused.stderr
    assert refused.exit == 1
    assert sandbox.run(code, limits=Limits(memory_bytes=600 * MIB)).stdout == b"has it\n"


@every_tier
def test_memory_of_several_processes_is_counted_together(tier: Tier) -> None:
    code = f"""
import os, signal
for _ in range(4):
    if os.fork() == 0:
        x = b"x" * {100 * MIB}
        print("has it", flush=True)
        signal.pause()
signal.pause()
"""
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(memory_bytes=300 * MIB, processes=8, seconds=120))
    assert outcome.killed_by == "memory"


@every_tier
def test_processor_time_of_several_processes_is_counted_together(tier: Tier) -> None:
    code = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(cpu_seconds=1, processes=8, seconds=300))
    assert outcome.killed_by == "cpu"


FORKS = """
import os, signal
count = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError as error:
    print(type(error).__name__)
print(count)
"""


@every_tier
def test_no_process_is_started_unless_allowed(tier: Tier) -> None:
    assert sandbox_or_skip(tier).run(FORKS).stdout == b"PermissionError\n0\n"


@every_tier
def test_a_fork_bomb_gets_as_many_processes_as_allowed(tier: Tier) -> None:
    sandbox = sandbox_or_skip(tier)
    outcome = sandbox.run(FORKS, limits=Limits(processes=6))
    assert outcome.stdout.startswith(b"BlockingIOError\n")
    count = int(outcome.stdout.split()[1])
    # For a user other than root the kernel counts with everything else of the user, which comes and goes meanwhile.
    assert count == 5 if tier == "bubblewrap" or os.geteuid() == 0 else count < 40


def test_the_fork_bomb_gets_through_without() -> None:
    assert Sandbox("unsafe").run(FORKS).stdout == b"40\n"


@every_tier
def test_threads_are_limited_too(tier: Tier) -> None:
    code = """
import threading
stop, count = threading.Event(), 0
try:
    for _ in range(200):
        threading.Thread(target=stop.wait).start()
        count += 1
except RuntimeError:
    pass
stop.set()
print(count)
"""
    count = int(sandbox_or_skip(tier).run(code, limits=Limits(memory_bytes=4 << 30)).stdout)
    assert 8 <= count < 100
    assert Sandbox("unsafe").run(code, limits=Limits(memory_bytes=4 << 30)).stdout == b"200\n"


SURVIVOR = """
import os
if os.fork() == 0:
    for leave in (os.setsid, lambda: os.setpgid(0, 0)):
        try: leave()
        except OSError: pass
    if os.fork() == 0:
        open("born", "w").close()
        for descriptor in range(3): os.close(descriptor)
        os.execv("/bin/sleep", ["sleep", open("marker").read()])
    os._exit(0)
os.wait()
while not os.path.exists("born"): pass
"""


def running(marker: str) -> list[int]:
    """Processes that have a word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and marker.encode() in (entry / "cmdline").read_bytes()
                and is_alive(int(entry.name))
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def end(marker: str) -> list[int]:
    """Ends what a broken sandbox would leave, and says what that was."""
    found = running(marker)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


@pytest.mark.parametrize("last", ["", "while True: pass\n"], ids=["its program ends", "its program is ended"])
@every_tier
def test_a_process_that_leaves_its_family_ends_with_it(tier: Tier, last: str) -> None:
    marker = f"300.{secrets.randbelow(10**15):015}"
    limits = Limits(processes=6, cpu_seconds=2, seconds=120)
    outcome = sandbox_or_skip(tier).run(SURVIVOR + last, files={"marker": marker}, limits=limits)
    survivors = end(marker)
    assert outcome.killed_by == ("cpu" if last else None), outcome
    assert survivors == []


def test_it_survives_without() -> None:
    marker = f"300.{secrets.randbelow(10**15):015}"
    Sandbox("unsafe").run(SURVIVOR, files={"marker": marker}, limits=Limits(processes=6))
    for _ in range(2000):  # until it has become `sleep`
        if running(marker):
            break
        time.sleep(0.01)
    survivors = end(marker)
    assert len(survivors) == 1


@every_tier
def test_one_large_file_is_refused(tier: Tier) -> None:
    code = f"open('large', 'wb').write(bytes({3 * MIB}))"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(disk_bytes=2 * MIB))
    assert b"File too large" in outcome.stderr or outcome.killed_by == "disk"


@every_tier
def test_many_files_that_fill_the_disk_end_the_program(tier: Tier) -> None:
    code = f"import itertools\nfor i in itertools.count(): open(str(i), 'wb').write(bytes({MIB}))"
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(disk_bytes=8 * MIB, files=10**6))
    assert outcome.killed_by == "disk"


@every_tier
def test_files_without_a_name_count_too(tier: Tier) -> None:
    code = f"""
import os, signal
held = []
for i in range(20):
    held.append(open("f", "wb")); held[-1].write(bytes({MIB})); held[-1].flush(); os.remove("f")
print("full", flush=True)
signal.pause()
"""
    outcome = sandbox_or_skip(tier).run(code, limits=Limits(disk_bytes=8 * MIB, seconds=60))
    assert outcome.killed_by == "disk"


@every_tier
def test_many_empty_files_end_the_program(tier: Tier) -> None:
    code = "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()"
    assert sandbox_or_skip(tier).run(code, limits=Limits(files=200)).killed_by == "files"


@every_tier
def test_what_is_too_much_at_the_end_is_said(tier: Tier) -> None:
    """Also when the program ends before anyone looks."""
    outcome = sandbox_or_skip(tier).run("for i in range(30): open(str(i), 'w').close()", limits=Limits(files=20))
    assert outcome.killed_by == "files"


@every_tier
def test_a_folder_deeper_than_paths_can_say_is_removed(tier: Tier) -> None:
    code = "import os\nfor _ in range(3000): os.mkdir('d' * 50); os.chdir('d' * 50)"
    assert sandbox_or_skip(tier).run(code, limits=Limits(files=10**6)).killed_by == "files"


@every_tier
def test_a_folder_that_cannot_be_read_hides_nothing(tier: Tier) -> None:
    code = "import os\nos.mkdir('d', 0o300)\nfor i in range(40): open(f'd/{i}', 'w').close()"
    assert sandbox_or_skip(tier).run(code, limits=Limits(files=30)).killed_by == "files"


HOST = """
import sys
from openbook.core.sandbox.sandbox import Sandbox
Sandbox(sys.argv[1]).run("import time; time.sleep(300)")
"""


@every_tier
def test_a_program_ends_when_its_host_is_killed(tier: Tier, tmp_path: Path) -> None:
    sandbox_or_skip(tier)
    temporary = tmp_path / "of_the_host"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", HOST, tier], env=environment) as host:
        try:
            while not running(str(temporary)):  # its folder's name is in its command line
                assert host.poll() is None
                time.sleep(0.01)
        finally:
            host.kill()
    while running(str(temporary)):
        time.sleep(0.01)


@pytest.mark.parametrize(
    "field", ["seconds", "cpu_seconds", "memory_bytes", "output_bytes", "disk_bytes", "files", "processes"]
)
def test_a_limit_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Limits(**{field: 0})  # type: ignore[arg-type]
