"""Runs of recipes in several processes that this one starts, and their logs. As a program: one of these processes.

Several runs follow each other in the same processes, since to begin one (to import torch) takes longer than a small run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def begun(folder: Path, jobs: Sequence[Mapping[str, Any]], processes: int = 2, **environment: str) -> list[Any]:
    """The processes, each of which runs all of `jobs`: {"values": of a recipe, "resume": bool}, or "copy": the folder
    into which it reads and writes the newest checkpoint of the run. "fails": [rank, step] where an error is raised; "lost_s":
    after so long a silence a process is lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps(list(jobs)), "utf-8")
    base = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    own = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes), "PYTHONPATH": str(_HERE)}
    command = [sys.executable, "-W", "error::UserWarning:openbook", str(Path(__file__).resolve()), str(folder)]
    return [
        subprocess.Popen(
            [*command, str(rank)],
            env=base | own | {"RANK": str(rank)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]


def ended(started: Sequence[Any], timeout_s: float = 600) -> list[tuple[int, str]]:
    """(exit status, all that it said) of each; those that are left when the time is over are killed."""
    found = []
    try:
        for one in started:
            said, errors = one.communicate(timeout=timeout_s)
            found.append((one.returncode, said + errors))
    finally:
        for one in started:
            if one.poll() is None:
                one.kill()
                one.communicate()
    return found


def run(folder: Path, jobs: Sequence[Mapping[str, Any]], processes: int = 2, **environment: str) -> None:
    """All of `jobs`, one after the other. AssertionError with what was said where a process fails."""
    for status, said in ended(begun(folder, jobs, processes, **environment)):
        assert status == 0, said


def main(folder: Path, rank: int) -> None:
    import torch.distributed as dist

    from openbook.core.errors import OpenbookError
    from openbook.training.recipe import recipe_of
    from openbook.training.run import train

    count = int(os.environ["WORLD_SIZE"])
    for number, job in enumerate(json.loads((folder / "jobs.json").read_text("utf-8"))):
        store = dist.FileStore(str(folder / f"store-{number}"), count)
        lost = timedelta(seconds=job.get("lost_s", 100))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=lost)
        try:
            recipe = recipe_of(job["values"])
            if "copy" in job:
                _copy(recipe, Path(job["copy"]))
                continue
            fails = job["fails"][1] if job.get("fails", [None])[0] == rank else None
            outcome = train(recipe, resume=job.get("resume", False), watch=partial(_watch, fails=fails))
        except OpenbookError as error:
            print(f"{type(error).__name__}: {error.message}; {error.remedy}", file=sys.stderr, flush=True)
            sys.exit(3)
        if outcome.ended == "interrupted":
            sys.exit(130)


def _copy(recipe: Any, to: Path) -> None:
    """The newest checkpoint of the recipe's run, read and written again."""
    from openbook.training import checkpoint
    from openbook.training.parallel import join_ranks, leave_ranks
    from openbook.training.run import open_run

    loop = open_run(recipe, join_ranks()).loop
    checkpoint.resume(loop, checkpoint.checkpoints(Path(recipe.out))[-1])
    checkpoint.save(loop, to, in_parts=recipe.checkpoint == "sharded")
    loop.ranks.wait()
    del loop
    leave_ranks()


def _watch(status: Any, fails: int | None) -> None:
    """Says the number of the step; the one that `fails` raises."""
    from openbook.core.errors import BadData

    print(status.step.number, flush=True)
    if status.step.number == fails:
        raise BadData("there are no rows left", "give more data")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(Path(sys.argv[1]), int(sys.argv[2]))
