"""Files to shards, once: the second time they are only opened. Another file, tokenizer or setting makes others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from openbook.core.errors import BadData
from openbook.core.progress import Progress, silent
from openbook.core.threads import available_cpus
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.documents import Documents
from openbook.training.data.reading import DataFile, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.samples import SampleMaker, SampleSettings
from openbook.training.data.shards import Sample, Shards, write_shards

_VERSION = 2
"""Counts up when the same row becomes another sample."""
_BATCH_ROWS = 256
MadeOf = dict[str, object]
"""What is said of shards: the files, the tokenizer, the receipt of the rows."""


@dataclass(frozen=True)
class ReadSettings:
    """`between`: what parts the documents of plain text. `max_broken`: share of rows that may be."""

    between: Documents = "file"
    max_broken: float = 0.01


def tokenised(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    cache: Path,
    *,
    reading: ReadSettings = ReadSettings(),
    progress: Progress = silent,
) -> Shards:
    """The samples of `files` in a folder of `cache`, which is made whole or not at all; what became of the rows is
    `receipt_of`. Raises BadData for rows that cannot be samples, and where none is left.
    """
    folder = cache / key_of(files, tokenizer, settings, reading)
    if is_tokenised(folder):
        return Shards(folder)
    return write_tokenised(files, tokenizer, settings, folder, reading, progress)


def opened_or_made(
    files: Sequence[DataFile], tokenizer: Tokenizer, folder: Path, make: Callable[[MadeOf], Iterable[Sample]]
) -> Shards:
    """The shards in `folder`, which are made whole or not at all where they are not there. `make` gives their samples, and adds
    to what is said of them until the last one is written. BadData where they cannot be written.
    """
    if is_tokenised(folder):
        return Shards(folder)
    return _made(files, tokenizer, folder, make)


def is_tokenised(folder: Path) -> bool:
    return (folder / "shards.json").is_file()


def write_tokenised(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    folder: Path,
    reading: ReadSettings = ReadSettings(),
    progress: Progress = silent,
) -> Shards:
    """The samples of `files` in `folder`, which is made whole or not at all. BadData where it cannot be written."""
    receipt = Receipt()
    samples = _samples(files, tokenizer, settings, reading, receipt, progress)
    return _made(files, tokenizer, folder, lambda said: _filed(samples, receipt, said))


def _made(
    files: Sequence[DataFile], tokenizer: Tokenizer, folder: Path, make: Callable[[MadeOf], Iterable[Sample]]
) -> Shards:
    said: MadeOf = {"files": [str(file.path) for file in files], "tokenizer": tokenizer_key(tokenizer)}
    try:
        return write_shards(make(said), folder, tokenizer.vocab_size, said)
    except OSError as error:
        raise BadData(f"{folder} could not be written: {error}", "make room, or name another place") from None


def open_tokenised(folder: Path, tokenizer: Tokenizer) -> Shards:
    """Shards that were made before. BadData where another tokenizer made them."""
    shards = Shards(folder)
    if shards.made_of.get("tokenizer") != tokenizer_key(tokenizer):
        raise BadData(
            f"{folder} was made by another tokenizer than the model has",
            "make it again with `openbook data pack --tokenizer DIR`, DIR being the model's",
        )
    return shards


def receipt_of(shards: Shards) -> Receipt | None:
    """What became of the rows that the shards were made of; None for shards that `tokenised` did not make."""
    said = shards.made_of.get("receipt")
    return None if said is None else Receipt.read(said)


def samples_of(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    receipt: Receipt,
    reading: ReadSettings = ReadSettings(),
) -> Iterator[Sample]:
    """The samples of `files` one after another, nothing written."""
    return _samples(files, tokenizer, settings, reading, receipt, silent)


def key_of(files: Sequence[DataFile], tokenizer: Tokenizer, settings: SampleSettings, reading: ReadSettings) -> str:
    """A name for these files, as they are now, with this tokenizer and these settings."""
    said = [
        [str(file.path.resolve()), file.form, file.is_plain, (stat := file.path.stat()).st_size, stat.st_mtime_ns]
        for file in files
    ]
    return _hashed([_VERSION, said, tokenizer_key(tokenizer), asdict(settings), asdict(reading)])


def tokenizer_key(tokenizer: Tokenizer) -> str:
    """A name for all of a tokenizer that makes ids: vocabulary, special tokens, templates."""
    return _hashed([tokenizer.backend.to_str(), tokenizer.special, tokenizer.templates])


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _filed(samples: Iterable[Sample], receipt: Receipt, said: MadeOf) -> Iterator[Sample]:
    """`said` has the receipt when the last sample is written."""
    yield from samples
    said["receipt"] = receipt.as_json()


def _samples(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    reading: ReadSettings,
    receipt: Receipt,
    progress: Progress,
) -> Iterator[Sample]:
    maker = SampleMaker(tokenizer, settings, receipt)
    with ThreadPoolExecutor(available_cpus()) as pool:
        for number, file in enumerate(files):
            progress("tokenise", number, len(files), str(file.path))
            rows = read_rows([file], receipt, reading.between)
            while batch := list(islice(rows, _BATCH_ROWS)):
                yield from maker.many(batch, pool)
                progress("tokenise", number, len(files), f"{file.path}, {receipt.rows:,} rows")
    receipt.finish(reading.max_broken)
    if not receipt.samples:
        raise BadData("nothing is left to learn from", "; ".join(receipt.lines()))
