"""A directory is one run's at a time, and free again however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.training.place import held
from openbook.training.run import train
from small_runs import recipe


def test_two_runs_do_not_write_into_one_directory(tmp_path: Path) -> None:
    one = recipe(tmp_path)
    with held(Path(one.out), resume=False):
        for resume in (False, True):
            with pytest.raises(UsageError, match="another process is at"):
                train(one, resume=resume)
    assert train(one).ended == "done"
    with pytest.raises(UsageError, match="holds a run already"):
        train(one)


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from openbook.training.place import held\n"
        "with held(Path(sys.argv[1]), resume=True):\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(UsageError), held(tmp_path, resume=True):
            pass
        os.kill(process.pid, signal.SIGKILL)
    with held(tmp_path, resume=True):
        pass


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UsageError, match="is a file"), held(tmp_path / "file", resume=False):
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UsageError, match="cannot be written"), held(tmp_path / "file" / "run", resume=False):
        pass
