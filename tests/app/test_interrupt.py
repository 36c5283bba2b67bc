"""A Ctrl-C in the middle of `openbook add`: one calm line, nothing lost, no process left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from openbook.assistant.desk import Library

DOCUMENTS = 80
INTERRUPTIBLE = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('openbook', run_name='__main__')"
)
"""`python -m openbook` that hears Ctrl-C also where a shell runs the tests in the background, which has them ignore it."""


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def committed(directory: Path) -> int:
    if not (directory / "library.sqlite3").exists():
        return 0
    library = Library.open(directory, create=False)
    try:
        return len(library.documents())
    except Exception:  # the tables are being made at this moment
        return 0
    finally:
        library.close()


def test_ctrl_c_during_add_keeps_what_was_committed_says_so_and_leaves_no_worker(tmp_path: Path) -> None:
    docs, directory = tmp_path / "docs", tmp_path / "library"
    docs.mkdir()
    for number in range(DOCUMENTS):  # long ones, so that the end is far away when the first few are there
        (docs / f"{number}.md").write_text(f"The walrus number {number} swims. " * 5_000)
    command = [sys.executable, "-c", INTERRUPTIBLE, "add", str(docs), "-L", str(directory), "--embedder", "none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as adding:
        while committed(directory) < 5 and adding.poll() is None:
            time.sleep(0.01)
        workers = children(adding.pid)
        adding.send_signal(signal.SIGINT)
        out, errors = adding.communicate(timeout=60)
    assert (adding.returncode, out) == (130, "")
    last = errors.splitlines()[-1]
    assert "interrupted" in last
    assert "goes on from there" in last
    assert "Traceback" not in errors
    assert workers
    assert not any(is_alive(pid) for pid in workers)
    with Library.open(directory, create=False) as library:
        kept = len(library.documents())
        assert 5 <= kept < DOCUMENTS
        assert library.check() == []
        assert library.add(docs).totals()["read"] == DOCUMENTS - kept
