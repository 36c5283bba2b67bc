"""Workers with limits: results in order, failures alone, no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.core.errors import OpenbookError
from openbook.core.sandbox import WorkerFailure, WorkerPool


@pytest.fixture(autouse=True)
def targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def pool(target: str, **settings: object) -> WorkerPool:
    return WorkerPool(f"sandbox_targets:{target}", **settings)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_results_come_in_order_each_with_its_task() -> None:
    with pool("double", workers=3) as workers:
        assert list(workers.map(range(2000))) == [(task, task * 2) for task in range(2000)]
        assert list(workers.map([5])) == [(5, 10)]  # the pool can be used again


def test_arguments_and_initializer_reach_the_workers() -> None:
    with pool("add", arguments=[10, "!"]) as workers:
        assert list(workers.map([1, 2])) == [(1, "11!"), (2, "12!")]
    with pool("whoami", initializer="sandbox_targets:set_greeting", initargs=["good day"], nice=3) as workers:
        [(_, (pid, parent, nice, threads, greeting))] = workers.map([0])
    assert (parent, threads, greeting) == (os.getpid(), "1", "good day")
    assert nice == os.nice(0) + 3
    assert not is_alive(pid)


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for task in range(100_000):
            taken += 1
            yield task

    with pool("double") as workers:
        results = workers.map(tasks())
        assert next(results) == (0, 0)
        assert taken < 500
        results.close()


@pytest.mark.parametrize(
    ("task", "kind", "text"),
    [
        ("fail", "error", "x.pdf cannot be read"),
        ("bug", "error", "ValueError: some bug"),
        ("memory", "memory", "300 MiB"),
        ("exit", "crash", "exit code 3"),
        ("kill", "memory", "killed"),
        ("segfault", "crash", "SIGSEGV"),
    ],
)
def test_a_bad_task_fails_alone(task: str, kind: str, text: str) -> None:
    tasks = [*"abcdef", task, *"ghijkl", task, "m"]
    with pool("act", workers=2, memory_bytes=300 << 20) as workers:
        results = list(workers.map(tasks))
    assert [given for given, _ in results] == tasks
    for given, value in results:
        if given != task:
            assert value == given
        else:
            assert isinstance(value, WorkerFailure)
            assert (value.kind, text in value.message) == (kind, True)
    failure = dict(results)[task]
    assert (failure.error, failure.remedy) == ("UnreadableFile", "get another") if task == "fail" else failure.message


def test_a_task_that_hangs_is_ended_and_the_rest_goes_on() -> None:
    with pool("act", timeout_s=0.5) as workers:
        results = dict(workers.map(["a", "hang", "b"]))
    assert (results["a"], results["b"]) == ("a", "b")
    assert results["hang"].kind == "timeout"
    assert "0.5 s" in results["hang"].message


def test_large_results_and_prints_do_not_disturb_the_frames() -> None:
    tasks = ["big", "print", "big", "x"] * 5
    with pool("act", workers=2) as workers:
        for task, value in workers.map(tasks):
            assert value == ("x" * (5 << 20) if task == "big" else task)


def test_large_tasks_do_not_block() -> None:
    tasks = ["y" * (3 << 20)] * 8
    with pool("act") as workers:
        assert [value for _, value in workers.map(tasks)] == tasks


def test_a_worker_that_cannot_start_is_an_error() -> None:
    with pool("missing") as workers, pytest.raises(OpenbookError, match="cannot start"):
        list(workers.map([1]))
    with (
        pool("double", initializer="sandbox_targets:broken_start") as workers,
        pytest.raises(OpenbookError, match="no good"),
    ):
        list(workers.map([1]))


def test_an_exception_in_the_loop_ends_the_workers() -> None:
    workers = pool("whoami", workers=2)
    results = workers.map(range(1000))
    _, (pid, *_) = next(results)
    assert is_alive(pid)
    results.close()
    assert not is_alive(pid)


def test_a_killed_parent_takes_its_workers_along(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from openbook.core.sandbox import WorkerPool\n"
        "results = WorkerPool('sandbox_targets:announce').map([sys.argv[2]])\n"
        "next(results)\n"
    )
    note = tmp_path / "note"
    os.mkfifo(note)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(note)]
    with subprocess.Popen(command) as parent:
        worker = int(note.read_text())  # written in the middle of a task that never ends
        was_alive = is_alive(worker)
        parent.send_signal(signal.SIGKILL)
    assert was_alive
    for _ in range(200):
        if not is_alive(worker):
            break
        time.sleep(0.02)
    assert not is_alive(worker)
