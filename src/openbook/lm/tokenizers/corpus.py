"""Text to train and measure tokenizers on: files and folders of plain text, JSON lines and JSON, each also gzipped."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from openbook.core.errors import UnreadableFile, UsageError
from openbook.core.progress import Progress, silent

_BLOCK_CHARACTERS = 65_536
_TEXT = frozenset(".txt .md .rst .tex .csv .tsv .html .htm .xml .yaml .yml .toml".split())
CODE = frozenset(
    ".py .js .ts .c .h .cc .cpp .hpp .java .go .rs .rb .php .sh .sql .jinja .css .kt .swift .scala".split()
)
_JSON = frozenset((".json", ".jsonl"))
KNOWN = _TEXT | CODE | _JSON
_MAX_JSON_BYTES = 500_000_000


class CorpusFile(NamedTuple):
    path: Path
    suffix: str

    @property
    def is_code(self) -> bool:
        return self.suffix in CODE


def corpus_files(paths: Sequence[Path]) -> list[CorpusFile]:
    """The files to read, folders walked in the order of names; in a folder only those of a known kind.

    UsageError for a path that is not there, and where nothing is to be read.
    """
    found: list[CorpusFile] = []
    for path in paths:
        if path.is_dir():
            inner = (CorpusFile(one, _suffix(one)) for one in sorted(path.rglob("*")) if one.is_file())
            found += [one for one in inner if one.suffix in KNOWN and not _is_hidden(one.path, path)]
        elif path.is_file():
            found.append(CorpusFile(path, _suffix(path)))
        else:
            raise UsageError(f"{path} is not there", "name files or folders of text")
    if not found:
        raise UsageError("no text was found", f"known in folders are {', '.join(sorted(KNOWN))}, also with .gz")
    return found


def read_texts(
    files: Sequence[CorpusFile],
    progress: Progress = silent,
    broken: Callable[[Path, str], None] | None = None,
) -> Iterator[str]:
    """The texts of `files`, in pieces of lines. A file that cannot be read ends it with UnreadableFile, or goes to `broken`."""
    for number, file in enumerate(files):
        progress("read", number, len(files), str(file.path))
        try:
            yield from texts_of(file)
        except UnreadableFile as error:
            if broken is None:
                raise
            broken(file.path, error.message)
    progress("train", 0, None, "")


def texts_of(file: CorpusFile) -> Iterator[str]:
    """Of JSON every text that is a value; of other files the lines, in blocks. UnreadableFile for what is no UTF-8."""
    try:
        with _opened(file.path) as stream:
            if file.suffix == ".jsonl":
                for line in stream:
                    if line.strip():
                        yield from _values(json.loads(line))
            elif file.suffix == ".json":
                yield from _values(json.loads(stream.read(_MAX_JSON_BYTES)))
            else:
                while block := stream.readlines(_BLOCK_CHARACTERS):
                    yield "".join(block)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise UnreadableFile(
            f"{file.path} cannot be read: {error}", "give UTF-8 text, JSON or JSON lines, plain or gzipped"
        ) from None


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _values(one)


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _suffix(path: Path) -> str:
    """Of notes.txt.gz it is .txt."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
