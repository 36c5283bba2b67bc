"""Ingest and search against pipelines of `sentence-transformers` + `chromadb` and of `txtai`, on the same passages.

`python benchmarks/library.py --peer-python VENV/bin/python`: every system reads the same 10,000 SQuAD paragraphs, as one JSONL
and as 10,000 files, embeds them with the same weights, commits them to disk, and answers the same 200 questions. Systems take
turns; the clock runs from reading the input to the last commit, after the model is loaded. Peak memory is that of the
whole process tree. `--memory` compares peak memory at 2,000 and 10,000 documents instead.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

import datasets
import machine

RESULTS = Path(__file__).parent / "results" / "library.json"
OURS = """
import json, statistics, sys, time
from pathlib import Path
from openbook.core.threads import set_thread_environment
set_thread_environment()
from openbook import Library
from openbook.library.split.settings import SplitSettings
source, queries, out = sys.argv[1:]
library = Library.open(Path(out) / "library", split=SplitSettings(chunk_tokens=512))
library.store.embedder().embed(["warm"], "passage")
began = time.perf_counter()
report = library.add(source, records=not Path(source).is_dir())
seconds = time.perf_counter() - began
assert not report.failures, report.failures[:3]
questions = json.loads(Path(queries).read_text("utf-8"))
for question in questions[:10]:
    library.search(question)
times = []
for question in questions:
    start = time.perf_counter()
    library.search(question)
    times.append((time.perf_counter() - start) * 1000)
print(json.dumps({"seconds": seconds, "passages": len(library.documents()), "search_p50_ms": statistics.median(times)}))
"""


def measured(command: list[str]) -> dict[str, Any]:
    """What the command printed, with the peak of its process tree's resident memory, sampled every 50 ms."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        while not stop.wait(0.05):
            try:
                total = sum(one.memory_info().rss for one in [tree, *tree.children(recursive=True)])
            except psutil.Error:
                continue
            peak = max(peak, total)

    thread = threading.Thread(target=watch)
    thread.start()
    out, errors = process.communicate()
    stop.set()
    thread.join()
    if process.returncode:
        raise SystemExit(f"{command[:3]} failed:\n{errors[-3000:]}")
    return json.loads(out.strip().splitlines()[-1]) | {"peak_mb": peak / 1e6}


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def prepare(work: Path, count: int) -> dict[str, Path]:
    """The passages as JSONL and as files, and 200 questions."""
    corpus = datasets.squad_train(datasets.data_folder())
    passages = corpus.passages[:count]
    jsonl = work / "passages.jsonl"
    jsonl.write_text("\n".join(json.dumps({"id": p.id, "text": p.text}) for p in passages), "utf-8")
    folder = work / "files"
    folder.mkdir()
    for number, passage in enumerate(passages):
        (folder / f"p{number:05}.txt").write_text(passage.text, "utf-8")
    known = {p.id for p in passages}
    questions = [query.text for query in corpus.queries if known & set(query.relevant)]
    queries = work / "queries.json"
    queries.write_text(json.dumps(questions[:: max(1, len(questions) // 200)][:200]), "utf-8")
    return {"jsonl": jsonl, "files": folder, "queries": queries}


def model_directory() -> str:
    from openbook.library.embed.describe import describe_default

    found = describe_default()
    if found is None:
        raise SystemExit("the default embedder is not installed: openbook setup embedder")
    return str(found.directory)


def run(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    paths = prepare(work, arguments.passages)
    systems = ["openbook", *([] if arguments.peer_python is None else filter(None, arguments.peers.split(",")))]
    rows: dict[str, list[dict[str, Any]]] = {}
    for number in range(arguments.rounds):
        for form in arguments.forms.split(","):
            for system in systems:
                out = work / f"{system}-{form}-{number}"
                out.mkdir()
                common = [str(paths[form]), str(paths["queries"]), str(out)]
                if system == "openbook":
                    command = [sys.executable, "-c", OURS, *common]
                else:
                    script = str(Path(__file__).with_name("library_peer.py"))
                    command = [arguments.peer_python, script, system, model_directory(), *common, str(arguments.batch)]
                found = measured(command) | {"disk_mb": size_of(out)}
                rows.setdefault(f"{form}: {system}", []).append(found)
                shutil.rmtree(out)
                print(f"{form:6} {system:9} {found['passages'] / found['seconds']:7.1f} passages/s", flush=True)
    return {name: summary(found) for name, found in rows.items()}


def summary(found: list[dict[str, Any]]) -> dict[str, float]:
    middle = {
        key: statistics.median(row[key] for row in found) for key in ("seconds", "search_p50_ms", "peak_mb", "disk_mb")
    }
    return {"passages_per_s": found[0]["passages"] / middle["seconds"], **middle, "rounds": len(found)}


def memory(arguments: argparse.Namespace, work: Path) -> dict[str, float]:
    """Peak memory of all processes while 2,000 and 10,000 documents are added."""
    peaks = {}
    for count in (2_000, 10_000):
        inner = work / str(count)
        inner.mkdir()
        paths = prepare(inner, count)
        out = inner / "out"
        out.mkdir()
        found = measured([sys.executable, "-c", OURS, str(paths["files"]), str(paths["queries"]), str(out)])
        peaks[str(count)] = found["peak_mb"]
        print(f"{count} documents: peak {found['peak_mb']:.0f} MB", flush=True)
    return peaks | {"ratio": peaks["10000"] / peaks["2000"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="a Python with sentence-transformers, chromadb and txtai")
    parser.add_argument("--peers", default="chroma,txtai")
    parser.add_argument("--forms", default="jsonl,files")
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--batch", type=int, default=32, help="the peers' batch size; 32 was their best of 8, 16, 32, 64, 128"
    )
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            known["memory"] = memory(arguments, Path(folder))
        else:
            known["systems"] = known.get("systems", {}) | run(arguments, Path(folder))
            known["passages"] = arguments.passages
    known["machine"] = machine.describe()
    known["minutes"] = round((time.time() - began) / 60, 1)
    for name, row in known.get("systems", {}).items():
        print(
            f"{name:18} {row['passages_per_s']:7.1f} passages/s  search p50 {row['search_p50_ms']:6.1f} ms  "
            f"peak {row['peak_mb']:6.0f} MB  disk {row['disk_mb']:5.1f} MB"
        )
    RESULTS.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
