"""Peak memory while one large file is added: it should be that of a file of a quarter of the size.

`python benchmarks/large_files.py`: a text, a table and a file of JSON lines, each of 120 and of 480 MB
(`--sizes`), made of SQuAD paragraphs,
are added to a new library without an embedder; `--embedder` adds a text of 10 and of 40 MB with it. Memory is that of all
processes: resident (shared pages counted in each) and proportional, sampled every 250 ms. The result is written after each file.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import datasets
import machine

RESULTS = Path(__file__).parent / "results" / "large_files.json"
ADD = """
import json, sys, time
from pathlib import Path
from openbook.core.threads import set_thread_environment
set_thread_environment()
from openbook import Library
source, out, embedder = sys.argv[1:]
library = Library.open(Path(out) / "library", embedder=None if embedder == "default" else "none")
began = time.perf_counter()
report = library.add(source, max_file_bytes=10**12, file_timeout_s=600.0)
seconds = time.perf_counter() - began
assert not report.failures, report.failures
document = library.documents()[0]
assert library.search("the first university of the country", mode="bm25")
print(json.dumps({"seconds": seconds, "chunks": report.totals()["chunks"], "characters": report.receipts[0]["characters"]}))
"""


def lines(kind: str, size_bytes: int) -> Iterator[str]:
    """Random paragraphs in the form of `kind` until they have `size_bytes`; always the same ones."""
    paragraphs = [passage.text for passage in datasets.squad_train(datasets.data_folder()).passages]
    choose = random.Random(7)
    done = number = 0
    while done < size_bytes:
        number += 1
        text = choose.choice(paragraphs)
        if kind == "jsonl":
            line = json.dumps({"id": number, "text": text, "number": choose.randint(1, 99)}, ensure_ascii=False) + "\n"
        elif kind == "csv":
            quoted = text[:300].replace('"', '""')
            line = f'{number},Title {number},"{quoted}",{choose.randint(1, 9999) / 100}\n'
        else:
            line = text + "\n\n"
        yield line
        done += len(line.encode())


def make(path: Path, size_bytes: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerow(["Number", "Title", "Text", "Price"])
        file.writelines(lines(path.suffix[1:], size_bytes))


def measured(command: list[str]) -> dict[str, Any]:
    """What the command printed, with the peaks of the memory of its process tree."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peaks = {"peak_rss_mb": 0.0, "peak_pss_mb": 0.0}
    ended = threading.Event()

    def watch() -> None:
        tree = psutil.Process(process.pid)
        while not ended.wait(0.25):
            try:
                found = [one.memory_full_info() for one in [tree, *tree.children(recursive=True)]]
            except psutil.Error:
                continue
            peaks["peak_rss_mb"] = max(peaks["peak_rss_mb"], sum(one.rss for one in found) / 1e6)
            peaks["peak_pss_mb"] = max(peaks["peak_pss_mb"], sum(getattr(one, "pss", 0) for one in found) / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    out, errors = process.communicate()
    ended.set()
    thread.join()
    if process.returncode:
        raise SystemExit(f"adding failed:\n{errors[-3000:]}")
    return json.loads(out.strip().splitlines()[-1]) | {name: round(peak, 1) for name, peak in peaks.items()}


def run(kind: str, size_mb: int, embedder: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"large.{kind}"
        make(path, size_mb * 1_000_000)
        found = measured([sys.executable, "-c", ADD, str(path), folder, embedder])
        disk = sum(one.stat().st_size for one in (Path(folder) / "library").rglob("*") if one.is_file())
    return found | {"mb_per_s": round(size_mb / found["seconds"], 2), "disk_mb": round(disk / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default="txt,csv,jsonl")
    parser.add_argument("--sizes", default="120,480", help="megabytes")
    parser.add_argument("--embedder", action="store_true", help="a text of 10 and of 40 MB with the default embedder")
    arguments = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    sizes = [10, 40] if arguments.embedder else [int(size) for size in arguments.sizes.split(",")]
    name = "embedder" if arguments.embedder else "words only"
    for kind in ["txt"] if arguments.embedder else arguments.kinds.split(","):
        rows = known[f"{kind}, {name}"] = {}
        for size_mb in sizes:
            rows[str(size_mb)] = row = run(kind, size_mb, "default" if arguments.embedder else "none")
            print(f"{kind:6} {size_mb:4} MB  {row}", flush=True)
            if size_mb == sizes[-1] != sizes[0]:
                small, large = (rows[str(one)] for one in (sizes[0], sizes[-1]))
                rows["ratio"] = {key: round(large[key] / small[key], 3) for key in ("peak_rss_mb", "peak_pss_mb")}
            known["machine"] = machine.describe()
            known["taken"] = time.strftime("%Y-%m-%d")
            RESULTS.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
