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
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def begun(folder: Path, jobs: Sequence[Mapping[str, Any]], processes: int = 2, **environment: str) -> list[Any]:
    """The processes, each of which runs all of `jobs`: {"values": of a recipe, "resume": bool}."""
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


def ended(started: Sequence[Any], timeout_s: float = 240) -> list[tuple[int, str]]:
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
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=timedelta(seconds=100))
        try:
            recipe = recipe_of(job["values"])
            outcome = train(recipe, resume=job.get("resume", False), watch=_say_number)
        except OpenbookError as error:
            print(f"{type(error).__name__}: {error.message}; {error.remedy}", file=sys.stderr, flush=True)
            sys.exit(3)
        if outcome.ended == "interrupted":
            sys.exit(130)


def _say_number(status: Any) -> None:
    print(status.step.number, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(Path(sys.argv[1]), int(sys.argv[2]))
