"""Embedding speed and quality: ours in three precisions against sentence-transformers with the same weights.

    python benchmarks/embed.py --peer PEER_PYTHON [--rounds 5] [--texts 300] [--json benchmarks/results/embed.json]

Passages per second on SQuAD paragraphs (mean 164 tokens), all systems one after the other in every round, medians and
ratios; the peers run in a subprocess of PEER_PYTHON (an environment with sentence-transformers, for its other backends
also optimum), at their best batch size. Then how near each path comes to the machine's measured peak, how far the
vectors are from the peer's float32, and nDCG@10 on SciFact and Cranfield.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import machine
from datasets import cranfield, data_folder, scifact, squad
from openbook.core.threads import set_thread_environment

Vectors = NDArray[np.float32]
PEER_BACKENDS = ("float32", "bfloat16", "onnx", "onnx-int8", "openvino-int8")
PEER_BATCHES = (8, 16, 32, 64)


class System(NamedTuple):
    """`run(texts, save)` returns (seconds, vectors or None)."""

    name: str
    precision: str
    run: Any


class Peer:
    """A sentence-transformers process with one backend; `error` says why it did not start."""

    def __init__(self, python: str, backend: str, directory: Path, scratch: Path, search_path: str) -> None:
        own = scratch / backend
        shutil.copytree(directory, own)
        environment = {**os.environ, **({"PYTHONPATH": search_path} if search_path else {})}
        script = str(Path(__file__).with_name("embed_peer.py"))
        self.backend, self.batch, self._scratch = backend, 32, scratch
        self._process = subprocess.Popen(
            [python, script, str(own), backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        reply = self._read()
        self.error, self.versions = reply.get("error"), reply.get("versions")

    def __call__(self, texts: Sequence[str], *, save: bool = False) -> tuple[float, Vectors | None]:
        path = self._scratch / f"{self.backend}.npy"
        request = {"texts": list(texts), "batch": self.batch, "save": str(path) if save else None}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        seconds = float(self._read()["seconds"])
        return seconds, np.load(path) if save else None

    def choose_batch(self, texts: Sequence[str]) -> None:
        """The fastest of `PEER_BATCHES`, each warmed and timed twice on the same texts."""
        times = {}
        for batch in PEER_BATCHES:
            self.batch = batch
            times[batch] = min(self(texts)[0] for _ in range(2))
        self.batch = min(times, key=lambda batch: times[batch])

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended"}


def ours(directory: Path) -> list[System]:
    from openbook.library.embed.describe import describe_directory
    from openbook.library.embed.encoders import PRECISIONS, fastest_precision
    from openbook.library.embed.local import SentenceEmbedder
    from openbook.lm.kernels.cpu import why_not_int8

    systems = []
    for precision in PRECISIONS:
        if precision == "int8" and why_not_int8():
            continue
        embedder = SentenceEmbedder(describe_directory(directory), precision)
        embedder.embed(["compile"], "passage")

        def run(texts: Sequence[str], *, save: bool = False, embedder: Any = embedder) -> tuple[float, Vectors | None]:
            start = time.perf_counter()
            vectors = embedder.embed(texts, "passage")
            return time.perf_counter() - start, vectors if save else None

        chosen = " (auto)" if precision == fastest_precision(directory) else ""
        systems.append(System(f"openbook {precision}{chosen}", precision, run))
    return systems


def query_latency_ms(directory: Path) -> dict[str, float]:
    """p50 and p95 of one short query in a warm process, in the precision that "auto" takes."""
    from openbook.library.embed.describe import describe_directory
    from openbook.library.embed.local import SentenceEmbedder

    embedder = SentenceEmbedder(describe_directory(directory))
    times = []
    for query in squad(data_folder()).queries[:300]:
        start = time.perf_counter()
        embedder.embed([query.text], "query")
        times.append((time.perf_counter() - start) * 1e3)
    return {
        "p50": round(float(np.percentile(times[50:], 50)), 2),
        "p95": round(float(np.percentile(times[50:], 95)), 2),
    }


def operations_per_passage(directory: Path, texts: Sequence[str]) -> tuple[float, float]:
    """(arithmetic operations, tokens) of a mean passage: all matrix products, two operations a multiply-add."""
    from openbook.lm.families.bert_config import BertConfig
    from openbook.lm.tokenizers.encoder import open_encoder_tokenizer

    config = BertConfig.read(directory)
    lengths = np.array([len(one.ids) for one in open_encoder_tokenizer(directory, 256).encode(texts)], dtype=float)
    E, wide = config.hidden_size, config.intermediate_size
    linear = 2 * (4 * E * E + 2 * E * wide) * lengths
    attention = 4 * E * lengths * lengths
    return float((linear + attention).mean() * config.num_layers), float(lengths.mean())


def quality(directory: Path) -> dict[str, dict[str, float]]:
    """nDCG@10 of the dense ranking on SciFact and Cranfield in each of our precisions.

    Our float32 stands for the peer's: their vectors differ by less than 1e-6 (`largest_difference`).
    """
    from openbook.insight.evaluate.retrieval import score_ranking

    table: dict[str, dict[str, float]] = {}
    for data in (scifact(data_folder()), cranfield(data_folder())):
        texts = [passage.searchable for passage in data.passages]
        ids = [passage.id for passage in data.passages]
        for system in ours(directory):
            passages = system.run(texts, save=True)[1]
            queries = system.run([query.text for query in data.queries], save=True)[1]
            scores = queries @ passages.T
            top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
            values = [
                score_ranking([ids[i] for i in row], query.relevant)["ndcg@10"]
                for row, query in zip(top, data.queries, strict=True)
            ]
            table.setdefault(system.name, {})[data.name] = round(float(np.mean(values)), 4)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of an environment with sentence-transformers")
    parser.add_argument("--peer-path", default="", help="PYTHONPATH of the onnx and openvino peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--no-quality", action="store_true", help="speed only, quality as in the JSON file")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "embed.json")
    options = parser.parse_args()
    threads = set_thread_environment()
    from openbook.library.embed.describe import describe_default

    described = describe_default()
    if described is None:
        parser.error("the default embedder is not installed: openbook setup embedder")
    directory = described.directory
    texts = [passage.text for passage in squad(data_folder()).passages]
    texts = texts[:: max(1, len(texts) // options.texts)][: options.texts]
    report: dict[str, Any] = {"machine": machine.describe(), "threads": threads, "texts": len(texts)}
    with tempfile.TemporaryDirectory() as scratch:
        peers, report["peers_not_run"] = start_peers(options, directory, Path(scratch))
        report["peer_versions"] = {name: peer.versions for name, peer in peers.items()}
        report["speed"] = speed(peers, ours(directory), texts, options.rounds, directory)
        report["query_ms"] = query_latency_ms(directory)
        if not options.no_quality:
            report["ndcg_at_10"] = quality(directory)
        elif options.json.exists():
            report["ndcg_at_10"] = json.loads(options.json.read_text("utf-8")).get("ndcg_at_10", {})
        for peer in peers.values():
            peer.close()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print_report(report)


def start_peers(options: argparse.Namespace, directory: Path, scratch: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    peers, failed = {}, {}
    for backend in PEER_BACKENDS:
        path = "" if backend in ("float32", "bfloat16") else options.peer_path
        peer = Peer(options.peer, backend, directory, scratch, path)
        if peer.error:
            failed[backend] = peer.error
        else:
            peers[backend] = peer
    return peers, failed


def speed(
    peers: dict[str, Peer], own: list[System], texts: Sequence[str], rounds: int, directory: Path
) -> dict[str, dict[str, Any]]:
    """Every system once in each round, in turn, with the peak measured in between; medians over the rounds."""
    for peer in peers.values():
        peer.choose_batch(texts[:96])
    precisions = {"onnx": "float32", "onnx-int8": "int8", "openvino-int8": "int8"}
    systems = [System(f"sentence-transformers {n}", precisions.get(n, n), p) for n, p in peers.items()] + own
    seconds: dict[str, list[float]] = {system.name: [] for system in systems}
    vectors: dict[str, Vectors] = {}
    peaks: dict[str, float] = {}
    for turn in range(rounds):
        for system in systems:
            taken, saved = system.run(texts, save=turn == 0)
            seconds[system.name].append(taken)
            if saved is not None:
                vectors[system.name] = saved
        peaks = {name: max(value, peaks.get(name, 0)) for name, value in machine.arithmetic_peak().items()}
    operations, tokens = operations_per_passage(directory, texts)
    base = vectors["sentence-transformers float32"]
    rows = {}
    for system in systems:
        rate = len(texts) / median(seconds[system.name])
        peer_ratio = {
            f"x_{name}": round(median(a / b for a, b in zip(seconds[other], seconds[system.name], strict=True)), 2)
            for name, other in (
                ("float32", "sentence-transformers float32"),
                ("bfloat16", "sentence-transformers bfloat16"),
            )
            if other in seconds
        }
        cosine = (vectors[system.name] * base).sum(axis=1)
        rows[system.name] = {
            "passages_per_s": round(rate, 1),
            "best_passages_per_s": round(len(texts) / min(seconds[system.name]), 1),
            **peer_ratio,
            "giga_ops": round(rate * operations / 1e9),
            "share_of_peak": round(rate * operations / 1e9 / peaks[system.precision], 2),
            "largest_difference": float(f"{np.abs(vectors[system.name] - base).max():.2g}"),
            "mean_cosine": round(float(cosine.mean()), 5),
            "lowest_cosine": round(float(cosine.min()), 5),
            "batch": system.run.batch if isinstance(system.run, Peer) else None,
        }
    rows["peak_giga_ops"] = {**peaks, "tokens_per_passage": round(tokens, 1)}
    return rows


def print_report(report: dict[str, Any]) -> None:
    print(json.dumps(report["machine"]))
    columns = (
        "passages_per_s",
        "x_float32",
        "x_bfloat16",
        "giga_ops",
        "share_of_peak",
        "mean_cosine",
        "largest_difference",
    )
    print(f"{'system':40s}" + "".join(f"{name:>20s}" for name in columns))
    for name, row in report["speed"].items():
        if "passages_per_s" in row:
            print(f"{name:40s}" + "".join(f"{row.get(column, '')!s:>20s}" for column in columns))
    print("peak", report["speed"]["peak_giga_ops"], "| one query, ms", report["query_ms"])
    for name, row in report.get("ndcg_at_10", {}).items():
        print(f"{name:40s}", row)
    for name, why in report["peers_not_run"].items():
        print(f"not run: {name}: {why}")


if __name__ == "__main__":
    main()
