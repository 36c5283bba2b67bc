"""The log of a run: lines of JSON that any reader takes, and none from behind a checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from openbook.training.log import NAME, Log, read_log


def _strictly(path: Path) -> list[dict[str, Any]]:
    """As readers take it that know no NaN."""

    def refused(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refused) for line in path.read_text("utf-8").splitlines()]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write({"step": 1, "loss": math.nan, "norm": math.inf, "reward": 0.5})
    log.close()
    assert _strictly(tmp_path / NAME) == [{"step": 1, "loss": None, "norm": None, "reward": 0.5}]


def test_a_log_of_before_that_has_some_is_mended(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.0}\n{"step": 3, "lo', "utf-8")
    Log(tmp_path, done=1).close()
    assert _strictly(tmp_path / NAME) == list(read_log(tmp_path / NAME)) == [{"step": 1, "loss": None}]
