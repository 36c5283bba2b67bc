"""What a checkpoint is, without loading it: architecture, parameters by part, memory, chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.checkpoint import read_config, read_json, weight_files
from openbook.lm.local import bytes_of

_PARTS = (
    ("embeddings", ("tokens", "places", "segments", "embedding_norm", "distances")),
    ("attention", ("attention", "cross")),
    ("experts", ("experts", "router", "shared", "shared_gate")),
    ("mlp", ("mlp",)),
    ("norms", ("norm",)),
    ("heads", ("lm_head", "head", "pooler", "classifier")),
)

_WITH_PLACES = ("gpt2", "bert", "roberta", "xlm-roberta")
"""Families that have a vector for each position, and none beyond."""
_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_CONTEXT = 4_096
_MAX_TOKENS = 1 << 24
"""Numbers of tokens are made in memory to count the rest."""


class Brief(NamedTuple):
    """`fault`: why it cannot be used, where its header or its config.json says so."""

    name: str
    model_type: str
    parameters: int
    dtype: str
    bytes: int
    fault: str = ""


@dataclass(frozen=True)
class Described:
    """`parts`: parameters by part. `serving`, `training`: bytes for `batch` sequences of `context` tokens. `stored`: the type of
    the numbers in the file, where they are computed in another `dtype`. `notes`: what to know about these figures.
    """

    source: str
    model_type: str
    config: dict[str, Any]
    parameters: int
    parts: dict[str, int]
    dtype: str
    context: int
    batch: int
    serving: dict[str, int]
    training: dict[str, int]
    tokenizer: str
    chat_template: str
    stored: str = ""
    notes: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        yield f"{self.source}"
        stored = f" (stored as {self.stored})" if self.stored else ""
        yield f"  architecture  {self.model_type}, {self.dtype}{stored}"
        for key, value in self.config.items():
            yield f"    {key:24} {value}"
        yield f"  parameters    {self.parameters:,}"
        for part, count in self.parts.items():
            yield f"    {part:24} {count:>15,}  {count / self.parameters:6.1%}"
        for title, memory in (("serving", self.serving), ("training (AdamW)", self.training)):
            yield f"  memory        {title}, {self.batch} x {self.context:,} tokens: {sum(memory.values()) / 1e6:,.1f} MB"
            for part, count in memory.items():
                yield f"    {part:24} {count / 1e6:>15,.1f} MB"
        for note in self.notes:
            yield f"  note          {note}"
        yield f"  tokenizer     {self.tokenizer}"
        yield "  chat template" + ("  none" if not self.chat_template else "")
        for line in self.chat_template.splitlines():
            yield f"    {line}"


def brief(path: Path, name: str) -> Brief:
    """A line of `model list`, of a directory or a .gguf file, whatever is in it."""
    try:
        model_type, sizes = _brief_gguf(path) if path.suffix == ".gguf" and path.is_file() else _brief_tensors(path)
    except ModelUnavailable as error:
        return Brief(name, "?", 0, "?", bytes_of(path), error.message.removeprefix(str(path)).strip(" /"))
    totals: dict[str, int] = {}
    for count, dtype in sizes:
        totals[dtype] = totals.get(dtype, 0) + count
    common = max(totals, key=lambda one: totals[one], default="?")
    return Brief(name, model_type, sum(totals.values()), common, bytes_of(path))


def _brief_tensors(directory: Path) -> tuple[str, list[tuple[int, str]]]:
    """`model_type`, and of each tensor how many numbers and of which type."""
    raw, headers = read_config(directory), [_header(path) for path in weight_files(directory)]
    tensors = [one for header in headers for one in header.values()]
    return str(raw.get("model_type")), [(_numel(one["shape"]), one["dtype"]) for one in tensors]


def _brief_gguf(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """The same of a .gguf file, and its architecture."""
    from openbook.lm.gguf.header import read_header

    header = read_header(path)
    return str(header.keys.get("general.architecture")), [
        (int(one.n_elements), str(one.tensor_type.name)) for one in header.tensors.values()
    ]


def _header(path: Path) -> dict[str, Any]:
    """The tensors in the header of a safetensors file, read without torch. ModelUnavailable for one that is none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(path.stat().st_size - 8, 100_000_000):
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        if not all(isinstance(size, int) for one in tensors.values() for size in one["shape"]):
            raise ValueError("a shape is no list of numbers")
        if not all(isinstance(one["dtype"], str) for one in tensors.values()):
            raise ValueError("a dtype is no name")
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from None
    return tensors


def _numel(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def describe(directory: Path, *, context: int | None = None, batch: int = 1, dtype: str | None = None) -> Described:
    """Without a context it is 4,096, or fewer where the model has no more places.

    UsageError for a context or batch below 1, or a dtype that is not known; ModelUnavailable for a broken checkpoint."""

    from openbook.lm.load import DTYPES, open_checkpoint
    from openbook.lm.memory import inference_memory, training_memory
    from openbook.lm.state import match

    if batch < 1 or (context is not None and context < 1):
        raise UsageError(f"context {context} and batch {batch}: both must be 1 or more", "give larger ones")
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not known", f"known are {', '.join(DTYPES)}")
    model, stored = open_checkpoint(directory)
    if context is None:
        context = min(_CONTEXT, getattr(model.config, "max_seq_len", 0) or _CONTEXT)
    match(model, stored, directory)
    chosen = DTYPES[dtype] if dtype else stored.dtype
    model.to(chosen)
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = _part(name)
        parts[part] = parts.get(part, 0) + parameter.numel()
    config = {key: value for key, value in asdict(model.config).items() if not isinstance(value, dict)}
    config = {key: value for key, value in config.items() if value not in (0, (), None) and not _is_blank(value)}
    if model.config.model_type in _WITH_PLACES and context > model.config.max_seq_len:
        raise UsageError(
            f"context is {context:,}, the model has {model.config.max_seq_len:,} places", "give a smaller one"
        )
    if context * batch > _MAX_TOKENS:
        raise UsageError(f"{batch:,} x {context:,} tokens are more than {_MAX_TOKENS:,}", "give smaller numbers")
    file_type = stored.file_type
    serving = inference_memory(model, context, batch)
    training = training_memory(model, context, batch)
    return Described(
        source=str(directory),
        model_type=model.config.model_type,
        config={key: value for key, value in config.items() if key != "model_type"},
        parameters=sum(parts.values()),
        parts=dict(sorted(parts.items(), key=lambda item: -item[1])),
        dtype=str(chosen).removeprefix("torch."),
        context=context,
        batch=batch,
        serving={key: value for key, value in asdict(serving).items() if value},
        training={key: value for key, value in asdict(training).items() if value},
        tokenizer=_tokenizer(directory, model.config.vocab_size),
        chat_template=_template(directory),
        stored="" if _TYPES.get(file_type) == str(chosen).removeprefix("torch.") else file_type,
        notes=tuple(_notes(model.config, context)),
    )


def _notes(config: Any, context: int) -> Iterator[str]:
    """Of a context beyond what a rotary model was trained for: it has angles for every place, so nothing else would say it."""
    trained = getattr(config, "max_seq_len", 0)
    if trained and context > trained:
        yield (
            f"{context:,} tokens are more than the {trained:,} that the model was made for (max_position_embeddings): "
            "it is served up to these, and what it writes beyond is not to be trusted"
        )


def _tokenizer(directory: Path, vocab_size: int) -> str:
    """How many tokens it has, or what is wrong with it."""
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.lm.tokenizers.vocabulary import check_vocabulary

    try:
        tokenizer = Tokenizer.load(directory)
        spare = check_vocabulary(tokenizer, vocab_size)
    except ModelUnavailable as error:
        return error.message
    return f"{tokenizer.vocab_size:,} tokens" + (f", {spare:,} rows of the model unused" if spare else "")


def _is_blank(value: object) -> bool:
    """A window of every layer that is none."""
    return isinstance(value, tuple) and not any(value)


def _part(name: str) -> str:
    words = name.split(".")
    for part, marks in _PARTS:
        if any(mark in words or any(word.endswith(f"_{mark}") for word in words) for mark in marks):
            return part
    return "other"


def _template(directory: Path) -> str:
    if directory.is_file():
        from openbook.lm.gguf.read import GgufFile

        return str(GgufFile(directory).keys_read.get("tokenizer.chat_template", ""))
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    config = directory / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    return template if isinstance(template, str) else json.dumps(template, ensure_ascii=False) if template else ""
