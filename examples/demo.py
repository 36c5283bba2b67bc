"""`make demo`: indexes the sample library and asks it, with the commands that a user would type.

Answers come from documents in two languages and six formats; the last questions have no answer there, and it says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = (
    "How many days of annual leave does everybody have?",
    "What is the price of the charging plug LF-C80?",
    "Up to which rate does the company pay for a single room in Oslo?",
    "试用期是多长时间？",
    "直流充电桩的单价是多少？",
    "上海的住宿费上限是多少？",
    "Which company insures the ferries against storms?",
)


def openbook(*arguments: str) -> None:
    """Runs one command and shows it as it would be typed."""
    print(
        "\n$ openbook " + " ".join(f'"{a}"' if " " in a or "？" in a or "?" in a else a for a in arguments), flush=True
    )
    environment = os.environ | {"OPENBOOK_HOME": str(ROOT / ".demo")}
    subprocess.run([sys.executable, "-m", "openbook", *arguments], env=environment, cwd=ROOT, check=True)


def main() -> None:
    began = time.perf_counter()
    openbook("add", "examples/library", "docs", "--exclude", "*.py")
    for number, question in enumerate(QUESTIONS):
        openbook("ask", question)
        if number == 0:
            print(f"\n(the first cited answer came {time.perf_counter() - began:.1f} s after the start)")


if __name__ == "__main__":
    main()
