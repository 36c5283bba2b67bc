"""Recall of follow-up questions that were made to stand alone by rules, against the questions as they are, the joined
turns, and the stand-alone questions as people write them.

    python benchmarks/follow_ups.py [--half fit|held-out|both] [--out FILE.json]

40 dialogues of three turns (tests/assistant/answer/data/README.md) over one library: the sample library, SQuAD's
development paragraphs, XQuAD's Chinese ones, and CMRC 2018's. Counted are turns 2 and 3. "after quotations": the
history holds what the library itself answers, quotations of up to three sentences, not the short written answers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import machine
from openbook.assistant.answer.rewrite import standalone
from openbook.assistant.desk import Library
from openbook.library.retrieve.search import rank_documents

ROOT = Path(__file__).resolve().parents[1]
DIALOGUES = ROOT / "tests" / "assistant" / "answer" / "data" / "dialogues.jsonl"
DEPTH = 5
History = list[tuple[str, str]]


def build(folder: Path) -> Library:
    """The library of the benchmark, with the default embedder."""
    library = Library.open(folder / "library")
    library.add(ROOT / "examples" / "library")
    data = datasets.data_folder()
    for reader in (datasets.squad, datasets.xquad, datasets.cmrc):
        found = reader(data)
        path = folder / f"{found.name}.jsonl"
        rows = [{"id": passage.id, "title": "", "text": passage.text} for passage in found.passages]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        library.add(path, records=True)
    return library


def as_asked(turn: dict[str, Any], history: History) -> str:
    return str(turn["question"])


def joined(turn: dict[str, Any], history: History) -> str:
    return " ".join([*(question for question, _ in history), turn["question"]])


def rewritten(turn: dict[str, Any], history: History) -> str:
    return standalone(turn["question"], history)


def by_hand(turn: dict[str, Any], history: History) -> str:
    return str(turn["standalone"])


QUOTED = "after quotations"
FORMS: dict[str, Callable[[dict[str, Any], History], str]] = {
    "as asked": as_asked,
    "joined turns": joined,
    "rewritten": rewritten,
    QUOTED: rewritten,
    "by hand": by_hand,
}


def quoted_history(library: Library, history: History) -> History:
    """The earlier questions with the quotations that this library answers them with, instead of the written answers."""
    found: History = []
    for question, _ in history:
        found.append((question, library.ask(question, history=found).answer))
    return found


def measure(library: Library, dialogues: list[dict[str, Any]], *, show: bool) -> list[dict[str, Any]]:
    """One row a turn: its dialogue, kind, language, half, and for each form whether a right document is among the first."""
    paths = {f"d{row.id}": row.paths for row in library.documents()}
    rows = []
    for dialogue in dialogues:
        history: History = []
        for number, turn in enumerate(dialogue["turns"], 1):
            if number > 1:
                found = {}
                for name, form in FORMS.items():
                    query = form(turn, quoted_history(library, history) if name == QUOTED else history)
                    ids = rank_documents(library.store, query)[:DEPTH]
                    found[name] = any(
                        _is(path, relevant) for i in ids for path in paths[f"d{i}"] for relevant in turn["relevant"]
                    )
                    if show and name in ("rewritten", QUOTED) and not found[name]:
                        print(f"  missed {dialogue['id']}.{number}: {turn['question']} => {query}")
                rows.append(
                    {key: dialogue[key] for key in ("id", "kind", "language", "half")} | {"turn": number} | found
                )
            history.append((turn["question"], turn["answer"]))
    return rows


def _is(path: str, relevant: str) -> bool:
    """A file of the sample library by the end of its path, a record by its id."""
    return path.endswith(f"/{relevant}") or path.endswith(f"#{relevant}")


def table(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[dict[str, Any]]] = {"all": rows}
    for key in ("half", "language", "kind"):
        for row in rows:
            groups.setdefault(row[key], []).append(row)
    return {
        name: {"turns": len(group)} | {form: round(sum(row[form] for row in group) / len(group), 3) for form in FORMS}
        for name, group in groups.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("fit", "held-out", "both"), default="both")
    parser.add_argument("--library", type=Path, help="a folder to keep the library in between runs")
    parser.add_argument("--show", action="store_true", help="print what the rewritten questions miss")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "follow_ups.json")
    arguments = parser.parse_args()
    dialogues = [json.loads(line) for line in DIALOGUES.read_text("utf-8").splitlines()]
    chosen = [one for one in dialogues if arguments.half in ("both", one["half"])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.library or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        library = Library.open(folder / "library") if (folder / "library").exists() else build(folder)
        with library:
            documents = len(library.documents())
            found = table(measure(library, chosen, show=arguments.show))
    print(f"R@{DEPTH} of turns 2 and 3, {documents} documents")
    print(f"{'':16}{'turns':>6}" + "".join(f"{form:>18}" for form in FORMS))
    for name, row in found.items():
        print(f"{name:16}{row['turns']:6.0f}" + "".join(f"{row[form]:18.3f}" for form in FORMS))
    if arguments.half == "both":
        result = {"machine": machine.describe(), "documents": documents, "depth": DEPTH, "recall": found}
        arguments.out.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
