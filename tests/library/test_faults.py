"""`kill -9` in the middle of a sync: the library opens, passes `check`, continues, and ends as if nothing had happened.

The process is killed at numbered fault points: before and after each statement of a document, around commits,
checkpoints and the making of derived indexes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openbook.assistant.desk import Library
from openbook.library.split.settings import SplitSettings

SYNC = """
import sys
from openbook.assistant.desk import Library
from openbook.core import faults
from openbook.library.catalogue import connection
connection._CHECKPOINT_PAGES = 100
with Library.open(sys.argv[1], create=False) as library:
    report = library.sync()
    assert not report.failures, report.failures
print(faults._passed)
"""


def write(path: Path, seed: int, paragraphs: int = 30) -> None:
    lines = [
        f"Paragraph {n} of text {seed} speaks of item {seed * 1000 + n} and of its box." for n in range(paragraphs)
    ]
    path.write_text(f"# Text {seed}\n\n" + "\n\n".join(lines))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library of twelve documents, and their folder after four were changed, two removed, one renamed, three added."""
    root = tmp_path_factory.mktemp("faults")
    folder = root / "docs"
    folder.mkdir()
    for seed in range(12):
        write(folder / f"text{seed:02}.md", seed)
    (folder / "copy.md").write_bytes((folder / "text00.md").read_bytes())
    with Library.open(root / "library", embedder="none", split=SplitSettings(chunk_tokens=24)) as library:
        library.add(folder)
    for seed in (1, 3, 5, 7):
        write(folder / f"text{seed:02}.md", seed + 100)
    for seed in (2, 4):
        (folder / f"text{seed:02}.md").unlink()
    (folder / "text06.md").rename(folder / "renamed.md")
    for seed, paragraphs in ((20, 30), (21, 400), (22, 30)):
        write(folder / f"text{seed:02}.md", seed, paragraphs)
    return root / "library", folder


def run_sync(library: Path, fault: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OPENBOOK_FAULT": fault}
    return subprocess.run(
        [sys.executable, "-c", SYNC, str(library)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def exported(library: Path, target: Path) -> dict[str, bytes]:
    with Library.open(library, create=False) as one:
        assert one.check() == []
        one.export(target)
    return {name: (target / name).read_bytes() for name in ("documents.jsonl", "chunks.jsonl")}


@pytest.fixture(scope="module")
def uninterrupted(
    prepared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, bytes]]:
    """How many fault points a whole sync passes, and what it leaves."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(prepared[0], root / "library")
    done = run_sync(root / "library", "any:1000000000")
    assert done.returncode == 0, done.stderr
    return int(done.stdout), exported(root / "library", root / "export")


def killed_at(point: int, prepared: tuple[Path, Path], uninterrupted: tuple[int, dict[str, bytes]], root: Path) -> None:
    shutil.copytree(prepared[0], root / "library")
    done = run_sync(root / "library", f"any:{point}")
    assert done.returncode == -signal.SIGKILL, f"point {point} was not reached: {done.stderr}"
    with Library.open(root / "library", create=False) as library:
        assert library.check() == []
        assert library.search("item box", mode="bm25")
        library.sync()
    assert exported(root / "library", root / "export") == uninterrupted[1]


@pytest.mark.parametrize("tenth", range(10))
def test_killed_at_one_of_ten_moments(tenth, prepared, uninterrupted, tmp_path):
    points = uninterrupted[0]
    assert points > 500
    killed_at(1 + tenth * (points - 1) // 9, prepared, uninterrupted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fiftieth", range(50))
def test_killed_at_one_of_fifty_moments(fiftieth, prepared, uninterrupted, tmp_path):
    killed_at(2 + fiftieth * (uninterrupted[0] - 2) // 50, prepared, uninterrupted, tmp_path)


@pytest.mark.parametrize("fault", ["statement:200", "commit:9", "checkpoint:1", "checkpoint:2", "merge:1", "merge:2"])
def test_killed_at_each_kind_of_boundary(fault, prepared, uninterrupted, tmp_path):
    shutil.copytree(prepared[0], tmp_path / "library")
    done = run_sync(tmp_path / "library", fault)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_sync(tmp_path / "library", "")
    assert exported(tmp_path / "library", tmp_path / "export") == uninterrupted[1]
