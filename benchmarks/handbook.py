"""An employees' handbook as a retrieval set: the library's own passages of its pages, and questions as a newcomer asks them.

Data of another kind than encyclopedias: short sections under headings, lists, rules, tables. The questions of
`handbook_questions.jsonl` were written for this set, most of them in other words than the page; each names its page and
a quotation that its answer stands in. Relevant are the passages of the page that hold the quotation.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from datasets import Passage, Query, RetrievalSet

QUESTIONS = Path(__file__).with_name("handbook_questions.jsonl")


def handbook(folder: Path) -> RetrievalSet:
    """Passages as `openbook add` makes them, with what is indexed before each as their title."""
    found = _chunks(folder / "kb_basecamp_handbook")
    passages = [Passage(f"handbook-{number}", prefix, text) for number, (_, prefix, text) in enumerate(found)]
    queries = []
    for number, line in enumerate(QUESTIONS.read_text("utf-8").splitlines()):
        row = json.loads(line)
        relevant = {
            passage.id: 1
            for passage, (name, _, text) in zip(passages, found, strict=True)
            if name == row["file"] and row["quote"] in text
        }
        assert relevant, f"no passage of {row['file']} holds {row['quote']!r}"
        queries.append(Query(f"handbook-q{number}", row["query"], relevant))
    return RetrievalSet("handbook", "en", passages, queries)


def _chunks(folder: Path) -> list[tuple[str, str, str]]:
    """(file name, what is indexed before the slice, the slice) of every chunk."""
    from openbook.assistant.desk import Library
    from openbook.library.catalogue import reads
    from openbook.library.catalogue.scope import OWNER

    with tempfile.TemporaryDirectory() as work, Library.open(Path(work) / "library", embedder="none") as library:
        library.add(folder)
        generation = library.store.generation().id
        with library.store.catalogue.read() as connection:
            ids = reads.every_chunk_id(connection, generation).tolist()
            rows = reads.chunks_by_id(connection, OWNER, generation, ids)
            prefixes = reads.prefixes(connection, ids)
            documents = reads.documents_by_id(connection, OWNER, sorted({row.document_id for row in rows.values()}))
            return [
                (Path(documents[row.document_id].paths[0]).name, prefixes[row.id].rstrip("\n"), row.text)
                for row in (rows[one] for one in ids)
            ]
