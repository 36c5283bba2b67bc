"""How many altered sentences the checks mark, and how many true ones they mark wrongly.

    python benchmarks/checked_sentences.py [--show] [--out FILE.json]

200 sentences with the passages they cite, half of them altered (tests/assistant/answer/data/README.md), and, from the
data folder where it is there, sentences of SQuAD and CMRC 2018 against the paragraph they stand in: all true.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import datasets
import machine
from openbook.assistant.answer.verify import verify
from openbook.library.split.sentences import sentence_spans

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = ROOT / "tests" / "assistant" / "answer" / "data" / "checked_sentences.jsonl"
PARAGRAPHS = 300


def share(rows: list[dict[str, Any]]) -> dict[str, float]:
    altered = [row for row in rows if row["altered"]]
    true = [row for row in rows if not row["altered"]]
    return {
        "altered": len(altered),
        "altered_marked": round(sum(bool(row["found"]) for row in altered) / max(1, len(altered)), 4),
        "kind_named": round(sum(row["altered"] in row["found"] for row in altered) / max(1, len(altered)), 4),
        "true": len(true),
        "true_marked": round(sum(bool(row["found"]) for row in true) / max(1, len(true)), 4),
    }


def verbatim(name: str, folder: Path) -> dict[str, float]:
    """Sentences of the first paragraphs of a set, each against its own paragraph."""
    count = marked = 0
    for passage in datasets.READERS[name](folder).passages[:PARAGRAPHS]:
        for start, end in sentence_spans(passage.text):
            count += 1
            marked += bool(verify(passage.text[start:end], passage.text))
    return {"true": count, "true_marked": round(marked / count, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="print what is wrong in the half that rules are made on")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "checked_sentences.json")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in SENTENCES.read_text("utf-8").splitlines()]
    for row in rows:
        failures = verify(row["sentence"], row["passage"])
        row["found"] = [failure.kind for failure in failures]
        if arguments.show and row["half"] == "fit" and bool(failures) != bool(row["altered"]):
            print(f"  {row['id']} {row['altered']}: {row['sentence']} {[failure.message for failure in failures]}")
    groups = {"all": rows}
    for key in ("half", "language"):
        for row in rows:
            groups.setdefault(row[key], []).append(row)
    for row in rows:
        if row["altered"]:
            groups.setdefault(f"altered {row['altered']}", []).append(row)
    result: dict[str, Any] = {name: share(group) for name, group in groups.items()}
    folder = datasets.data_folder()
    if folder.is_dir():
        result |= {f"{name}, word for word": verbatim(name, folder) for name in ("squad", "cmrc")}
    print(f"{'':24}{'altered':>9}{'marked':>9}{'true':>9}{'marked':>9}")
    for name, row in result.items():
        cells = [row.get("altered", 0), row.get("altered_marked", 0.0), row["true"], row["true_marked"]]
        print(f"{name:24}{cells[0]:9.0f}{cells[1]:9.3f}{cells[2]:9.0f}{cells[3]:9.4f}")
    written = {"machine": machine.describe(), "shares": result}
    arguments.out.write_text(json.dumps(written, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
