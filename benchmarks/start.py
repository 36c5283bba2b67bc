"""How long a user waits for a command in a cold process, and for the first cited answer of the demo.

    python benchmarks/start.py [--runs 15] [--json FILE]

Commands run in turn, each in a process of its own, on the sample library; medians and the slowest. The files are in the
page cache and the compiled kernels on disk, as after any first use. The demo's clock starts with an empty library.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import machine

ROOT = Path(__file__).resolve().parents[1]
QUERY = "annual leave in the first year"
COMMANDS = {
    "--help": ["--help"],
    "search": ["search", QUERY],
    "search --mode bm25": ["search", QUERY, "--mode", "bm25"],
    "ask": ["ask", "How many days of annual leave does everybody have?"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "start.json")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine.describe(), "runs": options.runs}
    report["demo"] = {"first_answer_s": [round(first_answer(), 2) for _ in range(3)]}
    with tempfile.TemporaryDirectory() as home:
        openbook(home, "add", "examples/library", "docs", "--exclude", "*.py")
        spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(options.runs):
            for name, arguments in COMMANDS.items():
                spent[name].append(openbook(home, *arguments))
    report["commands"] = {
        name: {"median_s": round(float(np.median(one)), 3), "slowest_s": round(max(one), 3)}
        for name, one in spent.items()
    }
    options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps({key: report[key] for key in ("demo", "commands")}, indent=1))


def openbook(home: str, *arguments: str) -> float:
    """Seconds of one command from its start to its end."""
    began = time.perf_counter()
    command = [str(Path(sys.executable).with_name("openbook")), *arguments]
    subprocess.run(command, env=os.environ | {"OPENBOOK_HOME": home}, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_answer() -> float:
    """Seconds of what the demo does until its first answer stands there: an empty library, `add`, one `ask`."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        openbook(home, "add", "examples/library", "docs", "--exclude", "*.py")
        openbook(home, *COMMANDS["ask"])
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
