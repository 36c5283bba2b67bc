"""A reward that is a verifier program: shut in the sandbox, started once for each completion, it prints a number."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openbook.core.errors import OpenbookError, UsageError
from openbook.core.sandbox.outcome import Limits, Outcome
from openbook.core.sandbox.sandbox import Sandbox
from openbook.core.threads import available_cpus
from openbook.training.rewards.sampled import Fault, FaultKind, Sampled, Score

_OUTPUT_BYTES = 64 << 10
_KINDS: dict[str, FaultKind] = {"time": "timeout", "cpu": "timeout", "memory": "memory"}


class ProgramReward:
    """The program gets `{"row", "prompt", "completion", "tokens", "is_finished"}` as JSON on stdin; the last line that it prints
    is the reward. A file that ends in .py is run by this Python, a script by what its first line
    names, any other by itself.
    """

    def __init__(
        self,
        file: str,
        name: str,
        *,
        timeout_s: float = 10.0,
        memory_bytes: int = 1 << 30,
        unsafe_local: bool = False,
    ) -> None:
        """UsageError for a file that is not there, SandboxUnavailable where no sandbox runs, unless `unsafe_local`."""
        path = Path(os.path.expandvars(file)).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"the verifier {path} is not there", "give program: FILE")
        self.name = name
        self._sandbox = Sandbox.best(readable=[path], unsafe_local=unsafe_local)
        self._program, self._files = _program_of(path)
        self._limits = Limits(
            seconds=timeout_s,
            cpu_seconds=max(1, math.ceil(timeout_s)),
            memory_bytes=memory_bytes,
            output_bytes=_OUTPUT_BYTES,
        )

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        with ThreadPoolExecutor(max_workers=available_cpus()) as pool:
            return list(pool.map(self._score, samples))

    def _score(self, sample: Sampled) -> Score:
        given = {
            "row": dict(sample.row),
            "prompt": [dict(one) for one in sample.prompt],
            "completion": sample.completion,
            "tokens": sample.tokens,
            "is_finished": sample.is_finished,
        }
        try:
            return _read(self._sandbox.run(self._program, self._files, json.dumps(given), self._limits))
        except OpenbookError as error:
            return Fault("error", str(error))


def _program_of(path: Path) -> tuple[str | list[str], dict[str, bytes]]:
    """What the sandbox runs, and the files in its folder: scripts lie there, for others may not be let to theirs."""
    content = path.read_bytes()
    if path.suffix == ".py":
        return content.decode("utf-8"), {}
    if content.startswith(b"#!"):
        interpreter = content.partition(b"\n")[0][2:].decode().split(maxsplit=1)
        return [*interpreter, path.name], {path.name: content}
    return [str(path)], {}


def _read(outcome: Outcome) -> Score:
    """The number of the last line; or why there is none."""
    if outcome.killed_by is not None:
        return Fault(_KINDS.get(outcome.killed_by, "error"), f"the verifier passed its limit: {outcome.killed_by}")
    if outcome.exit:
        last = outcome.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return Fault("error", f"the verifier ended with exit code {outcome.exit}: {last[:300]}")
    said = outcome.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        return float(said)
    except ValueError:
        return Fault("nonsense", f"the verifier printed {said[:100]!r}, no number")
